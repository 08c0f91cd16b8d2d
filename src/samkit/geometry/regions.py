"""Connected parts of masks: small islands dropped, small holes filled.

Parts are connected over edges and corners.
"""

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

CONNECTIVITY = 8
BACKGROUND = 0  # OpenCV's label of pixels that are not set


def drop_small_islands(mask: Mask, min_area_px: int) -> Mask:
    """Without the connected parts of a mask (H, W) below an area; its largest part always stays."""
    labels, areas = _connected_parts(mask)
    small = areas < min_area_px
    if not small.any():
        return mask
    small[areas.argmax()] = False
    kept = np.concatenate([[False], ~small])  # the background, then the parts
    dropped: Mask = kept[labels]
    return dropped


def fill_small_holes(
    mask: Mask, min_area_px: int, *, open_sides: tuple[bool, bool, bool, bool] = (False,) * 4
) -> Mask:
    """With the connected parts of the background below an area filled.

    Args:
        mask: (H, W).
        min_area_px: smaller holes are filled.
        open_sides: at which of the left, top, right and bottom sides the background goes on beyond
            the array; parts that touch those are no holes.
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
    without_holes: Mask = mask | filled[labels]
    return without_holes


def _connected_parts(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Labels (H, W), 0 where the mask is not and else from 1; area of each label from 1."""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=CONNECTIVITY)
    areas = np.asarray(stats, np.int32)[BACKGROUND + 1 :, cv2.CC_STAT_AREA]
    return np.asarray(labels, np.int32), areas
