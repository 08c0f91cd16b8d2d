"""What a quality audit shows: how far people change automatic masks, and what masks are like.

As in the paper, a random sample of images is corrected by people, and each automatic mask is
compared with what became of it. Masks of one image are alike, so that intervals come from resamples
of whole images.

Source: arXiv:2304.02643, section 5.

Shape legend: G images, R resamples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.arrays import FloatArray
from samkit.dataengine import AuditedImage
from samkit.evaluation import CONFIDENCE, GroupSums, draw_groups, expanded_interval
from samkit.geometry import Rle
from samkit.learning.mask_shape import MaskShape, shape_of

# Of a pair: the mask is as it was; it was changed; it was deleted, and its object drawn anew.
Fate = Literal["unchanged", "edited", "redrawn"]
FATES: tuple[Fate, ...] = ("unchanged", "edited", "redrawn")
# Masks that overlap more are of the same object, whoever drew them.
SAME_OBJECT_IOU = 0.5
HIGH_IOU, GOOD_IOU = 0.90, 0.75  # the paper's
IOU_EDGES = np.linspace(0, 1, 21)
CENTRE_BINS = 16  # along each side of an image
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SEED = 0  # of the resamples: the same corrections give the same intervals


@dataclass(frozen=True, kw_only=True)
class MaskPair:
    """An automatic mask, and what people made of it."""

    iou: float
    fate: Fate


@dataclass(frozen=True, kw_only=True)
class CorrectedImage:
    """An image whose masks people have corrected.

    Attributes:
        pairs: masks that are there before and after.
        num_deleted: automatic masks without a corrected one.
        num_added: corrected masks without an automatic one.
        automatic, corrected: what the masks before and after are like.
    """

    pairs: tuple[MaskPair, ...]
    num_deleted: int
    num_added: int
    automatic: tuple[MaskShape, ...]
    corrected: tuple[MaskShape, ...]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95% confidence interval.

    Attributes:
        value: None if there is nothing that it could be measured on.
        interval: None with too few images.
    """

    value: float | None
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
        }


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """What a quality audit has shown so far.

    Attributes:
        images: the sample's images that people have corrected.
        num_open: images that nobody has submitted.
        num_unusable: images that somebody has reported as unusable.
    """

    images: tuple[CorrectedImage, ...]
    num_open: int
    num_unusable: int

    @property
    def pairs(self) -> tuple[MaskPair, ...]:
        """Pairs of all images."""
        return tuple(pair for image in self.images for pair in image.pairs)

    @property
    def automatic(self) -> tuple[MaskShape, ...]:
        """Automatic masks of all images."""
        return tuple(one for image in self.images for one in image.automatic)

    @property
    def corrected(self) -> tuple[MaskShape, ...]:
        """Corrected masks of all images."""
        return tuple(one for image in self.images for one in image.corrected)

    @property
    def num_masks(self) -> dict[str, int]:
        """Numbers of masks by what became of them."""
        fates = Counter(pair.fate for pair in self.pairs)
        return {
            "automatic": len(self.automatic),
            "corrected": len(self.corrected),
            "pairs": len(self.pairs),
            **{fate: fates[fate] for fate in FATES},
            "deleted": sum(image.num_deleted for image in self.images),
            "added": sum(image.num_added for image in self.images),
        }

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """All figures that have an interval, by name."""
        weights = draw_groups(max(len(self.images), 1), np.random.default_rng(SEED))
        found = {}
        for name, part in PARTS.items():
            sums = [part(image) for image in self.images]
            found[name] = estimate_ratio(sums, weights, is_share=name in SHARES)
        for name, count in MASK_COUNTS.items():
            counts = [count(image) for image in self.images]
            found[f"{name}_median"] = estimate_median(counts, weights)
        return found

    def to_json(self) -> dict[str, Any]:
        """All figures, with histograms."""
        sides = {"automatic": self.automatic, "corrected": self.corrected}
        heights = np.histogram([pair.iou for pair in self.pairs], IOU_EDGES)[0]
        return {
            "images": {
                "sampled": len(self.images) + self.num_open + self.num_unusable,
                "corrected": len(self.images),
                "open": self.num_open,
                "unusable": self.num_unusable,
            },
            "masks": self.num_masks,
            "confidence": CONFIDENCE,
            "estimates": {name: one.to_json() for name, one in self.estimates.items()},
            "iou": {"edges": IOU_EDGES.round(6).tolist(), "counts": heights.tolist()},
            "masks_per_image": {
                name: [count(image) for image in self.images] for name, count in MASK_COUNTS.items()
            },
            "size": _distributions({name: sizes(side) for name, side in sides.items()}),
            "concavity": _distributions({name: concavities(side) for name, side in sides.items()}),
            "centres": {name: centre_map(side).tolist() for name, side in sides.items()},
        }


