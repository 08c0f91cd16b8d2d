"""Outlines: exact along pixel edges, and one closed line around all parts."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.sparse.csgraph import minimum_spanning_tree

from samkit.geometry.polygons import joined_outline, mask_polygons, ring_area

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def rings(polygons):
    return [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]


def fill_even_odd(polygons, size_hw):
    """Pixels whose centre is inside, by counting the upright edges on their right."""
    crossed = np.zeros(size_hw, int)
    for ring in rings(polygons):
        for (x, y), (next_x, next_y) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == next_x) != (y == next_y)  # along the pixels' edges, never of length 0
            crossed[min(y, next_y) : max(y, next_y), :x] += 1
    return crossed % 2 == 1


def fill_with_rim(outline, size_hw):
    filled = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(filled, [outline.astype(np.int32)], 1)
    return filled > 0


@given(MASKS)
def test_polygons_are_the_mask(mask):
    polygons = mask_polygons(mask)
    np.testing.assert_array_equal(fill_even_odd(polygons, mask.shape), mask)
    assert sum(ring_area(ring) for ring in rings(polygons)) == mask.sum()


@given(MASKS)
def test_each_part_is_one_valid_polygon(mask):
    polygons = mask_polygons(mask)
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(polygons) == count - 1
    areas = sorted(sum(ring_area(ring) for ring in rings([polygon])) for polygon in polygons)
    assert areas == sorted(np.bincount(parts[mask], minlength=count)[1:].tolist())
    for polygon in polygons:
        assert ring_area(polygon.outer) > 0
        assert all(ring_area(hole) < 0 for hole in polygon.holes)
        for ring in rings([polygon]):  # it does not touch itself
            assert len(np.unique(ring, axis=0)) == len(ring) >= 4


def test_corners_of_a_rectangle_with_a_hole():
    mask = np.zeros((10, 12), bool)
    mask[2:8, 3:11] = True
    mask[4:6, 5:9] = False
    (polygon,) = mask_polygons(mask)
    assert {*map(tuple, polygon.outer.tolist())} == {(3, 2), (11, 2), (11, 8), (3, 8)}
    (hole,) = polygon.holes
    assert {*map(tuple, hole.tolist())} == {(5, 4), (9, 4), (9, 6), (5, 6)}


@given(MASKS)
def test_joined_outline_gives_the_mask_and_joining_lines(mask):
    outline = joined_outline(mask)
    filled = fill_with_rim(outline, mask.shape) if len(outline) else np.zeros_like(mask)
    assert filled[mask].all()
    whole = cv2.connectedComponents(mask.astype(np.uint8))[0] <= 2
    without_holes = cv2.connectedComponents((~np.pad(mask, 1)).astype(np.uint8), connectivity=4)
    if whole and without_holes[0] <= 2:
        np.testing.assert_array_equal(filled, mask)


@pytest.mark.parametrize("gap", [2, 5, 20])
def test_joining_line_is_one_pixel_wide_and_short(gap):
    mask = np.zeros((40, 70), bool)
    mask[5:35, 5:25] = True
    mask[10:30, 25 + gap : 25 + gap + 15] = True
    added = fill_with_rim(joined_outline(mask), mask.shape) & ~mask
    assert gap <= added.sum() <= 2 * gap
    assert (added.sum(axis=0) <= 2).all()


@given(st.integers(1, 30), st.integers(1, 30))
def test_outline_of_a_rectangle_is_its_corners(width, height):
    mask = np.zeros((40, 40), bool)
    mask[3 : 3 + height, 4 : 4 + width] = True
    corners = {(x, y) for x in (4, 3 + width) for y in (3, 2 + height)}
    assert {*map(tuple, joined_outline(mask).tolist())} == corners


def test_nothing_has_no_outline():
    assert mask_polygons(np.zeros((5, 5), bool)) == []
    assert mask_polygons(np.zeros((0, 0), bool)) == []
    assert joined_outline(np.zeros((5, 5), bool)).shape == (0, 2)


@pytest.mark.parametrize("seed", range(4))
def test_many_parts_are_joined_by_the_shortest_lines(seed):
    """Compared with the minimum spanning tree of all pairs of parts."""
    mask = np.random.default_rng(seed).random((60, 80)) < 0.03
    num_parts, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    places = [np.argwhere(parts == part) for part in range(1, num_parts)]
    distances = [
        [((one[:, None] - other[None]) ** 2).sum(axis=-1).min() ** 0.5 for other in places]
        for one in places
    ]
    shortest = minimum_spanning_tree(np.array(distances)).sum()
    outline = joined_outline(mask)
    steps = np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1)
    own = [
        np.asarray(ring).reshape(-1, 2)
        for ring in cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
        )[0]
    ]
    around = sum(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum() for ring in own)
    assert (steps.sum() - around) / 2 == pytest.approx(shortest, rel=0.02)


def test_a_mask_of_thousands_of_parts_is_one_line():
    mask = np.indices((120, 160)).sum(axis=0) % 2 > 0
    mask[::3] = False
    outline = joined_outline(mask)
    assert fill_with_rim(outline, mask.shape)[mask].all()
