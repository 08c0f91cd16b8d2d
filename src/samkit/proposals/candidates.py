"""Candidate masks as patches of logits; only survivors are upsampled to the image's size.

Shape legend: K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray, Logits
from samkit.geometry import CoordMap, cut_patch, estimate_stability
from samkit.proposals.config import AutoMaskConfig
from samkit.proposals.grid import Box

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.predict import PointMasks


# Stability is defined at the image's size; candidates whose estimate on the logits is below the
# threshold by more than this are left out. A measurement, no bound: MobileSAM's estimates were off
# by 0.041 at most among 3,000 stable masks of images from 150 x 220 to 1200 x 1800, and none of 588
# was lost from 600 down to 64 pixels; those of artificial smooth logits were off by up to 0.32 at
# 150 x 220, where 3% of stable masks are lost (12% at 96 x 96).
STABILITY_SLACK = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """K masks of one crop.

    Attributes:
        patches: for each mask, the logits that its pixels in the image depend on.
        corners_xy: (K, 2) positions of the patches in the crop's logits.
        iou_pred: (K,).
        scores: (K,) by which masks are ranked, and preferred to their duplicates.
        stability: (K,) estimated on the logits; see `STABILITY_SLACK`.
        points_xy: (K, 2) the point that each mask answers, or the middle of its box, in pixels of
            the image.
    """

    patches: tuple[Logits, ...]
    corners_xy: npt.NDArray[np.int64]
    iou_pred: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    stability: FloatArray
    points_xy: FloatArray

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.patches)

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """Concatenate one or more sets of candidates."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS
        }
        return cls(patches=tuple(patch for part in parts for patch in part.patches), **columns)


COLUMNS = tuple(field.name for field in fields(Candidates) if field.name != "patches")


@dataclass(frozen=True, kw_only=True, eq=False)
class CropProposals:
    """The candidates of one crop.

    Attributes:
        crop_xyxy: the crop in pixels of the image.
        coords: the crop's coordinate spaces.
        candidates: masks found in the crop.
    """

    crop_xyxy: Box
    coords: CoordMap
    candidates: Candidates


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """All candidates of an image, including duplicates: the input of `AutoMasker.filter`.

    Attributes:
        size_hw: size of the image.
        config: settings they were proposed with; its thresholds are the lowest that can be filtered
            by.
        crops: the full image, then its crops.
    """

    size_hw: tuple[int, int]
    config: AutoMaskConfig
    crops: tuple[CropProposals, ...]

    def __len__(self) -> int:
        """Number of candidates."""
        return sum(len(crop.candidates) for crop in self.crops)


def select_candidates(
    answer: PointMasks,
    points_xy: FloatArray,
    coords: CoordMap,
    config: AutoMaskConfig,
    *,
    scores: npt.NDArray[np.float32] | None = None,
) -> Candidates:
    """Select the masks of an answer whose estimated stability suffices.

    Args:
        answer: confident masks of a crop.
        points_xy: (P, 2) the prompted points, in pixels of the image.
        scores: (K,) of the answer's masks; None for their predicted IoU.
        coords: the crop's coordinate spaces.
        config: thresholds.
    """
    numbers, patches, corners, stability = [], [], [], []
    for number, logits in enumerate(answer.logits):
        patch, corner = cut_patch(logits, coords, config.stability_offset)
        estimate = estimate_stability(patch, config.stability_offset)
        if estimate >= config.stability_thresh - STABILITY_SLACK and patch.size:
            numbers.append(number)
            patches.append(patch.copy())
            corners.append(corner)
            stability.append(estimate)
    index = np.array(numbers, np.int64)
    return Candidates(
        patches=tuple(patches),
        corners_xy=np.array(corners, np.int64).reshape(-1, 2),
        iou_pred=answer.iou_pred[index],
        scores=(answer.iou_pred if scores is None else scores)[index],
        stability=np.array(stability, np.float64),
        points_xy=points_xy[answer.point_index[index]],
    )
