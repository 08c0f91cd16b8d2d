"""Size, concavity and position of a mask, as the paper describes its masks.

Source: arXiv:2304.02643, section 5 and figures 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from samkit.arrays import BoolArray
from samkit.geometry import Rle, decode_rle_patch, rle_box_xyxy


@dataclass(frozen=True, kw_only=True)
class MaskShape:
    """What a mask is like, whatever the size of its image.

    Attributes:
        size: square root of its share of the image's area.
        concavity: share of its convex hull that it does not cover.
        centre_xy: mean of its pixels' centres, from 0 to 1 along each side of the image.
    """

    size: float
    concavity: float
    centre_xy: tuple[float, float]


def shape_of(rle: Rle) -> MaskShape:
    """Measure a mask, which must not be empty."""
    box = rle_box_xyxy(rle)
    patch = decode_rle_patch(rle, box)
    height, width = rle["size"]
    rows, columns = patch.sum(axis=1), patch.sum(axis=0)  # pixels in each
    area = int(rows.sum())
    x = box[0] + 0.5 + columns @ np.arange(len(columns)) / area
    y = box[1] + 0.5 + rows @ np.arange(len(rows)) / area
    return MaskShape(
        size=math.sqrt(area / (height * width)),
        concavity=concavity(patch),
        centre_xy=(float(x / width), float(y / height)),
    )


def concavity(mask: BoolArray) -> float:
    """Share of a mask's (H, W) convex hull that the mask does not cover; holes count.

    The hull is that of the pixels' centres, and its area is the number of pixels that have their
    centre in it. So a rectangle, a line and a drawn disc are convex, however small: the area
    between the corners of pixels would take the steps of their outlines for concave.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends_xy = np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)])
    hull_xy = cv2.convexHull(ends_xy.astype(np.int32)).reshape(-1, 2).astype(np.int64)
    steps = hull_xy - np.roll(hull_xy, 1, axis=0)
    twice_area = abs(int((hull_xy[:, 0] * steps[:, 1] - hull_xy[:, 1] * steps[:, 0]).sum()))
    on_outline = int(np.gcd(steps[:, 0], steps[:, 1]).sum())
    # Pick's theorem, which also holds for a hull that is a line or a point.
    num_pixels = (twice_area + on_outline) // 2 + 1
    return 1 - int(mask.sum()) / num_pixels
