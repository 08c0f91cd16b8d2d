"""Masks that fit together: under or over others, merged, split, and cleaned up."""

import numpy as np
import pytest
from playwright.sync_api import expect
from pycocotools import mask as coco_mask
from scipy import ndimage

from samkit.dataengine import Store, annotation_events

from .test_habits import ann, day, masks_of, open_image, paint  # noqa: F401 - fixtures
from .test_modules import module, rle_of  # noqa: F401 - fixture

pytestmark = pytest.mark.slow

CORNERS = np.ones((3, 3))


def some_masks():
    rng = np.random.default_rng(3)
    for shape, share in (((1, 1), 1), ((9, 13), 0.4), ((30, 21), 0.6), ((17, 40), 0.85)):
        yield rng.random(shape) < share
    yield np.ones((5, 5), bool)


def shapes(module, body):  # noqa: F811
    """What a function makes of each mask."""
    code = f"""const {{decodeRle, encodeRle, areaOf}} = await import('/rle.js');
        return given.map((rle) => {{ const mask = decodeRle(rle); {body} }});"""
    return module("shapes.js", code, [rle_of(one) for one in some_masks()])


def test_parts_touch_by_sides_and_corners(module):  # noqa: F811
    got = shapes(module, "return m.partsOf(mask).map(encodeRle);")
    for parts, mask in zip(got, some_masks(), strict=True):
        labels, count = ndimage.label(mask, CORNERS)
        expected = sorted((rle_of(labels == i + 1) for i in range(count)), key=str)
        assert sorted(parts, key=str) == expected
        sizes = [coco_mask.area(part) for part in parts]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("most", [0, 1, 4, 1000])
def test_holes_are_enclosed_by_sides(module, most):  # noqa: F811
    got = shapes(module, f"return encodeRle(m.fillHoles(mask, {most}));")
    for rle, mask in zip(got, some_masks(), strict=True):
        expected = mask.copy()
        labels, count = ndimage.label(~np.pad(mask, 1, constant_values=False))
        labels = labels[1:-1, 1:-1]
        outer = set(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]].tolist())
        for i in range(1, count + 1):
            if i not in outer and (labels == i).sum() <= most:
                expected[labels == i] = True
        assert rle == rle_of(expected)


@pytest.mark.parametrize("most", [0, 1, 3, 1000])
def test_largest_part_always_stays(module, most):  # noqa: F811
    got = shapes(module, f"return encodeRle(m.dropIslands(mask, {most}));")
    for rle, mask in zip(got, some_masks(), strict=True):
        labels, count = ndimage.label(mask, CORNERS)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        left = coco_mask.decode(rle).astype(bool)
        gone = [i for i in range(count) if not left[labels == i + 1].any()]
        assert (left <= mask).all()
        assert left.sum() == sizes.sum() - sizes[gone].sum()
        small = [i for i in range(count) if sizes[i] <= most]
        assert len(gone) == min(len(small), count - 1)
        assert max(sizes[gone], default=0) <= most


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_smoothing_is_a_vote_of_the_square_around_a_pixel(module, radius):  # noqa: F811
    got = shapes(module, f"return encodeRle(m.smooth(mask, {radius}));")
    side = 2 * radius + 1
    for rle, mask in zip(got, some_masks(), strict=True):
        votes, all_of = (
            ndimage.convolve(one.astype(int), np.ones((side, side), int), mode="constant")
            for one in (mask, np.ones_like(mask))
        )
        assert rle == rle_of(2 * votes > all_of)


def pixels(server, number):
    return [coco_mask.decode(one.rle).astype(bool) for one in masks_of(server, number)]


def kinds_of(server, annotation):
    with Store.open(server.where) as store:
        events = annotation_events(store, annotation.id)
    return [one.data.get("action", one.kind) for one in events]


def test_new_masks_go_under_or_over_the_others(ann, day):  # noqa: F811
    open_image(ann, 1)
    paint(ann, (60, 100), (140, 100))
    ann.accept()
    [first] = pixels(day, 1)
    ann.press("g")
    assert ann.page.get_attribute("[data-key=fit]", "aria-label") == "New masks go under the others"
    ann.drag((100, 60), (100, 140))
    ann.accept()
    same, under = pixels(day, 1)
    assert (same == first).all()
    assert under.any()
    assert not (under & first).any()
    assert kinds_of(day, masks_of(day, 1)[1]) == ["brush", "under"]
    ann.press("g")
    ann.drag((60, 70), (140, 130))
    ann.accept()
    one, two, over = pixels(day, 1)
    assert not (one & over).any()
    assert not (two & over).any()
    assert (first & ~over == one).all()
    assert (under & ~over == two).all()
    assert over[101, 101]
    # One step of undo for all three.
    ann.press("Control+z")
    ann.page.wait_for_selector(".masks h2 .count:text-is('2')")
    ann.wait_until_saved()
    assert [(a == b).all() for a, b in zip(pixels(day, 1), (first, under), strict=True)] == [
        True
    ] * 2
    ann.press("Control+Shift+z")
    ann.page.wait_for_selector(".masks h2 .count:text-is('3')")
    ann.wait_until_saved()
    assert [(a == b).all() for a, b in zip(pixels(day, 1), (one, two, over), strict=True)] == [
        True
    ] * 3
    ann.press("g")  # as at first: it stays for the next test


