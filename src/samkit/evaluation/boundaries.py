"""The BSDS500 boundary benchmark: precision and recall of edges against human boundaries.

An edge map is cut at 99 thresholds. At each, the remaining edges are thinned, and their pixels are
matched one to one with each annotator's boundary pixels, at most 0.0075 of the image's diagonal
apart. Precision is the fraction of found pixels that some annotator matches, recall the fraction of
all annotators' pixels that are matched. ODS is the best F over thresholds for all images together,
OIS takes each image's own best threshold, AP is the area under the curve, R50 the recall at
precision 0.5.

Source: Martin, Fowlkes, Malik, Learning to detect natural image boundaries, TPAMI 2004; Arbelaez,
Maire, Fowlkes, Malik, Contour detection and hierarchical image segmentation, TPAMI 2011. As there,
the matching minimises cost, and an unmatched pixel costs as much as 100 of the largest distances;
but it is found among all pairs of near pixels, some of which the published code omits at random.

Shape legend: T thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatArray, IntArray
from samkit.errors import ConfigError
from samkit.evaluation.thinning import thin
from samkit.extras import install_hint

MAX_DISTANCE = 0.0075  # fraction of the image's diagonal
THRESHOLDS = 99
UNMATCHED_COST = 100  # of an unmatched pixel, in units of the largest distance
STEPS = 100  # between neighbouring thresholds, where precision and recall are interpolated
CURVE_RECALLS = np.linspace(0, 1, 101)  # where the area under the curve is sampled


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryCounts:
    """Pixel counts of one image at each threshold, or of several images added up.

    Attributes:
        found: (T,) edge pixels.
        found_matched: (T,) edge pixels matched with some annotator's pixel.
        truth: (T,) boundary pixels of all annotators.
        truth_matched: (T,) boundary pixels matched with an edge pixel.
    """

    found: IntArray
    found_matched: IntArray
    truth: IntArray
    truth_matched: IntArray

    @property
    def precision(self) -> FloatArray:
        """Precision (T,); 0 where nothing is found."""
        precision: FloatArray = self.found_matched / np.maximum(self.found, 1)
        return precision

    @property
    def recall(self) -> FloatArray:
        """Recall (T,); 0 where there is nothing to find."""
        recall: FloatArray = self.truth_matched / np.maximum(self.truth, 1)
        return recall


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryScores:
    """Scores of edge maps over all images.

    Attributes:
        ods: F at the single best threshold for all images.
        ois: F at the best threshold of each image.
        ap: area under the precision-recall curve; recalls that no threshold reaches add 0, as in
            the published code, so that a map of one strength has almost none.
        r50: recall at precision 0.5.
        precision: (T,) at each threshold.
        recall: (T,).
    """

    ods: float
    ois: float
    ap: float
    r50: float
    precision: FloatArray
    recall: FloatArray


def region_boundaries(masks: Sequence[BoolArray], size_hw: tuple[int, int]) -> BoolArray:
    """Thin boundaries (H, W) of regions, given as masks (H, W).

    A pixel is on a boundary if it and its right, lower and lower right neighbours are neither all
    inside nor all outside of a region. The image's border is not a boundary.
    """
    boundary = np.zeros(size_hw, bool)
    for mask in masks:
        corner = mask[:-1, :-1]
        others = (mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:])
        boundary[:-1, :-1] |= np.logical_or.reduce([corner != other for other in others])
    return thin(boundary)


def match_pixels(
    found: BoolArray, truth: BoolArray, max_distance_px: float
) -> tuple[BoolArray, BoolArray]:
    """Match pixels of two maps (H, W) one to one: as many as possible, at the least distance.

    Args:
        max_distance_px: pixels farther apart do not match.

    Returns:
        the matched pixels of each map, equally many in both.

    Raises:
        ConfigError: scipy is not installed.
    """
    try:
        from scipy.sparse import csr_array  # type: ignore[import-untyped]
        from scipy.sparse.csgraph import (  # type: ignore[import-untyped]
            min_weight_full_bipartite_matching,
        )
    except ImportError as error:
        raise ConfigError(f"edges need scipy: {install_hint('bench')}") from error

    found_yx, truth_yx = np.argwhere(found), np.argwhere(truth)
    one, other, distances = _near_pairs(found_yx, truth_yx, found.shape, max_distance_px)
    matched = (np.zeros_like(found), np.zeros_like(truth))
    if not len(one):
        return matched
    # The work grows with the product of both sides: pixels without a near one are left out, and
    # partners are searched for the side with fewer pixels.
    used_found, one = np.unique(one, return_inverse=True)
    used_truth, other = np.unique(other, return_inverse=True)
    truth_looks = len(used_truth) < len(used_found)
    if truth_looks:
        one, other = other, one
    count, other_count = sorted((len(used_found), len(used_truth)))
    # A pixel may also stay unmatched, with a dummy partner numbered after the real ones.
    alone = np.arange(count)
    cost_alone = np.full(count, UNMATCHED_COST * max(max_distance_px, 1.0))
    cost = np.concatenate([distances, cost_alone])
    pairs = (np.concatenate([one, alone]), np.concatenate([other, other_count + alone]))
    # Adding 1 to every cost changes nothing, and keeps costs of 0 from reading as missing pairs.
    graph = csr_array((cost + 1, pairs), shape=(count, other_count + count))
    _, partner = min_weight_full_bipartite_matching(graph)
    has_partner = np.flatnonzero(partner < other_count)
    chosen = (has_partner, partner[has_partner])
    if truth_looks:
        chosen = (chosen[1], chosen[0])
    matched[0][tuple(found_yx[used_found[chosen[0]]].T)] = True
    matched[1][tuple(truth_yx[used_truth[chosen[1]]].T)] = True
    return matched


def _near_pairs(
    found_yx: IntArray, truth_yx: IntArray, size_hw: tuple[int, ...], max_distance_px: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Indices of found and true pixels that are near each other, and their distances."""
    reach = int(max_distance_px)
    number = np.full((size_hw[0] + 2 * reach, size_hw[1] + 2 * reach), -1, np.int64)
    number[truth_yx[:, 0] + reach, truth_yx[:, 1] + reach] = np.arange(len(truth_yx))
    offsets_yx, lengths = _offsets(max_distance_px)
    beside_yx = found_yx[:, None] + offsets_yx + reach
    near = number[beside_yx[..., 0], beside_yx[..., 1]]
    one, place = np.nonzero(near >= 0)
    return one, near[one, place], lengths[place]


