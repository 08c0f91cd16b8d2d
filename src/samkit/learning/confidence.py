"""How sure one can be that people accept an automatic mask, learned from what they accepted.

A logistic regression of the predicted IoU, the stability and the size of a mask. Masks are put on
images only above a threshold, which is chosen so that the target fraction of them is accepted, on
images that the regression has not seen, each in its turn. Shape legend: M masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_MASKS = 30  # to learn from
LEAST_CONFIDENT = 10  # above a threshold, to trust its precision
FOLDS = 5
RIDGE = 1.0
NEWTON_STEPS = 25
EDGE = 1e-3  # of probabilities before their logit is taken
BINS = 10


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """A calibrated confidence, and the threshold for a target precision.

    Attributes:
        mean, scale: of the features.
        weights: constant first.
        threshold: least confidence of masks that are shown; None if no threshold has the precision.
        precision: fraction of masks above it that were accepted, on images not seen.
        share: fraction of the accepted masks that are above it.
        num_masks, num_images: what it was learned from.
        num_right: accepted masks above the threshold, on images not seen.
        proposer: what found the masks; see `samkit.learning.proposers`.
        bins: reliability: for each tenth of confidence the number of masks, their mean confidence,
            and the fraction of them that were accepted, on images not seen.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    threshold: float | None
    precision: float | None
    share: float
    num_masks: int
    num_images: int
    bins: tuple[tuple[int, float, float], ...]
    num_right: int = 0
    proposer: str = "grid"

    def of(self, features: Array) -> Array:
        """Confidence (M,) of masks with these features (M, F)."""
        columns = (features - np.array(self.mean)) / np.array(self.scale)
        return _sigmoid(self.weights[0] + columns @ np.array(self.weights[1:]))

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Confidence:
        """Make it of what `content` returned."""
        pairs = {name: tuple(content[name]) for name in ("mean", "scale", "weights")}
        bins = tuple((int(count), mean, fraction) for count, mean, fraction in content["bins"])
        return cls(**{**content, **pairs, "bins": bins})

    def content(self) -> dict[str, Any]:
        """All fields, as JSON."""
        fields = asdict(self)
        return {
            **fields,
            **{name: list(fields[name]) for name in ("mean", "scale", "weights")},
            "bins": [list(one) for one in self.bins],
        }

    def figures(self) -> dict[str, Any]:
        """What is worth showing, as JSON."""
        return {
            "threshold": self.threshold,
            "precision": self.precision,
            "share": self.share,
            "masks": self.num_masks,
            "images": self.num_images,
            "reliability": [list(one) for one in self.bins],
        }


def mask_features(
    scores: npt.ArrayLike, stability: npt.ArrayLike, area_fractions: npt.ArrayLike
) -> Array:
    """Features (M, 4): logits of the predicted IoU and of the stability, size, and its square."""
    size = np.log(np.asarray(area_fractions, np.float64).clip(1e-6, 1))
    return np.column_stack([_logit(scores), _logit(stability), size, size**2])


def fit_confidence(
    features: Array,
    accepted: npt.NDArray[np.bool_],
    images: Sequence[int],
    *,
    target: float,
    shown: Callable[[Array], npt.NDArray[np.bool_]] | None = None,
) -> Confidence | None:
    """Learn a confidence.

    Args:
        features: (M, F) of automatic masks.
        accepted: (M,) whether people accepted each.
        images: image of each mask: those of one image are seen together or not at all.
        target: precision that masks above the threshold shall have.
        shown: which masks (M,) are shown if their confidence (M,) is above the threshold, as those
            that overlap a better one are not; None for all.

    Returns:
        the confidence; None with too few masks, or if all or none were accepted.
    """
    groups = np.unique(np.asarray(images), return_inverse=True)[1]
    num_images = int(groups.max(initial=-1)) + 1
    if len(accepted) < LEAST_MASKS or accepted.all() or not accepted.any() or num_images < 2:
        return None
    unseen = np.empty(len(accepted))
    folds = min(FOLDS, num_images)
    for fold in range(folds):
        test = groups % folds == fold
        unseen[test] = _fit(features[~test], accepted[~test]).of(features[test])
    seen = np.ones(len(accepted), bool) if shown is None else shown(unseen)
    threshold, precision, share = choose_threshold(
        unseen[seen], accepted[seen], groups[seen], target
    )
    num_right = round(share * np.count_nonzero(accepted[seen]))
    fitted = _fit(features, accepted)
    return Confidence(
        mean=fitted.mean,
        scale=fitted.scale,
        weights=fitted.weights,
        threshold=threshold,
        precision=precision,
        share=share,
        num_masks=len(accepted),
        num_images=num_images,
        bins=reliability(unseen[seen], accepted[seen]),
        num_right=num_right,
    )


