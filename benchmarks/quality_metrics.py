"""Metrics of `quality.py`, from what the evaluation protocols recorded of each image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.evaluation.calibration import NUM_BINS, calibration_error, reliability_bins
from samkit.evaluation.interactive import PUBLISHED_CLICKS, clicks_to_reach
from samkit.evaluation.one_click import OneClickAnswers
from samkit.evaluation.paired import GroupSums
from samkit.evaluation.recall import LIMITS
from samkit.evaluation.records import Record

TARGETS = (0.85, 0.90, 0.95)
CLICKS = range(2, 11)  # the IoU after the first click is the 1-click mIoU
AR_LIMIT = LIMITS.index(100)
ALL = "all"
# Sizes of objects, as fractions of the image's area: from the first up to, not including, the last.
SIZES: Mapping[str, tuple[float, float]] = {
    ALL: (0, np.inf),
    "small": (0, 0.01),
    "medium": (0.01, 0.1),
    "large": (0.1, np.inf),
}

Array = npt.NDArray[Any]
# Results of a model on a data set: by protocol, one record per image.
Results = Mapping[str, Sequence[Record]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is shown and judged."""

    label: str
    lower_is_better: bool = False
    digits: int = 3


METRICS: Mapping[str, Metric] = {
    "miou": Metric(label="1-click mIoU, top-ranked"),
    "oracle_miou": Metric(label="1-click mIoU, best of three"),
    **{
        f"noc{target * 100:.0f}": Metric(
            label=f"NoC@{target * 100:.0f}", lower_is_better=True, digits=2
        )
        for target in TARGETS
    },
    **{f"iou_after_{clicks}": Metric(label=f"mIoU after {clicks} clicks") for clicks in CLICKS},
    "box_miou": Metric(label="mIoU from boxes"),
    "ar_100": Metric(label="AR@100 of automatic masks"),
    "ece_top": Metric(label="calibration error, first click, top-ranked", lower_is_better=True),
    "ece_all": Metric(label="calibration error, first click, all three", lower_is_better=True),
    "ece_later": Metric(label="calibration error, later clicks", lower_is_better=True),
}


@dataclass(frozen=True, kw_only=True)
class ImageValues:
    """Values of the masks of an image, and the fractions of the image that these cover."""

    values: Array
    fractions: Array

    def sum_and_count(self, size: str) -> tuple[float, int]:
        """Sum and number of values of masks of a size."""
        low, high = SIZES[size]
        chosen = (self.fractions >= low) & (self.fractions < high)
        return float(self.values[chosen].sum()), int(np.count_nonzero(chosen))


def data_set_metrics(
    results: Results, group: Callable[[str], str]
) -> dict[tuple[str, str], GroupSums]:
    """All metrics of a model on a data set, by name and size of object.

    Args:
        results: of the protocols one-click, noc, boxes and automatic.
        group: group that an image's key belongs to.
    """
    found: dict[tuple[str, str], GroupSums] = {}
    by_mask = {"one-click": one_click_values, "noc": click_values, "boxes": box_values}
    for protocol, measure in by_mask.items():
        images = [measure(record.result) for record in results[protocol]]
        groups = [group(record.key) for record in results[protocol]]
        for name in images[0] if images else ():
            for size in SIZES:
                parts = [image[name].sum_and_count(size) for image in images]
                found[name, size] = GroupSums.of(parts, groups)
    automatic = results["automatic"]
    if automatic:
        parts = [recall_parts(record.result) for record in automatic]
        found["ar_100", ALL] = GroupSums.of(parts, [group(record.key) for record in automatic])
    for name, (protocol, pairs) in CALIBRATIONS.items():
        bins = [reliability_bins(*pairs(record.result)) for record in results[protocol]]
        if bins:
            groups = [group(record.key) for record in results[protocol]]
            found[name, ALL] = GroupSums.of(bins, groups, calibration_error)
    return {key: sums for key, sums in found.items() if np.isfinite(sums.value)}


