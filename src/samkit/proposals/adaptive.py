"""Adaptive point grids: skip points that many candidate masks cover already."""

import numpy as np
import numpy.typing as npt

from samkit.geometry import MASK_THRESHOLD, CoordMap
from samkit.proposals.candidates import Candidates

# A point covered by this many candidates is skipped. Each point yields up to three, and neighbours
# repeat them, so these are the answers of about three points or more that agree on what is here.
# docs/performance.md has the savings and losses: half of the points, 2% of the recall.
COVERING_CANDIDATES = 8


class Coverage:
    """Number of candidates that cover each position of a crop."""

    def __init__(
        self,
        coords: CoordMap,
        points_xy_crop: npt.NDArray[np.float64],
        *,
        stability_thresh: float,
    ) -> None:
        """Track points (P, 2) in pixels of the crop; only masks of enough stability count."""
        self.stability_thresh = stability_thresh
        places = coords.points_to_model(points_xy_crop) / coords.logits_stride
        self.places_xy = places.astype(np.int64)  # in the logits space
        self.counts = np.zeros((coords.logits_size, coords.logits_size), np.int32)

    def add(self, candidates: Candidates) -> None:
        """Count further candidates of the crop."""
        for number in np.flatnonzero(candidates.stability >= self.stability_thresh):
            patch, (x, y) = candidates.patches[number], candidates.corners_xy[number]
            height, width = patch.shape
            self.counts[y : y + height, x : x + width] += patch > MASK_THRESHOLD

    def covers(self, points: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each of the tracked points, given by index, can be skipped."""
        x, y = self.places_xy[points].T
        covered: npt.NDArray[np.bool_] = self.counts[y, x] >= COVERING_CANDIDATES
        return covered