def choose_threshold(
    confidence: Array,
    accepted: npt.NDArray[np.bool_],
    images: npt.NDArray[np.int64],
    target: float,
) -> tuple[float | None, float | None, float]:
    """The lowest threshold that likely has the target precision, its precision, share of accepted.

    The lowest of many thresholds with some precision owes part of it to chance. So the precision
    less its standard error must reach the target, with one more mask that is wrong. Masks of an
    image are alike, so that the error is that of a mean over images. Below ten masks no precision
    is believed.

    Args:
        images: (M,) number of each mask's image, from 0.
    """
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum(accepted[order])
    counts = np.arange(1, len(order) + 1)
    likely = np.flatnonzero((right / (counts + 1) >= target) & (counts >= LEAST_CONFIDENT))
    for last in likely[::-1].tolist():
        chosen = order[: last + 1]
        error = standard_error(accepted[chosen], images[chosen])
        if right[last] / (counts[last] + 1) - error >= target:
            share = float(right[last] / right[-1])
            return float(confidence[chosen[-1]]), float(right[last] / counts[last]), share
    return None, None, 0.0


def standard_error(accepted: npt.NDArray[np.bool_], images: npt.NDArray[np.int64]) -> float:
    """Standard error of the fraction that was accepted, of images with different numbers of masks.

    Infinite for a single image.
    """
    counts = np.bincount(images)
    right = np.bincount(images, accepted)
    there = counts > 0
    num_images = int(there.sum())
    if num_images < 2:
        return math.inf
    residuals = (right - accepted.mean() * counts)[there]
    variance = num_images / (num_images - 1) * float(residuals @ residuals)
    return math.sqrt(variance) / len(accepted)


def reliability(
    confidence: Array, accepted: npt.NDArray[np.bool_]
) -> tuple[tuple[int, float, float], ...]:
    """Number of masks, mean confidence and fraction accepted in each tenth that has masks."""
    tenth = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        (int(own.sum()), float(confidence[own].mean()), float(accepted[own].mean()))
        for own in (tenth == number for number in range(BINS))
        if own.any()
    )


def _fit(features: Array, accepted: npt.NDArray[np.bool_]) -> Confidence:
    """Fit the regression by Newton's method, with a small penalty that keeps it finite."""
    mean = features.mean(0)
    scale = features.std(0) + 1e-9
    columns = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    weights = np.zeros(columns.shape[1])
    penalty = RIDGE * np.eye(len(weights))
    penalty[0, 0] = 1e-6  # the constant is free
    for _ in range(NEWTON_STEPS):
        probability = _sigmoid(columns @ weights)
        slope = columns.T @ (probability - accepted) + penalty @ weights
        curvature = (columns * (probability * (1 - probability))[:, None]).T @ columns + penalty
        weights = weights - np.linalg.solve(curvature, slope)
    return Confidence(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        threshold=None,
        precision=None,
        share=0.0,
        num_masks=len(features),
        num_images=0,
        bins=(),
    )


def _sigmoid(values: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-values))
    return result


def _logit(values: npt.ArrayLike) -> Array:
    clipped = np.asarray(values, np.float64).clip(EDGE, 1 - EDGE)
    result: Array = np.log(clipped / (1 - clipped))
    return result
