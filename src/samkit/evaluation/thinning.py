"""Thinning of edges to one pixel's width: non-maximum suppression and morphological thinning."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatImage

# One bit for each neighbour of a pixel, counter-clockwise from the east (north is up).
NEIGHBOUR_BITS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)
NEIGHBOURS = 8


def suppress_non_maxima(strength: FloatImage, gradient_xy: FloatImage) -> FloatImage:
    """Keep edges only where they are at least as strong as one pixel ahead and behind.

    Args:
        strength: (H, W), at least 0.
        gradient_xy: (H, W, 2) across the edges; only its direction counts. Pixels with zero
            gradient are suppressed.

    Returns:
        strength (H, W), zero off the ridges.

    Source: Canny, A computational approach to edge detection, TPAMI 1986; strength between pixels
    is interpolated bilinearly.
    """
    length = np.hypot(gradient_xy[..., 0], gradient_xy[..., 1])
    known = length > 0
    step = gradient_xy / np.where(known, length, 1)[..., None]
    height, width = strength.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    is_ridge = known.copy()
    for sign in (1, -1):
        beside = cv2.remap(
            strength,
            x + sign * step[..., 0],
            y + sign * step[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        is_ridge &= strength >= beside
    return np.where(is_ridge, strength, np.float32(0))


def thin(mask: BoolArray) -> BoolArray:
    """Thin a mask (H, W) to lines of one pixel's width with the same connectivity.

    Source: Guo and Hall, Parallel thinning with two-subiteration algorithms, CACM 1989 (the
    first of their two), as in the boundary benchmark of BSDS500.
    """
    pixels = np.ascontiguousarray(mask).astype(np.uint8)
    tables = _keep_tables()
    left = -1
    while left != (left := int(np.count_nonzero(pixels))):
        for table in tables:
            patterns = cv2.filter2D(pixels, -1, NEIGHBOUR_BITS, borderType=cv2.BORDER_CONSTANT)
            pixels = np.asarray(cv2.bitwise_and(pixels, cv2.LUT(patterns, table)), np.uint8)
    return np.asarray(pixels).astype(bool)


@cache
def _keep_tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Whether a pixel stays in each of the two steps, by its pattern of neighbours (256,)."""
    first, second = np.ones(256, np.uint8), np.ones(256, np.uint8)
    for pattern in range(256):
        # Numbered as in the paper, from x[1], the east neighbour, to x[8]; x[9] is x[1].
        x = [False, *(bool(pattern >> bit & 1) for bit in range(NEIGHBOURS)), bool(pattern & 1)]
        sides = [(x[2 * i - 1], x[2 * i], x[2 * i + 1]) for i in range(1, 5)]
        parts = sum(not edge and (corner or after) for edge, corner, after in sides)
        pairs_1 = sum(x[2 * i - 1] or x[2 * i] for i in range(1, 5))
        pairs_2 = sum(x[2 * i] or x[2 * i + 1] for i in range(1, 5))
        if parts == 1 and 2 <= min(pairs_1, pairs_2) <= 3:
            first[pattern] = (x[2] or x[3] or not x[8]) and x[1]
            second[pattern] = (x[6] or x[7] or not x[4]) and x[5]
    return first, second