@cache
def _offsets(max_distance_px: float) -> tuple[IntArray, FloatArray]:
    """Offsets (K, 2) in yx up to a maximum length, and their lengths (K,)."""
    reach = int(max_distance_px)
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    lengths = np.hypot(offsets[:, 0], offsets[:, 1])
    short = lengths <= max_distance_px
    return offsets[short], lengths[short]


def count_matches(
    edges: npt.NDArray[np.float32],
    truths: Sequence[BoolArray],
    *,
    thresholds: int = THRESHOLDS,
    max_distance: float = MAX_DISTANCE,
) -> BoundaryCounts:
    """Compare the edges of one image with each annotator's boundaries.

    Args:
        edges: (H, W) from 0 to 1.
        truths: thin boundaries (H, W), one map per annotator.
        thresholds: number T of thresholds, evenly spaced between 0 and 1.
        max_distance: largest distance of matched pixels as a fraction of the image's diagonal.

    Raises:
        ConfigError: scipy is not installed.
    """
    max_distance_px = max_distance * float(np.hypot(*edges.shape))
    truth = sum(int(np.count_nonzero(one)) for one in truths)
    rows = []
    last: tuple[BoolArray, tuple[int, int, int]] | None = None
    for threshold in np.arange(1, thresholds + 1) / (thresholds + 1):
        cut = edges >= threshold
        if last is None or not np.array_equal(cut, last[0]):
            last = (cut, _match_annotators(thin(cut), truths, max_distance_px))
        rows.append(last[1])
    found, found_matched, truth_matched = np.array(rows, np.int64).T
    return BoundaryCounts(
        found=found,
        found_matched=found_matched,
        truth=np.full(thresholds, truth, np.int64),
        truth_matched=truth_matched,
    )


