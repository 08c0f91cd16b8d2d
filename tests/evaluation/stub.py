"""Data and predictors with known answers, for tests of evaluation."""

from types import SimpleNamespace

import numpy as np

from samkit.datasets import Sample
from samkit.errors import DataError
from samkit.geometry import CoordMap, encode_rle
from samkit.types import MaskPrediction

SIDE = 64  # of images and logits: masks come back as they were, to the pixel
SURE = 50.0


def rectangle(x0, y0, x1, y1, side=SIDE):
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def make_sample(*masks, key="image", void=None):
    image = np.zeros((*(masks[0].shape if masks else (SIDE, SIDE)), 3), np.uint8)
    return Sample(
        key=key,
        image=image,
        rles=tuple(encode_rle(mask) for mask in masks),
        void=None if void is None else encode_rle(void),
    )


class ListSource:
    """Samples of a list; an error in it is raised."""

    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def key(self, index):
        return getattr(self.samples[index], "key", f"broken {index}")

    def __getitem__(self, index):
        if isinstance(self.samples[index], Exception):
            raise self.samples[index]
        return self.samples[index]


BROKEN = DataError("half.jpg is truncated")


class StubPredictor:
    """Answers each prompt with masks and predicted IoUs that `answer` gives.

    Attributes:
        answer: called with points (N, 2), labels (N,), box (4,) and multimask; gives masks (H, W)
            and as many predicted IoUs.
        calls: keyword arguments of each call of `predict`.
        embedded: number of images.
    """

    def __init__(self, answer):
        self.answer = answer
        self.calls = []
        self.embedded = 0

    def embed(self, image):
        self.embedded += 1
        return SimpleNamespace(coords=CoordMap(original_hw=image.shape[:2], model_size=4 * SIDE))

    def predict(self, embedding, **prompts):
        self.calls.append(prompts)
        points, labels = prompts.get("points"), prompts.get("labels")
        boxes = prompts.get("boxes")
        logits, iou_pred = [], []
        for number in range(len(boxes if points is None else points)):
            masks, scores = self.answer(
                points=None if points is None else points[number],
                labels=None if labels is None else labels[number],
                box=None if boxes is None else boxes[number],
                multimask=prompts["multimask"],
            )
            logits.append(np.where(np.array(masks), SURE, -SURE))
            iou_pred.append(scores)
        return MaskPrediction(
            logits=np.array(logits, np.float32),
            iou_pred=np.array(iou_pred, np.float32),
            coords=embedding.coords,
        )