def test_saved_masks_are_put_over_or_under_the_others(ann, day):  # noqa: F811
    open_image(ann, 4)
    for place in (((60, 60), (160, 60)), ((110, 30), (110, 90)), ((60, 250), (160, 250))):
        paint(ann, *place)
        ann.accept()
    before = one, two, three = pixels(day, 4)
    assert (one & two).any()

    def pressed(keys, notice):
        ann.press(*keys)
        ann.page.wait_for_selector(f".notice:has-text('{notice}')")
        ann.wait_until_saved()
        return pixels(day, 4)

    def undone():
        ann.press("Escape", "Control+z")
        ann.page.wait_for_selector(".notice", state="detached")
        ann.wait_until_saved()
        return all((a == b).all() for a, b in zip(pixels(day, 4), before, strict=True))

    now = pressed(("n", "Shift+f"), "It lies over 1 other mask now.")
    for mask, expected in zip(now, (one, two & ~one, three), strict=True):
        assert (mask == expected).all()
    assert kinds_of(day, masks_of(day, 4)[1]) == ["brush", "over"]
    assert undone()
    now = pressed(("n", "Shift+b"), "It lies under the others now.")
    for mask, expected in zip(now, (one & ~two, two, three), strict=True):
        assert (mask == expected).all()
    assert undone()
    pressed(("Shift+n", "Shift+f"), "It overlaps no other mask.")
    assert len(masks_of(day, 4)) == 3


def test_masks_are_merged_split_and_taken_away(ann, day):  # noqa: F811
    open_image(ann, 2)
    for x in (60, 160, 250):
        paint(ann, (x, 60), (x, 120))
        ann.accept()
    one, two, three = pixels(day, 2)
    ann.press("n", "j")
    ann.page.wait_for_selector(".work-title:has-text('Click the mask to merge with')")
    ann.page.mouse.click(*ann.at(160, 90))
    ann.wait_until_saved()
    ann.page.wait_for_selector(".masks h2 .count:text-is('2')")
    merged, last = pixels(day, 2)
    assert (merged == one | two).all()
    assert (last == three).all()
    ann.press("u")
    ann.page.wait_for_selector(".masks h2 .count:text-is('3')")
    ann.wait_until_saved()
    found = pixels(day, 2)
    for expected in (one, two, three):
        assert sum((expected == mask).all() for mask in found) == 1
    # Undone, both steps one after the other, also after a reload of what was before.
    ann.press("Escape", "Control+z", "Control+z")
    ann.page.wait_for_selector(".masks h2 .count:text-is('3')")
    ann.wait_until_saved()
    assert [(a == b).all() for a, b in zip(pixels(day, 2), (one, two, three), strict=True)] == [
        True
    ] * 3
    paint(ann, (50, 90), (280, 90))
    ann.accept()
    bar = pixels(day, 2)[3]
    ann.press("Shift+n", "l")
    ann.page.mouse.click(*ann.at(160, 70))
    ann.wait_until_saved()
    assert (pixels(day, 2)[3] == bar & ~two).all()
    assert kinds_of(day, masks_of(day, 2)[3]) == ["brush", "subtract"]
    ann.press("j", "Escape")
    expect(ann.page.locator(".work-title:has-text('Click')")).to_have_count(0)


def test_masks_are_cleaned_up(ann, day):  # noqa: F811
    open_image(ann, 3)
    paint(ann, (60, 60), (160, 60))
    ann.drag((100, 200), (101, 200))  # an island
    ann.accept()
    [before] = pixels(day, 3)
    assert ndimage.label(before)[1] == 2
    ann.press("n", "r")
    ann.page.fill("dialog [name=islands]", "2000")
    ann.page.click("dialog button:has-text('Clean up mask 1')")
    ann.wait_until_saved()
    [after] = pixels(day, 3)
    assert ndimage.label(after)[1] == 1
    assert (after == before & (np.arange(len(before)) < 150)[:, None]).all()
    [mask] = masks_of(day, 3)
    assert (kinds_of(day, mask), mask.score) == (["brush", "brush", "clean"], None)
    # Each mask that is accepted, and all at once with a least size.
    ann.press("Escape", "r")
    ann.page.check("dialog [name=always]")
    ann.page.click("dialog button:has-text('Done')")
    paint(ann, (60, 250), (160, 250))
    ann.drag((250, 200), (251, 200))
    ann.accept()
    assert ndimage.label(pixels(day, 3)[1])[1] == 1
    ann.press("r")
    ann.page.uncheck("dialog [name=always]")
    ann.page.fill("dialog [name=least]", str(after.sum() + 1))
    ann.page.click("dialog button:has-text('Clean up all')")
    ann.page.wait_for_selector(".notice:has-text('deleted. Ctrl+Z takes it back')")
    ann.wait_until_saved()
    assert len(masks_of(day, 3)) <= 1


def test_what_lies_under_a_new_mask_loses_its_slivers(ann, day):  # noqa: F811
    open_image(ann, 5)
    paint(ann, (60, 100), (140, 100))
    ann.accept()
    [first] = pixels(day, 5)
    ann.press("r")
    ann.page.fill("dialog [name=islands]", "2000")
    ann.page.check("dialog [name=always]")
    ann.page.click("dialog button:has-text('Done')")
    ann.press("g", "g")
    ann.drag((134, 60), (134, 140))  # leaves the first mask's right end
    ann.accept()
    one, over = pixels(day, 5)
    parts, count = ndimage.label(first & ~over, CORNERS)
    assert count == 2
    assert (one == (parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))).all()
    assert kinds_of(day, masks_of(day, 5)[0]) == ["brush", "over", "clean"]
    ann.press("g", "r")
    ann.page.uncheck("dialog [name=always]")
    ann.page.click("dialog button:has-text('Done')")
