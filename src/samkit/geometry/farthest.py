"""The point of a region that is farthest from its boundary."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samkit.arrays import BoolArray


@dataclass(frozen=True, kw_only=True)
class FarthestPoint:
    """A pixel of a region, and its distance to the nearest pixel outside the region."""

    x: int
    y: int
    distance_px: float


def farthest_point(
    region: BoolArray, excluded: Sequence[tuple[int, int]] = ()
) -> FarthestPoint | None:
    """The pixel of a region (H, W) farthest from its boundary.

    Args:
        region: may have any number of parts.
        excluded: xy of pixels that must not be chosen.

    Returns:
        the point, or None if no pixel can be chosen.
    """
    pixels = np.ascontiguousarray(region).view(np.uint8)
    x0, y0, width, height = cv2.boundingRect(pixels)
    if width == 0:
        return None
    # One ring of outside pixels around the region's box is enough: others are farther away.
    box = pixels[y0 : y0 + height, x0 : x0 + width]
    ringed = cv2.copyMakeBorder(box, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distances = cv2.distanceTransform(ringed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for column, row in excluded:
        x, y = column - x0, row - y0
        if 0 <= x < width and 0 <= y < height:
            distances[y, x] = 0
    y, x = divmod(int(distances.argmax()), width)
    farthest = float(distances[y, x])
    if farthest == 0:
        return None
    return FarthestPoint(x=x0 + x, y=y0 + y, distance_px=farthest)