def measure_audit(
    images: Iterable[AuditedImage], *, on_image: Callable[[int], None] | None = None
) -> AuditFigures:
    """Compare the automatic masks of audited images with what people have made of them.

    Args:
        images: see `samkit.dataengine.audited_images`.
        on_image: called with the number of images done.
    """
    corrected: list[CorrectedImage] = []
    left: Counter[bool] = Counter()
    for number, one in enumerate(images, 1):
        if one.corrected is None:
            left[one.image.review == "unusable"] += 1
        else:
            corrected.append(compare_masks(one.automatic, one.corrected))
        if on_image is not None:
            on_image(number)
    return AuditFigures(images=tuple(corrected), num_open=left[False], num_unusable=left[True])


def compare_masks(automatic: Mapping[int, Rle], corrected: Mapping[int, Rle]) -> CorrectedImage:
    """Compare an image's masks, by annotation.

    An automatic mask that was deleted and a new one of the same object are a pair too: otherwise
    bad masks would count less where people draw them anew instead of changing them.
    """
    pairs = [
        MaskPair(iou=1.0, fate="unchanged")
        if automatic[key] == corrected[key]
        else MaskPair(iou=_ious([automatic[key]], [corrected[key]]).item(), fate="edited")
        for key in automatic
        if key in corrected
    ]
    deleted = [rle for key, rle in automatic.items() if key not in corrected]
    added = [rle for key, rle in corrected.items() if key not in automatic]
    redrawn = _matches(deleted, added)
    pairs += [MaskPair(iou=iou, fate="redrawn") for iou in redrawn]
    return CorrectedImage(
        pairs=tuple(pairs),
        num_deleted=len(deleted) - len(redrawn),
        num_added=len(added) - len(redrawn),
        automatic=tuple(shape_of(rle) for rle in automatic.values()),
        corrected=tuple(shape_of(rle) for rle in corrected.values()),
    )


def estimate_ratio(
    sums: Sequence[tuple[float, float]], weights: npt.NDArray[np.int64], *, is_share: bool
) -> Estimate:
    """Estimate a ratio of sums over images, with an interval from resamples (R, G) of these.

    Where a share is 0 or 1, all resamples are alike, and would pretend to certainty. The other end
    is then that of as many trials as there are images (Clopper and Pearson, 1934): each image
    counts as one, which is all wrong or all right.

    Args:
        sums: numerator and denominator of each image.
        is_share: whether the numerator counts some of what the denominator counts.
    """
    array = np.asarray(sums, np.float64).reshape(-1, 2)
    if not array[:, 1].any():
        return Estimate(value=None, interval=None)
    group_sums = GroupSums(sums=array)
    value, groups = group_sums.value, int(np.count_nonzero(array[:, 1]))
    low, high = expanded_interval(group_sums.resampled(weights), groups)
    if math.isnan(low):
        return Estimate(value=value, interval=None)
    if is_share and value in (0, 1):
        end = ((1 - CONFIDENCE) / 2) ** (1 / groups)
        low, high = (end, 1.0) if value == 1 else (0.0, 1 - end)
    return Estimate(value=value, interval=(low, high))


