"""An exported model beside PyTorch: the same prompts on the same images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from samkit.arrays import BoolArray, RgbImage
from samkit.formats import read_image
from samkit.predict import Predictor
from samkit.types import MaskPrediction

SAMPLE = files("samkit") / "assets" / "coffee.jpg"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Masks of two models for the same prompts.

    Attributes:
        masks: number of masks.
        mean_iou, least_iou: IoU of each mask with its counterpart; 1 if both are empty.
        largest_iou_error: of the predicted IoUs.
    """

    masks: int
    mean_iou: float
    least_iou: float
    largest_iou_error: float

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def compare_masks(plain: Predictor, other: Predictor) -> Compared:
    """Compare the answers of two predictors to points, boxes, masks and batches of them."""
    ious, errors = [], []
    for image in images():
        embeddings = [one.embed(image) for one in (plain, other)]
        for prompt in prompts(image):
            answers = [
                one.predict(embedding, **prompt)
                for one, embedding in zip((plain, other), embeddings, strict=True)
            ]
            ious += mask_ious(*answers)
            errors.append(float(np.abs(answers[0].iou_pred - answers[1].iou_pred).max()))
    return Compared(
        masks=len(ious),
        mean_iou=float(np.mean(ious)),
        least_iou=float(min(ious)),
        largest_iou_error=max(errors),
    )


def images() -> Iterator[RgbImage]:
    """Two images of other shapes: the sample, and a part of it upright."""
    with as_file(SAMPLE) as path:
        sample = read_image(path)
    yield sample
    yield np.ascontiguousarray(sample[:, 150:430])


def prompts(image: RgbImage) -> Iterator[dict[str, Any]]:
    """Prompts of all kinds on an image."""
    height, width = image.shape[:2]
    across = np.array([(x * width, y * height) for y in (0.3, 0.6) for x in (0.3, 0.5, 0.7)])
    boxes = np.array([[0.1, 0.1, 0.6, 0.7], [0.4, 0.3, 0.9, 0.9]]) * [width, height, width, height]
    yield {"points": across[:, None], "labels": np.ones((len(across), 1))}
    yield {"points": across[:3], "labels": [1, 0, 1], "multimask": False}
    yield {"boxes": boxes, "multimask": False}
    yield {"boxes": boxes[0], "points": across[:2], "labels": [1, 0], "multimask": False}


def mask_ious(one: MaskPrediction, other: MaskPrediction) -> list[float]:
    """IoU of each mask with its counterpart."""
    pairs: tuple[BoolArray, ...] = tuple(
        answer.masks.reshape(-1, *answer.masks.shape[-2:]) for answer in (one, other)
    )
    return [mask_iou(mine, theirs) for mine, theirs in zip(*pairs, strict=True)]


def mask_iou(one: BoolArray, other: BoolArray) -> float:
    """IoU of two masks of a shape; 1 if both are empty."""
    union = np.count_nonzero(one | other)
    return 1.0 if union == 0 else np.count_nonzero(one & other) / union