def _match_annotators(
    found: BoolArray, truths: Sequence[BoolArray], max_distance_px: float
) -> tuple[int, int, int]:
    """Numbers of found pixels, of those that some annotator matches, and of matched true pixels."""
    found_matched = np.zeros_like(found)
    truth_matched = 0
    for truth in truths:
        of_found, of_truth = match_pixels(found, truth, max_distance_px)
        found_matched |= of_found
        truth_matched += int(np.count_nonzero(of_truth))
    return int(np.count_nonzero(found)), int(np.count_nonzero(found_matched)), truth_matched


def count_human_matches(
    truths: Sequence[BoolArray], *, max_distance: float = MAX_DISTANCE
) -> BoundaryCounts:
    """Compare each annotator's boundaries with those of all the others, with T = 1."""
    parts = [
        count_matches(
            truth.astype(np.float32),
            [*truths[:number], *truths[number + 1 :]],
            thresholds=1,
            max_distance=max_distance,
        )
        for number, truth in enumerate(truths)
    ]
    return add_counts(parts)


def add_counts(parts: Sequence[BoundaryCounts]) -> BoundaryCounts:
    """Add up the pixel counts of one or more images."""
    return BoundaryCounts(
        found=np.sum([part.found for part in parts], axis=0),
        found_matched=np.sum([part.found_matched for part in parts], axis=0),
        truth=np.sum([part.truth for part in parts], axis=0),
        truth_matched=np.sum([part.truth_matched for part in parts], axis=0),
    )


def boundary_scores(images: Sequence[BoundaryCounts]) -> BoundaryScores:
    """ODS, OIS, AP and R50 over one or more images."""
    together = add_counts(images)
    precision, recall = together.precision, together.recall
    best = add_counts([_at(image, int(_f(image).argmax())) for image in images])
    ap, r50 = _area_and_r50(precision, recall)
    return BoundaryScores(
        ods=_best_f(precision, recall),
        ois=float(_f(best)[0]),
        ap=ap,
        r50=r50,
        precision=precision,
        recall=recall,
    )


def f_measure(precision: FloatArray, recall: FloatArray) -> FloatArray:
    """The harmonic mean of precision and recall; 0 where both are 0."""
    total = precision + recall
    f: FloatArray = 2 * precision * recall / np.where(total > 0, total, 1)
    return f


def _f(counts: BoundaryCounts) -> FloatArray:
    return f_measure(counts.precision, counts.recall)


def _at(counts: BoundaryCounts, threshold: int) -> BoundaryCounts:
    """The counts at one threshold, as counts with T = 1."""
    chosen = slice(threshold, threshold + 1)
    return BoundaryCounts(
        found=counts.found[chosen],
        found_matched=counts.found_matched[chosen],
        truth=counts.truth[chosen],
        truth_matched=counts.truth_matched[chosen],
    )


def _best_f(precision: FloatArray, recall: FloatArray) -> float:
    """The best F at and between thresholds."""
    places = np.arange(len(precision))
    fine = np.linspace(0, len(precision) - 1, (len(precision) - 1) * STEPS + 1)
    between = f_measure(np.interp(fine, places, precision), np.interp(fine, places, recall))
    return float(between.max())


def _area_and_r50(precision: FloatArray, recall: FloatArray) -> tuple[float, float]:
    # Of thresholds with equal recall the best precision counts, and vice versa.
    order = np.lexsort((precision, recall))
    last = np.append(np.diff(recall[order]) > 0, True)
    by_recall = order[last]
    sampled = np.interp(CURVE_RECALLS, recall[by_recall], precision[by_recall], left=0, right=0)
    order = np.lexsort((recall, precision))
    last = np.append(np.diff(precision[order]) > 0, True)
    by_precision = order[last]
    lowest = max(0.5, float(precision.min()))
    r50 = np.interp(lowest, precision[by_precision], recall[by_precision], right=0)
    return float(sampled.sum() / (len(CURVE_RECALLS) - 1)), float(r50)