def estimate_median(counts: Sequence[int], weights: npt.NDArray[np.int64]) -> Estimate:
    """Estimate the median over images, with an interval from resamples (R, G) of these."""
    if not counts:
        return Estimate(value=None, interval=None)
    order = np.argsort(counts, kind="stable")
    ordered, places = np.asarray(counts)[order], np.cumsum(weights[:, order], axis=1)
    # The values in the middle: one for odd numbers of images, else two.
    middle = [
        ordered[(places > place).argmax(axis=1)]
        for place in ((len(counts) - 1) // 2, len(counts) // 2)
    ]
    low, high = expanded_interval(np.mean(middle, axis=0), len(counts))
    interval = None if math.isnan(low) else (low, high)
    return Estimate(value=float(np.median(counts)), interval=interval)


def sizes(masks: Sequence[MaskShape]) -> FloatArray:
    """Sizes of masks: square roots of their shares of the image."""
    return np.array([one.size for one in masks])


def concavities(masks: Sequence[MaskShape]) -> FloatArray:
    """Concavities of masks."""
    return np.array([one.concavity for one in masks])


def centre_map(masks: Sequence[MaskShape]) -> FloatArray:
    """Shares of the masks with their centre in each part of the image, rows from the top."""
    centres_xy = np.array([one.centre_xy for one in masks]).reshape(-1, 2)
    bounds = ((0, 1), (0, 1))
    counts, *_ = np.histogram2d(centres_xy[:, 1], centres_xy[:, 0], CENTRE_BINS, bounds)
    shares: FloatArray = counts / max(len(masks), 1)
    return shares


def common_edges(values: Iterable[FloatArray], *, step: float) -> FloatArray:
    """Edges of 20 bins from 0, the same for all values: up to the next multiple of `step`."""
    largest = max((float(one.max()) for one in values if len(one)), default=step)
    return np.linspace(0, step * max(math.ceil(largest / step - 1e-9), 1), 21)


def _distributions(values: Mapping[str, FloatArray]) -> dict[str, Any]:
    edges = common_edges(values.values(), step=0.1)
    return {
        "edges": edges.round(6).tolist(),
        **{
            name: {
                "counts": np.histogram(one, edges)[0].tolist(),
                "quantiles": {
                    f"{level:g}": float(np.quantile(one, level)) for level in QUANTILES if len(one)
                },
            }
            for name, one in values.items()
        },
    }


def _matches(deleted: Sequence[Rle], added: Sequence[Rle]) -> list[float]:
    """IoUs of masks of the same objects, matched one to one, the highest first."""
    found: list[float] = []
    if deleted and added:
        table = _ious(deleted, added)
        while table.max() > SAME_OBJECT_IOU:
            row, column = np.unravel_index(table.argmax(), table.shape)
            found.append(float(table[row, column]))
            table[row, :] = table[:, column] = 0
    return found


def _ious(masks: Sequence[Rle], others: Sequence[Rle]) -> FloatArray:
    table: FloatArray = coco_mask.iou(masks, others, [0] * len(others))
    return table


def _over(thresh: float) -> Callable[[CorrectedImage], tuple[float, float]]:
    return lambda image: (sum(pair.iou > thresh for pair in image.pairs), len(image.pairs))


def _mean(
    side: Literal["automatic", "corrected"], values: Callable[[Sequence[MaskShape]], FloatArray]
) -> Callable[[CorrectedImage], tuple[float, float]]:
    def part(image: CorrectedImage) -> tuple[float, float]:
        masks: tuple[MaskShape, ...] = getattr(image, side)
        return float(values(masks).sum()), len(masks)

    return part


MASK_COUNTS: Mapping[str, Callable[[CorrectedImage], int]] = {
    "automatic": lambda image: len(image.automatic),
    "corrected": lambda image: len(image.corrected),
}
# Numerator and denominator that an image adds to each figure.
PARTS: Mapping[str, Callable[[CorrectedImage], tuple[float, float]]] = {
    "iou_over_0.90": _over(HIGH_IOU),
    "iou_over_0.75": _over(GOOD_IOU),
    "mean_iou": lambda image: (sum(pair.iou for pair in image.pairs), len(image.pairs)),
    "unchanged": lambda image: (
        sum(pair.fate == "unchanged" for pair in image.pairs),
        len(image.pairs),
    ),
    "deleted": lambda image: (image.num_deleted, len(image.automatic)),
    "added": lambda image: (image.num_added, len(image.corrected)),
    "automatic_mean": lambda image: (len(image.automatic), 1),
    "corrected_mean": lambda image: (len(image.corrected), 1),
    "automatic_size": _mean("automatic", sizes),
    "corrected_size": _mean("corrected", sizes),
    "automatic_concavity": _mean("automatic", concavities),
    "corrected_concavity": _mean("corrected", concavities),
}
SHARES = ("iou_over_0.90", "iou_over_0.75", "unchanged", "deleted", "added")
