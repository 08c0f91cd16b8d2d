"""Paired comparison of two models on the same images, with confidence intervals.

Masks of one image, and frames of one video, are alike: many of them are not as many independent
observations. So whole groups of images are drawn, with replacement, and both models are compared on
the same draws.

Shape legend: G groups, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray

CONFIDENCE = 0.95
RESAMPLES = 5000
# Of fewer groups, not even differences that all point the same way are unlikely by chance:
# 2 / 2**5 is above 5%.
MIN_GROUPS = 6


def ratio(sums: FloatArray) -> FloatArray:
    """Values (...) of sums (..., 2) of a numerator and a denominator; NaN where the latter is 0."""
    above, below = sums[..., 0], sums[..., 1]
    value: FloatArray = np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
    return value


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupSums:
    """A metric, as sums over the groups of a data set.

    Attributes:
        sums: (G, ...) of each group.
        metric: turns sums over groups (R, ...) into values (R,); NaN where undefined.
    """

    sums: FloatArray
    metric: Callable[[FloatArray], FloatArray] = ratio

    @classmethod
    def of(
        cls,
        parts: npt.ArrayLike,
        groups: Sequence[str],
        metric: Callable[[FloatArray], FloatArray] = ratio,
    ) -> GroupSums:
        """Add up the parts (N, ...) of N images that are in the same group; at least one image."""
        array = np.asarray(parts, np.float64)
        names, numbers = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.zeros((len(names), *array.shape[1:]))
        np.add.at(sums, numbers, array)
        return cls(sums=sums, metric=metric)

    @property
    def has_masks(self) -> BoolArray:
        """Which groups (G,) contribute to the metric."""
        return np.asarray(self.sums.reshape(len(self.sums), -1).any(axis=1))

    @property
    def value(self) -> float:
        """The metric over all groups."""
        return float(self.metric(self.sums.sum(axis=0, keepdims=True))[0])

    def resampled(self, weights: npt.NDArray[np.int64]) -> FloatArray:
        """The metric (R,) with each group counted as often as `weights` (R, G) say."""
        return self.metric(np.tensordot(weights.astype(np.float64), self.sums, axes=1))


def draw_groups(
    groups: int, rng: np.random.Generator, resamples: int = RESAMPLES
) -> npt.NDArray[np.int64]:
    """How often each of G groups is drawn (R, G): G draws with replacement in each resample."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def expanded_interval(
    resampled: FloatArray, groups: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The confidence interval of a value by its resamples (R,); NaN with few groups.

    It is the expanded percentile interval, since plain percentiles are too narrow where there are
    few groups. Source: Hesterberg, The American Statistician 69 (2015), section 3.3.

    Args:
        resampled: NaN where undefined.
        groups: how many groups contribute; from `MIN_GROUPS` on, an interval has a meaning.
        confidence: how often the interval contains the true value.
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    known = resampled[np.isfinite(resampled)]
    if groups < MIN_GROUPS:
        return math.nan, math.nan
    quantile = float(t.ppf((1 + confidence) / 2, groups - 1))
    tail = NormalDist().cdf(-quantile * math.sqrt(groups / (groups - 1)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A metric of two models on the same images.

    Attributes:
        baseline: value of the one.
        value: value of the other.
        differences: (R,) value minus baseline in resamples; NaN where either is undefined.
        groups: number of groups that contribute to both.
    """

    baseline: float
    value: float
    differences: FloatArray
    groups: int

    @property
    def difference(self) -> float:
        """Value minus baseline."""
        return self.value - self.baseline

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the difference; NaN with less than `MIN_GROUPS`."""
        return expanded_interval(self.differences, self.groups)

    @property
    def sign(self) -> int:
        """1 or -1 if the interval is above or below 0, else 0."""
        low, high = self.interval
        return int(low > 0) - int(high < 0)


def compare(baseline: GroupSums, other: GroupSums, weights: npt.NDArray[np.int64]) -> Comparison:
    """Compare two models in the same resamples, see `draw_groups`."""
    return Comparison(
        baseline=baseline.value,
        value=other.value,
        differences=other.resampled(weights) - baseline.resampled(weights),
        groups=int(np.count_nonzero(baseline.has_masks & other.has_masks)),
    )


def average(comparisons: Sequence[Comparison]) -> Comparison:
    """The mean of comparisons on several data sets, drawn independently, that count equally."""
    return Comparison(
        baseline=float(np.mean([one.baseline for one in comparisons])),
        value=float(np.mean([one.value for one in comparisons])),
        differences=np.mean([one.differences for one in comparisons], axis=0),
        groups=sum(one.groups for one in comparisons),
    )
