"""Leave out points whose answers are likely known: those inside of many masks found before."""

import numpy as np
import numpy.typing as npt

from samkit.geometry import CoordMap
from samkit.proposals.candidates import Candidates
from samkit.types import MASK_THRESHOLD

# A point inside of so many candidates is left out. Each point brings up to three, and neighbours
# the same ones again, so these are some three points or more that agree what is here.
# docs/performance.md has what it saves and loses: half of the points, 2% of the recall.
ENOUGH_CANDIDATES = 8


class Coverage:
    """How many candidates each place of a crop is in."""

    def __init__(
        self,
        coords: CoordMap,
        points_xy_crop: npt.NDArray[np.float64],
        *,
        stability_thresh: float,
    ) -> None:
        """Watch points (P, 2), in pixels of the crop; only masks of a stability count."""
        self.stability_thresh = stability_thresh
        places = coords.points_to_model(points_xy_crop) / coords.logits_stride
        self.places_xy = places.astype(np.int64)  # in the logits space
        self.counts = np.zeros((coords.logits_size, coords.logits_size), np.int32)

    def add(self, candidates: Candidates) -> None:
        """Count some candidates of the crop."""
        for number in np.flatnonzero(candidates.stability >= self.stability_thresh):
            patch, (x, y) = candidates.patches[number], candidates.corners_xy[number]
            height, width = patch.shape
            self.counts[y : y + height, x : x + width] += patch > MASK_THRESHOLD

    def covers(self, points: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the watched points, by number, need not be asked."""
        x, y = self.places_xy[points].T
        covered: npt.NDArray[np.bool_] = self.counts[y, x] >= ENOUGH_CANDIDATES
        return covered
