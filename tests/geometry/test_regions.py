"""Removal of small islands and holes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.geometry.regions import drop_small_islands, fill_small_holes

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
AREAS = st.integers(0, 12)


def picture(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def parts_by_flood_fill(mask):
    """Sets of pixels (y, x) that hang together over edges and corners."""
    waiting = {(y, x) for y, x in np.argwhere(mask).tolist()}
    parts = []
    while waiting:
        part, edge = set(), {min(waiting)}
        while edge:
            part |= edge
            around = {(y + j, x + i) for y, x in edge for j in (-1, 0, 1) for i in (-1, 0, 1)}
            edge = (around & waiting) - part
        waiting -= part
        parts.append(part)
    return parts


def mask_of(parts, shape):
    mask = np.zeros(shape, bool)
    for part in parts:
        for y, x in part:
            mask[y, x] = True
    return mask


@given(MASKS, AREAS)
def test_islands_equal_flood_fill(mask, min_area_px):
    parts = parts_by_flood_fill(mask)
    large = [part for part in parts if len(part) >= min_area_px]
    clean = drop_small_islands(mask, min_area_px)
    if large or not parts:
        np.testing.assert_array_equal(clean, mask_of(large, mask.shape))
    else:  # the largest stays; which of several equally large ones is not told
        assert clean.sum() == max(len(part) for part in parts)
        assert len(parts_by_flood_fill(clean)) == 1
        assert not (clean & ~mask).any()


@given(MASKS, AREAS, st.tuples(*[st.booleans()] * 4))
def test_holes_equal_flood_fill(mask, min_area_px, open_sides):
    left, top, right, bottom = open_sides
    height, width = mask.shape

    def goes_on(part):
        return any(
            (left and x == 0)
            or (top and y == 0)
            or (right and x == width - 1)
            or (bottom and y == height - 1)
            for y, x in part
        )

    holes = [part for part in parts_by_flood_fill(~mask) if len(part) < min_area_px]
    holes = [part for part in holes if not goes_on(part)]
    expected = mask | mask_of(holes, mask.shape)
    filled = fill_small_holes(mask, min_area_px, open_sides=open_sides)
    np.testing.assert_array_equal(filled, expected)


def test_a_part_of_just_the_area_is_not_small():
    mask = picture("##.....", "##.....", ".....#.", "....##.")
    np.testing.assert_array_equal(drop_small_islands(mask, 3), mask)
    dropped = picture("##.....", "##.....", ".......", ".......")
    np.testing.assert_array_equal(drop_small_islands(mask, 4), dropped)


def test_corners_connect():
    mask = picture("#...", ".#..", "..#.")
    np.testing.assert_array_equal(drop_small_islands(mask, 3), mask)
    ring = picture(".#.", "#.#", ".#.")  # its hole is connected to the outside over corners
    np.testing.assert_array_equal(fill_small_holes(ring, 2, open_sides=(True,) * 4), ring)


def test_hole_is_filled_only_if_the_background_does_not_go_on():
    mask = picture("####", "#..#", "####", "#..#")
    filled = picture("####", "####", "####", "#..#")
    np.testing.assert_array_equal(
        fill_small_holes(mask, 3, open_sides=(False, False, False, True)), filled
    )
    assert fill_small_holes(mask, 3).all()


@pytest.mark.parametrize("clean", [drop_small_islands, fill_small_holes])
def test_masks_without_small_parts_are_returned_as_they_are(clean):
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    assert clean(mask, 50) is mask
    assert clean(mask, 0) is mask


def test_mask_whose_background_only_seems_small_is_returned_as_it_is():
    ring = picture("###", "#.#", "##.")
    assert fill_small_holes(ring, 3, open_sides=(False, False, True, False)) is ring


@pytest.mark.parametrize("clean", [drop_small_islands, fill_small_holes])
@pytest.mark.parametrize("fill", [False, True])
def test_empty_and_full_masks_are_handled(clean, fill):
    mask = np.full((4, 5), fill)
    result = clean(mask, 3)
    np.testing.assert_array_equal(result, mask)


def test_columns_first_masks_are_taken_too():
    mask = picture("##.#", "##..", "....")
    expected = picture("##..", "##..", "....")
    result = drop_small_islands(np.asfortranarray(mask), 2)
    np.testing.assert_array_equal(result, expected)
    assert mask[0, 3]
