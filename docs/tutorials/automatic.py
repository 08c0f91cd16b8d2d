# %% [markdown]
# # Masks of everything
#
# Without prompts, `AutoMasker` asks at many points, and returns what is stable and confident. The
# preset `instant` asks only where a small proposal head on the embedding sees something.

# %%
from importlib.resources import files

from PIL import Image

import samkit

predictor = samkit.Predictor.load()
image = samkit.read_image(files("samkit") / "assets" / "coffee.jpg")
masker = samkit.AutoMasker(predictor, proposer="learned")
proposals = masker.propose(image)
masks = masker.filter(proposals)
print(len(masks), "masks")
Image.fromarray(masks.overlay(image))

# %% [markdown]
# Proposing takes nearly all of the time. Stricter thresholds can be tried on the same proposals:

# %%
strict = masker.filter(proposals, stability_thresh=0.9, min_area_px=500)
print(len(strict), "masks")
Image.fromarray(strict.overlay(image))

# %% [markdown]
# Once everything is there, prompts may select among the masks, as FastSAM has it:

# %%
height, width = image.shape[:2]
chosen = samkit.select(masks, points=[[width / 2, height / 3]], labels=[1])
Image.fromarray(chosen.overlay(image))

# %% [markdown]
# On the command line, for folders of images, resumable:
#
#     samkit auto images/ --preset instant --format coco -o masks
