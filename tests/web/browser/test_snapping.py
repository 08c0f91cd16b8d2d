"""What is drawn snaps to the borders of other masks."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from .test_habits import ann, day, masks_of, open_image, paint, pressed  # noqa: F401 - fixtures
from .test_modules import module, rle_of  # noqa: F401 - fixture
from .test_shapes import kinds_of, pixels

pytestmark = pytest.mark.slow

YS, XS = np.mgrid[:100, :120]


def box(x0, y0, x1, y1):
    return (x0 <= XS) & (x1 > XS) & (y0 <= YS) & (y1 > YS)


def snapped(module, shape, *others, distance=6, cuts=True):  # noqa: F811
    given = {
        "shape": rle_of(shape),
        "others": [rle_of(one) for one in others],
        "distance": distance,
        "cuts": cuts,
    }
    code = """const {decodeRle, encodeRle} = await import('/rle.js');
        const [shape, others] = [decodeRle(given.shape), given.others.map(decodeRle)];
        return encodeRle(m.snapped(shape, others, given.distance, {cuts: given.cuts}));"""
    return coco_mask.decode(module("snapping.js", code, given)).astype(bool)


def test_gaps_are_closed_up_to_the_distance(module):  # noqa: F811
    other = box(10, 10, 40, 90)
    shape = box(44, 30, 80, 60)
    got = snapped(module, shape, other)
    assert (got >= shape).all()
    assert (got == shape | box(40, 30, 44, 60)).all()
    for far in (box(46, 30, 80, 60), box(47, 30, 80, 60)):
        gap = far[40].argmax() - 40
        assert snapped(module, far, other)[45, 41] == (gap <= 6)
    # The smaller distance leaves it.
    assert (snapped(module, shape, other, distance=3) == shape).all()


def test_overlap_is_taken_away_but_for_masks_that_go_over_others(module):  # noqa: F811
    other = box(10, 10, 40, 90)
    shape = box(30, 30, 80, 60)
    assert (snapped(module, shape, other) == shape & ~other).all()
    assert (snapped(module, shape, other, cuts=False) == shape).all()


def test_dents_of_one_border_stay(module):  # noqa: F811
    other = box(10, 10, 40, 90) & ~box(20, 10, 24, 20)
    shape = box(44, 30, 80, 60) & ~box(60, 30, 63, 45)
    got = snapped(module, shape, other)
    assert (got == shape | box(40, 30, 44, 60)).all()


def test_gap_among_several_neighbours(module):  # noqa: F811
    others = (box(10, 10, 40, 50), box(10, 50, 110, 80))
    got = snapped(module, box(43, 10, 110, 47), *others)
    assert not (got & (others[0] | others[1])).any()
    assert (got | others[0] | others[1])[10:80, 10:110].all()
    assert not got[:10].any()


def test_slanted_borders_and_wedges(module):  # noqa: F811
    other = XS + YS < 80
    shape = XS + YS >= 84
    got = snapped(module, shape, other, distance=4)
    assert (got == ~other).all()
    # A wedge is closed as far as it is narrow.
    shape = (XS > 60) & (YS < 50 - (XS - 60) / 2)
    got = snapped(module, shape, box(60, 50, 120, 90), distance=4)
    free = got & ~shape
    assert free.any()
    assert np.nonzero(free)[1].max() == 60 + 2 * 4 + 1


def test_key_for_painting_and_polygons(ann, day):  # noqa: F811
    open_image(ann, 11)
    paint(ann, (60, 100), (160, 100))
    ann.accept()
    [first] = pixels(day, 11)
    below = np.nonzero(first)[0].max() + 1
    # A polygon that leaves two pixels free stays as it is, until snapping is switched on.
    for snaps in (False, True):
        if snaps:
            ann.press("Shift+g")
            button = ann.page.locator("[data-key=snap]")
            assert button.get_attribute("aria-pressed") == "true"
        ann.press("p")
        top = below + 2
        for place in ((80, top), (140, top), (140, top + 40), (80, top + 40)):
            ann.page.mouse.click(*ann.at(place[0] - 0.5, place[1] - 0.5))
        ann.press("Enter")
        ann.accept()
        mask = pixels(day, 11)[-1]
        assert mask[below : below + 2, 85:135].all() == snaps
        assert not (mask & first).any()
        kinds = kinds_of(day, masks_of(day, 11)[-1])
        assert kinds == (["polygon", "snap"] if snaps else ["polygon"])
        ann.press("n" if snaps else "Shift+n", "Delete")
        if not snaps:
            ann.wait_until_saved()
    ann.page.wait_for_selector(".masks h2 .count:text-is('1')")
    ann.wait_until_saved()
    # Painted over a border: no overlap; it stays set in the next visit.
    ann.page.reload()
    open_image(ann, 11)
    [left] = pixels(day, 11)
    paint(ann, (100, 100), (100, 160))
    ann.accept()
    mask = pixels(day, 11)[-1]
    assert mask.any()
    assert not (mask & left).any()
    ann.press("Shift+g")
    assert ann.page.get_attribute("[data-key=snap]", "aria-pressed") == "false"
