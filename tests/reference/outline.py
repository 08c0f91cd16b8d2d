"""The joined outline in its plain form: each ring is joined where it is nearest to those before.

Quadratic in the number of border pixels.
"""

import cv2
import numpy as np

ROWS_AT_ONCE = 256  # rows of the distance table between two outlines computed at once


def joined_outline(mask):
    """One closed line (N, 2) through the border pixels of all parts and holes of a mask.

    Parts and holes are joined by lines there and back between their nearest corners. Filled with
    `cv2.fillPoly` (even-odd rule, border included), the line reproduces the mask plus the pixels
    under the joining lines.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = sorted((np.asarray(one, np.int64).reshape(-1, 2) for one in found), key=_by_length)
    if not rings:
        return np.zeros((0, 2), np.int64)
    outline = rings.pop(0)
    for ring in rings:
        here, there = _nearest(outline, ring)
        detour = np.roll(ring, -there, axis=0)
        outline = np.concatenate([outline[: here + 1], detour, detour[:1], outline[here:]])
    return outline


def _by_length(ring):
    """Sort key: largest bounding box first."""
    return -float(np.prod(np.ptp(ring, axis=0) + 1))


def _nearest(one, other):
    """Indices of the two points that are nearest to each other."""
    best = (np.inf, 0, 0)
    for start in range(0, len(other), ROWS_AT_ONCE):
        part = other[start : start + ROWS_AT_ONCE]
        distances = ((part[:, None] - one[None]) ** 2).sum(axis=-1)
        row, column = np.unravel_index(distances.argmin(), distances.shape)
        if distances[row, column] < best[0]:
            best = (distances[row, column], int(column), start + int(row))
    return best[1:]
