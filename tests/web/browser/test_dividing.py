"""A mask is split by a line that is drawn over it."""

import numpy as np
import pytest
from playwright.sync_api import expect
from pycocotools import mask as coco_mask

from .test_habits import ann, day, open_image, paint  # noqa: F401 - fixtures
from .test_modules import module, rle_of  # noqa: F401 - fixture
from .test_shapes import kinds_of, masks_of, pixels

pytestmark = pytest.mark.slow

SIZE = (80, 100)
YS, XS = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5


def divided(module, mask, points):  # noqa: F811
    code = """const {decodeRle, encodeRle} = await import('/rle.js');
        return m.divide(decodeRle(given.rle), given.points)?.map(encodeRle) ?? null;"""
    parts = module("dividing.js", code, {"rle": rle_of(mask), "points": points})
    return parts and [coco_mask.decode(one).astype(bool) for one in parts]


def check_parts(parts, *expected):
    expected = sorted(expected, key=np.count_nonzero, reverse=True)
    for part, mask in zip(parts, expected, strict=True):
        assert (part == mask).all()


@pytest.mark.parametrize(
    "points", [[[5, 10], [95, 61]], [[95, 61], [5, 10]], [[30.2, 0], [30.2, 79]]]
)
def test_pixels_go_to_the_side_of_their_middles(module, points):  # noqa: F811
    disc = (XS - 50) ** 2 + (YS - 40) ** 2 < 30**2
    (ax, ay), (bx, by) = points
    side = (XS - ax) * (by - ay) > (YS - ay) * (bx - ax)
    check_parts(divided(module, disc, points), disc & side, disc & ~side)


def test_bent_line_cuts_out_a_corner(module):  # noqa: F811
    square = (abs(XS - 50) < 30) & (abs(YS - 40) < 30)
    corner = (XS < 40) & (YS < 30)
    parts = divided(module, square, [[40, 0], [40, 30], [0, 30]])
    check_parts(parts, square & ~corner, square & corner)


def test_line_divides_only_what_it_crosses(module):  # noqa: F811
    # The line through the upper arm of a C would, if it went on, cross the lower one, too.
    c = (abs(XS - 50) < 40) & (abs(YS - 40) < 30) & ~((XS > 30) & (abs(YS - 40) < 15))
    island = (abs(XS - 20) < 3) & (abs(YS - 75) < 3)
    parts = divided(module, c | island, [[60, 2], [60, 35]])
    arm = (XS > 60) & (YS < 40)
    check_parts(parts, (c & ~arm) | island, c & arm)


def test_thin_diagonals_come_apart(module):  # noqa: F811
    # The pixels of a diagonal touch by corners only.
    diagonal = np.zeros(SIZE, bool)
    diagonal[np.arange(10, 60), np.arange(10, 60)] = True
    parts = divided(module, diagonal, [[60, 20], [20, 60.3]])
    above = (XS + YS < 80) & diagonal
    check_parts(parts, above, diagonal & ~above)


@pytest.mark.parametrize(
    "points", [[[0, 40], [45, 40]], [[0, 2], [99, 2]], [[0, 10], [99, 10]], [[20, 20], [20, 20]]]
)
def test_line_that_divides_nothing(module, points):  # noqa: F811
    square = (abs(XS - 50) < 30) & (abs(YS - 40) < 30)
    assert divided(module, square, points) is None


def test_line_is_drawn_by_a_drag_or_by_corners(ann, day):  # noqa: F811
    open_image(ann, 4)
    paint(ann, (60, 100), (240, 100))
    ann.accept()
    [whole] = pixels(day, 4)
    ann.press("n", "Shift+u")
    ann.page.wait_for_selector(".work-title:has-text('Draw a line across the mask')")
    ann.drag((150, 60), (151, 60), (150, 140))
    ann.page.wait_for_selector(".notice:has-text('Split into 2 masks')")
    ann.wait_until_saved()
    one, two = pixels(day, 4)
    assert not (one & two).any()
    assert ((one | two) == whole).all()
    left, right = sorted((one, two), key=lambda mask: np.nonzero(mask)[1].min())
    assert np.nonzero(left)[1].max() < np.nonzero(right)[1].min()
    assert abs(np.nonzero(right)[1].min() - 150.5) < 1  # whole pixels of the screen
    first, second = masks_of(day, 4)
    assert kinds_of(day, first) == ["brush", "split"]
    assert kinds_of(day, second) == ["split"]
    # One step of undo.
    ann.press("Escape", "Control+z")
    ann.page.wait_for_selector(".masks h2 .count:text-is('1')")
    ann.wait_until_saved()
    assert (pixels(day, 4)[0] == whole).all()
    # By corners until Enter; one that divides nothing is refused, and a corner can be taken back.
    ann.press("n", "Shift+u")
    for place in ((20, 100), (100, 60), (90, 60)):
        ann.page.mouse.click(*ann.at(*place))
    ann.press("Enter")
    ann.page.wait_for_selector(".notice:has-text('does not divide the mask')")
    ann.press("Shift+u")
    for place in ((100, 60), (110, 100), (300, 100), (100, 140)):
        ann.page.mouse.click(*ann.at(*place))
        if place == (300, 100):
            ann.press("Control+z")
    ann.press("Enter")
    ann.page.wait_for_selector(".masks h2 .count:text-is('2')")
    ann.wait_until_saved()
    one, two = pixels(day, 4)
    assert ((one | two) == whole).all()
    assert not (one & two).any()
    assert two[100, 105] != two[100, 112]
    # Esc ends the mode, and the tool is the one before.
    ann.press("Shift+u", "Escape")
    expect(ann.page.locator(".work-title:has-text('Draw')")).to_have_count(0)
