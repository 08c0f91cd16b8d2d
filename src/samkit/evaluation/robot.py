"""A simulated user who clicks by a fixed rule, to measure interactive segmentation.

The farthest point of a region is the pixel whose nearest pixel outside the region is farthest away,
by exact Euclidean distance between pixel centres. Everything beyond the image counts as outside. Of
equally far pixels the first in row order is taken.

- The first click is the farthest point of the true mask.
- Each next click is the farthest point of the missed region (a foreground click) or of the wrongly
  included region (a background click), whichever is farther from its own boundary; ties go to the
  latter, as in the published code. Pixels that were clicked before are left out.

"The larger error region" is thus the one with the larger inscribed circle, not the one with more
pixels: long thin strips along the true boundary have many pixels, and no user would click there.

Source: arXiv:2304.02643, section 7.1 and appendix D.1, which follows the protocol of
arXiv:2102.06583 (RITM). Deviations: none; void pixels are left out by the caller (`truth`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samkit.arrays import BoolArray
from samkit.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Click:
    """A clicked pixel, and whether it should be inside the mask."""

    x: int
    y: int
    is_foreground: bool


@dataclass(frozen=True, kw_only=True)
class FarthestPoint:
    """A pixel of a region, and its distance to the nearest pixel outside the region."""

    x: int
    y: int
    distance_px: float


def first_click(mask: BoolArray) -> Click:
    """The click in the middle of a true mask (H, W).

    Raises:
        DataError: the mask is empty.
    """
    point = farthest_point(mask)
    if point is None:
        raise DataError("a mask needs at least one pixel to be clicked; got an empty mask")
    return Click(x=point.x, y=point.y, is_foreground=True)


def next_click(
    truth: BoolArray, predicted: BoolArray, earlier: Sequence[Click] = ()
) -> Click | None:
    """The click that corrects the worst error; None if there is nothing left to click.

    Args:
        truth: true mask (H, W), without void pixels.
        predicted: mask to be corrected (H, W), without void pixels.
        earlier: clicks so far.
    """
    missed = farthest_point(truth & ~predicted, earlier)
    wrong = farthest_point(predicted & ~truth, earlier)
    if missed is not None and (wrong is None or missed.distance_px > wrong.distance_px):
        return Click(x=missed.x, y=missed.y, is_foreground=True)
    return None if wrong is None else Click(x=wrong.x, y=wrong.y, is_foreground=False)


def farthest_point(region: BoolArray, excluded: Sequence[Click] = ()) -> FarthestPoint | None:
    """The pixel of a region (H, W) farthest from its boundary.

    Args:
        region: may have any number of parts.
        excluded: pixels that must not be chosen.

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
    for click in excluded:
        x, y = click.x - x0, click.y - y0
        if 0 <= x < width and 0 <= y < height:
            distances[y, x] = 0
    y, x = divmod(int(distances.argmax()), width)
    farthest = float(distances[y, x])
    if farthest == 0:
        return None
    return FarthestPoint(x=x0 + x, y=y0 + y, distance_px=farthest)
