"""Outlines of masks along pixel edges."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.geometry.polygons import mask_polygons, ring_area

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


def test_nothing_has_no_outline():
    assert mask_polygons(np.zeros((5, 5), bool)) == []
    assert mask_polygons(np.zeros((0, 0), bool)) == []
