"""Predicted IoUs made to agree with true ones: a line for each of the decoder's outputs.

Training further, or a mean of weights, leaves the predicted IoU too high or too low. On images with
masks the robot (`robot`) clicks each mask, and a line from predicted to true IoU is fitted by least
squares for each output on its own: the three candidates on first clicks, the single mask on later
ones. In the weights such a line is exact (`Sam.scale_predicted_iou`), so that nothing changes at
run time. Since each candidate has its own line, their ranking may change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from samkit.arrays import FloatArray
from samkit.datasets import Sample, SampleSource
from samkit.errors import DataError
from samkit.evaluation.interactive import click_masks
from samkit.evaluation.one_click import one_click
from samkit.evaluation.truth import MaskChoice, void_mask
from samkit.types import ImageEmbedding

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import Predictor

MIN_ANSWERS = 50
MAX_CLICKS = 6
# Predicted IoUs that hardly differ, or go against the truth, say nothing: then the mean is all that
# can be right, and a slope this small keeps the ranking.
MIN_SCALE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class IouLines:
    """A line from predicted to true IoU, `scale * predicted + offset`, for each of M outputs.

    Attributes:
        scale: (M,), the single mask's first.
        offset: (M,).
    """

    scale: FloatArray
    offset: FloatArray


def fit_predicted_iou(
    predictor: Predictor,
    source: SampleSource,
    *,
    images: int = 200,
    masks_per_image: int = 4,
    embed: Callable[[Sample], ImageEmbedding] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> IouLines:
    """Fit predicted to true IoUs on images of a data set.

    Args:
        images: number of images, evenly spaced over the data set.
        masks_per_image: number of masks that are clicked in each.
        embed: source of embeddings, such as a cache; default `predictor.embed`.
        on_image: called after each image with the number of images done and of all.

    Raises:
        DataError: a sample is broken; or an output has fewer than 50 answers.
        ImageError: an image cannot be read.
    """
    chosen = np.linspace(0, len(source) - 1, min(images, len(source))).round().astype(int)
    choice = MaskChoice(masks_per_image=masks_per_image)
    predicted: list[list[float]] = []
    true: list[list[float]] = []
    for done, index in enumerate(chosen, 1):
        sample = source[int(index)]
        if masks := choice.masks(sample):
            embedding = predictor.embed(sample.image) if embed is None else embed(sample)
            void = void_mask(sample)
            first = one_click(predictor, embedding, masks, void)
            clicked = click_masks(predictor, embedding, masks, void=void, max_clicks=MAX_CLICKS)
            later = [value for mask in clicked for value in mask.iou_pred[1:]]
            _extend(predicted, [later, *first.iou_pred.T.tolist()])
            later = [value for mask in clicked for value in mask.ious[1:]]
            _extend(true, [later, *first.ious.T.tolist()])
        if on_image is not None:
            on_image(done, len(chosen))
    return fit_lines(predicted, true)


def fit_lines(predicted: Sequence[Sequence[float]], true: Sequence[Sequence[float]]) -> IouLines:
    """Fit a line for each output by least squares; see `fit_predicted_iou`."""
    fewest = min((len(values) for values in predicted), default=0)
    if fewest < MIN_ANSWERS:
        raise DataError(
            f"fitting predicted IoUs needs {MIN_ANSWERS} answers of each output; got {fewest}."
            " Give more images with masks"
        )
    scales, offsets = [], []
    for own, ious in zip(predicted, true, strict=True):
        variance, covariance = np.var(own), np.cov(own, ious, bias=True)[0, 1]
        scale = max(covariance / variance, MIN_SCALE) if variance > 0 else 1.0
        scales.append(scale)
        offsets.append(np.mean(ious) - scale * np.mean(own))
    return IouLines(scale=np.array(scales), offset=np.array(offsets))


def _extend(outputs: list[list[float]], more: Sequence[Sequence[float]]) -> None:
    if not outputs:
        outputs.extend([] for _ in more)
    for own, values in zip(outputs, more, strict=True):
        own.extend(values)
