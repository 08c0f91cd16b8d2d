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

from samkit.arrays import BoolArray
from samkit.errors import DataError
from samkit.geometry import farthest_point


@dataclass(frozen=True, kw_only=True)
class Click:
    """A clicked pixel, and whether it should be inside the mask."""

    x: int
    y: int
    is_foreground: bool


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
    clicked = [(click.x, click.y) for click in earlier]
    missed = farthest_point(truth & ~predicted, clicked)
    wrong = farthest_point(predicted & ~truth, clicked)
    if missed is not None and (wrong is None or missed.distance_px > wrong.distance_px):
        return Click(x=missed.x, y=missed.y, is_foreground=True)
    return None if wrong is None else Click(x=wrong.x, y=wrong.y, is_foreground=False)
