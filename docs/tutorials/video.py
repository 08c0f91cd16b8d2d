# %% [markdown]
# # Follow an object through a video
#
# A click in one frame, and the tracker follows. The clip is drawn here: a photo under a camera that
# moves. `open` takes files, folders of frames, arrays and cameras.

# %%
from importlib.resources import files

import numpy as np
from PIL import Image

import samkit

photo = samkit.read_image(files("samkit") / "assets" / "coffee.jpg")
height, width = photo.shape[0] * 3 // 4, photo.shape[1] * 3 // 4
frames = np.stack([photo[9 * i : 9 * i + height, 14 * i : 14 * i + width] for i in range(8)])

tracker = samkit.VideoPredictor.load()
video = tracker.open(frames)
first = video.prompt(0, object_id=1, points=[[0.5 * photo.shape[1], 0.33 * photo.shape[0]]])

# %%
answers = list(video.propagate())
for answer in answers:
    (mask,) = answer.masks
    print(answer.index, answer.states[0], f"{mask.sum():,} pixels")

# %%
last = answers[-1]
picture = frames[last.index].copy()
picture[last.masks[0]] = picture[last.masks[0]] // 2 + np.array([0, 90, 120], np.uint8)
Image.fromarray(picture)

# %% [markdown]
# Corrections stick: a click on any frame changes it and what follows, never what was confirmed.

# %%
corrected = video.prompt(4, object_id=1, points=[[20, 20]], labels=[0])
print(corrected.index, corrected.results[0].confirmed)