def one_click_values(result: Mapping[str, Any]) -> dict[str, ImageValues]:
    """IoU of the top-ranked and of the best candidate."""
    fractions = np.array(result["area_fractions"])
    if not result["masks"]:
        return {name: ImageValues(values=fractions, fractions=fractions) for name in ONE_CLICK}
    answers = OneClickAnswers.of(result)
    return {
        name: ImageValues(values=values, fractions=fractions)
        for name, values in zip(ONE_CLICK, (answers.top_ranked, answers.oracle), strict=True)
    }


ONE_CLICK = ("miou", "oracle_miou")


def click_values(result: Mapping[str, Any]) -> dict[str, ImageValues]:
    """Clicks until each target, and IoU after each number of clicks."""
    fractions = np.array(result["area_fractions"])
    columns: dict[str, list[float]] = {
        f"noc{target * 100:.0f}": [
            clicks_to_reach(ious, target, PUBLISHED_CLICKS) for ious in result["ious"]
        ]
        for target in TARGETS
    }
    columns |= {
        f"iou_after_{clicks}": [iou_after(ious, clicks) for ious in result["ious"]]
        for clicks in CLICKS
    }
    return {
        name: ImageValues(values=np.array(values), fractions=fractions)
        for name, values in columns.items()
    }


def iou_after(ious: Sequence[float], clicks: int) -> float:
    """IoU after a number of clicks; a mask without an error is clicked no more and stays."""
    return ious[min(clicks, len(ious)) - 1]


def box_values(result: Mapping[str, Any]) -> dict[str, ImageValues]:
    """IoU of the masks from boxes."""
    fractions = np.array(result["area_fractions"])
    return {"box_miou": ImageValues(values=np.array(result["ious"]), fractions=fractions)}


def recall_parts(result: Mapping[str, Any]) -> tuple[float, int]:
    """Number of true masks found, as the mean over IoU thresholds, and number of true masks."""
    return float(np.mean(result["found"][0][AR_LIMIT])), int(result["truths"][0])


Pairs = tuple[Array, Array]  # predicted and true IoUs


def top_ranked_pairs(result: Mapping[str, Any]) -> Pairs:
    """IoUs of the top-ranked candidates of the first click."""
    if not result["masks"]:
        return np.zeros(0), np.zeros(0)
    answers = OneClickAnswers.of(result)
    return answers.iou_pred.max(axis=1), answers.top_ranked


def all_pairs(result: Mapping[str, Any]) -> Pairs:
    """IoUs of all candidates of the first click."""
    return np.ravel(result["iou_pred"]), np.ravel(result["ious"])


def later_pairs(result: Mapping[str, Any]) -> Pairs:
    """IoUs of the answers to all clicks but the first."""
    return (
        np.array([one for mask in result["iou_pred"] for one in mask[1:]]),
        np.array([one for mask in result["ious"] for one in mask[1:]]),
    )


CALIBRATIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Pairs]]] = {
    "ece_top": ("one-click", top_ranked_pairs),
    "ece_all": ("one-click", all_pairs),
    "ece_later": ("noc", later_pairs),
}


def reliability(results: Results) -> dict[str, Array]:
    """Bins (`NUM_BINS`, 3) of each kind of answer over all images; see `reliability_bins`."""
    return {
        name: sum(
            (reliability_bins(*pairs(record.result)) for record in results[protocol]),
            np.zeros((NUM_BINS, 3)),
        )
        for name, (protocol, pairs) in CALIBRATIONS.items()
    }


def iou_by_clicks(results: Results) -> list[float]:
    """Mean IoU over all masks after 1, 2, ... clicks; empty without masks."""
    masks = [ious for record in results["noc"] for ious in record.result["ious"]]
    if not masks:
        return []
    return [
        float(np.mean([iou_after(ious, clicks) for ious in masks]))
        for clicks in range(1, PUBLISHED_CLICKS + 1)
    ]
