"""Removal of small islands and holes from masks.

Pixels are connected over edges and corners.
"""

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray

CONNECTIVITY = 8
BACKGROUND = 0  # OpenCV's label for unset pixels


def drop_small_islands(mask: BoolArray, min_area_px: int) -> BoolArray:
    """Remove connected parts of a mask (H, W) below an area; the largest part always stays."""
    labels, areas = _connected_parts(mask)
    small = areas < min_area_px
    if not small.any():
        return mask
    small[areas.argmax()] = False
    is_set = np.concatenate([[False], ~small])  # the background, then the parts
    dropped: BoolArray = is_set[labels]
    return dropped


def fill_small_holes(
    mask: BoolArray, min_area_px: int, *, open_sides: tuple[bool, bool, bool, bool] = (False,) * 4
) -> BoolArray:
    """Fill connected parts of the background below an area.

    Args:
        mask: (H, W).
        min_area_px: smaller holes are filled.
        open_sides: whether the background continues beyond the array on the left, top, right and
            bottom; parts that touch an open side are not holes.
    """
    labels, areas = _connected_parts(~mask)
    small = areas < min_area_px
    if not small.any():
        return mask
    filled = np.concatenate([[False], small])
    sides = (labels[:, 0], labels[0], labels[:, -1], labels[-1])
    for side, is_open in zip(sides, open_sides, strict=True):
        if is_open:
            filled[side] = False
    if not filled.any():
        return mask
    without_holes: BoolArray = mask | filled[labels]
    return without_holes


def _connected_parts(mask: BoolArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Labels (H, W), 0 outside the mask and 1, 2, ... for its parts; areas of the parts."""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=CONNECTIVITY)
    areas = np.asarray(stats, np.int32)[BACKGROUND + 1 :, cv2.CC_STAT_AREA]
    return np.asarray(labels, np.int32), areas
