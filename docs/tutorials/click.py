# %% [markdown]
# # A mask from a click
#
# The weights are in the package: nothing is downloaded. An image is embedded once, which takes most
# of the time; then each click is answered in milliseconds.

# %%
from importlib.resources import files

from PIL import Image

import samkit

predictor = samkit.Predictor.load()
image = samkit.read_image(files("samkit") / "assets" / "coffee.jpg")
embedding = predictor.embed(image)

# %% [markdown]
# One click may mean a part or the whole of a thing, so that there are three candidates, each with
# the IoU that the model expects of it.

# %%
height, width = image.shape[:2]
click = [0.5 * width, 0.33 * height]
answer = predictor.predict(embedding, points=[click])
for mask, iou in zip(answer.masks, answer.iou_pred, strict=True):
    print(f"{mask.sum():7,} pixels, expected IoU {iou:.2f}")

# %%
Image.fromarray(answer.best().to_masks().overlay(image))

# %% [markdown]
# More clicks correct it. Label 0 is for what does not belong to it; the logits of the answer before
# go along, and a prompt that is no longer ambiguous is asked for a single mask.

# %%
outside = [0.3 * width, 0.6 * height]
corrected = predictor.predict(
    embedding,
    points=[click, outside],
    labels=[1, 0],
    mask_logits=answer.best().logits,
    multimask=False,
)
Image.fromarray(corrected.to_masks().overlay(image))

# %% [markdown]
# A session keeps track of clicks and logits, with undo. Boxes are prompts too, many of them at
# once.

# %%
session = predictor.session(image)
session.click(*click)
session.click(*outside, label=0)
session.undo()
boxes = predictor.predict(
    embedding,
    boxes=[[0.2 * width, 0.05 * height, 0.8 * width, 0.9 * height], [0, 0, width / 2, height / 2]],
    multimask=False,
)
print(session.mask.shape, boxes.masks.shape)

# %% [markdown]
# Results go to other programs as run-length codes of COCO.

# %%
corrected.to_masks().to_coco()[0].keys()
