"""Predicted IoUs made to agree with true ones, by lines that the decoder's weights take up.

Training further, or a mean of weights, leaves the predicted IoU too high or too low. On images with
masks the robot (`robot`) clicks each mask, and lines from predicted to true IoU are fitted by least
squares: one for the three candidates, on first clicks, and one for the single mask, on later ones.
In the weights a line is exact (`Sam.scale_predicted_iou`), so that nothing changes at run time. The
candidates share theirs, so that their ranking stays.
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

Pairs = FloatArray  # (2, N): predicted and true IoUs

MIN_ANSWERS = 30
MAX_CLICKS = 6
# Predicted IoUs that hardly differ, or go against the truth, say nothing: then the mean is all that
# can be right, and a slope this small keeps the ranking.
MIN_SCALE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class IouLines:
    """Lines from predicted to true IoU, `scale * predicted + offset`, of M outputs.

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
        DataError: a sample is broken; or there are fewer than 30 answers of a kind.
        ImageError: an image cannot be read.
    """
    chosen = np.linspace(0, len(source) - 1, min(images, len(source))).round().astype(int)
    choice = MaskChoice(masks_per_image=masks_per_image)
    single: list[Pairs] = []
    candidates: list[Pairs] = []
    num_candidates = 0
    for done, index in enumerate(chosen, 1):
        sample = source[int(index)]
        if masks := choice.masks(sample):
            embedding = predictor.embed(sample.image) if embed is None else embed(sample)
            void = void_mask(sample)
            first = one_click(predictor, embedding, masks, void)
            num_candidates = first.ious.shape[1]
            candidates.append(np.stack([first.iou_pred.ravel(), first.ious.ravel()]))
            clicked = click_masks(predictor, embedding, masks, void=void, max_clicks=MAX_CLICKS)
            single += [np.array([mask.iou_pred[1:], mask.ious[1:]]) for mask in clicked]
        if on_image is not None:
            on_image(done, len(chosen))
    (scale, offset), (other_scale, other_offset) = fit_line(single), fit_line(candidates)
    return IouLines(
        scale=np.array([scale, *[other_scale] * num_candidates]),
        offset=np.array([offset, *[other_offset] * num_candidates]),
    )


def fit_line(parts: Sequence[Pairs]) -> tuple[float, float]:
    """Fit a line to pairs of predicted and true IoU by least squares: its scale and offset."""
    predicted, true = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
    if len(predicted) < MIN_ANSWERS:
        raise DataError(
            f"fitting predicted IoUs needs {MIN_ANSWERS} answers of each kind; got"
            f" {len(predicted)}. Give more images with masks"
        )
    variance, covariance = np.var(predicted), np.cov(predicted, true, bias=True)[0, 1]
    scale = float(max(covariance / variance, MIN_SCALE)) if variance > 0 else 1.0
    return scale, float(true.mean() - scale * predicted.mean())
