# %% [markdown]
# # Masks from words
#
# Words find things in one of two ways: a detector finds boxes, which SAM segments, or words are a
# prompt like a click, as in the paper. Detectors and CLIPs are downloaded when they are first used
# (0.6 GB and more):
#
#     predictor = samkit.Predictor.load()
#     embedding = predictor.embed("image.jpg")
#     answer = predictor.predict_text(embedding, ["a car", "a tree"], image="image.jpg")
#
# This page shows the second way, without a download: the folder `drawn-things` beside it has a
# small SAM (1.0 M parameters) and its CLIP (0.9 M), trained from nothing on drawn scenes by
# `python benchmarks/text_from_nothing.py`. They know 144 names, such as "a striped red star".

# %%
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import samkit
from samkit.datasets import open_data
from samkit.text import Clip, MaskRanker, TextPrompter

models = Path("docs/tutorials/drawn-things")  # in a checkout of samkit
predictor = samkit.Predictor.load(models / "sam.safetensors", text_model=models / "clip")
scenes = open_data("named:count=4,size=128,seed=7")  # neither trained nor selected on
sample = scenes[1]
image = cv2.resize(sample.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
print(", ".join(sample.phrases))
Image.fromarray(image)

# %% [markdown]
# One phrase, or several at once: each gets a mask with the IoU that is expected of it.

# %%
embedding = predictor.embed(image)
answer = predictor.predict_text(embedding, list(sample.phrases)).best()
for phrase, iou in zip(answer.phrases, answer.iou_pred[:, 0], strict=True):
    print(f"{phrase}: expected IoU {iou:.2f}")

# %%
masks = answer.to_masks()
pictures = [masks[row].overlay(image) for row in range(len(masks))]
Image.fromarray(np.concatenate(pictures, axis=1))

# %% [markdown]
# The second answer is wrong, and its expected IoU says so. A click corrects it: words and clicks
# are tokens of one prompt.

# %%
ring = [166, 304]
corrected = predictor.predict_text(embedding, "a yellow ring", points=[ring]).best()
print(f"expected IoU {corrected.iou_pred[0, 0]:.2f}")
Image.fromarray(corrected.to_masks().overlay(image))

# %% [markdown]
# The same CLIP names masks that are there already: each is compared with the words.

# %%
ranker = MaskRanker(TextPrompter(Clip.load(models / "clip")))
drawn = samkit.Masks.from_rles(sample.rles, np.ones(len(sample.rles)), sample.image.shape[:2])
chances = ranker.probabilities(sample.image, drawn, list(sample.phrases))
for phrase, row in zip(sample.phrases, chances, strict=True):
    print(f"{phrase}: named {sample.phrases[row.argmax()]!r}")
