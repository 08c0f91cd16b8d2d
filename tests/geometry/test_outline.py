"""One closed line around all parts of a mask, drawn as its readers draw it."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from reference.outline import joined_outline as plain_outline
from samkit.geometry import outline
from samkit.geometry.outline import candidate_joins, joined_outline, spanning_tree, tour

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=16))
CHECKERBOARD = np.indices((12, 15)).sum(axis=0) % 2 == 0
RINGS = np.maximum(*abs(np.indices((31, 31)) - 15)) % 4 < 2  # one within the other


def fill(line, size_hw):
    """Pixels of a closed line and its inside."""
    filled = np.zeros(size_hw, np.uint8)
    if len(line):
        cv2.fillPoly(filled, [line.astype(np.int32)], 1)
    return filled > 0


def under(line, size_hw):
    """Pixels under the line itself."""
    drawn = np.zeros(size_hw, np.uint8)
    cv2.polylines(drawn, [line.astype(np.int32)], isClosed=True, color=1)
    return drawn > 0


def noise(size_hw, share, seed=0):
    return np.random.default_rng(seed).random(size_hw) < share


@example(mask=CHECKERBOARD)
@example(mask=RINGS)
@given(mask=MASKS)
def test_filled_it_is_the_mask_and_the_joining_lines(mask):
    line = joined_outline(mask)
    assert len(line) == 0 or mask[tuple(line.T[::-1])].all()
    filled = fill(line, mask.shape)
    assert filled[mask].all()
    added = filled & ~mask
    assert not (added & ~under(line, mask.shape)).any() if len(line) else not added.any()
    # Off the joining lines of either, it is what the plain form gives.
    expected = fill(plain_outline(mask), mask.shape)
    assert not ((filled != expected) & mask).any()


@given(mask=MASKS)
def test_one_ring_is_its_corners_in_order(mask):
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(rings) == 1:
        np.testing.assert_array_equal(joined_outline(mask), rings[0].reshape(-1, 2))
        np.testing.assert_array_equal(fill(joined_outline(mask), mask.shape), mask)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_joining_lines_cover_less_than_those_of_the_plain_form(share):
    added = {joined_outline: 0, plain_outline: 0}
    for seed in range(5):
        mask = noise((40, 50), share, seed)
        for method in added:
            filled = fill(method(mask), mask.shape)
            assert filled[mask].all()
            added[method] += int((filled & ~mask).sum())
    assert added[joined_outline] <= added[plain_outline]


@pytest.mark.parametrize("gap", [2, 5, 20])
def test_joining_line_is_one_pixel_wide_and_short(gap):
    mask = np.zeros((40, 70), bool)
    mask[5:35, 5:25] = True
    mask[10:30, 25 + gap : 25 + gap + 15] = True
    added = fill(joined_outline(mask), mask.shape) & ~mask
    assert added.sum() == gap
    assert added.sum(axis=0).max() == 1


def test_holes_are_joined_within_the_mask():
    mask = np.ones((40, 60), bool)
    mask[10:30, 5:25] = mask[10:30, 35:55] = False
    mask[15:20, 10:15] = True  # an island in one of them
    added = fill(joined_outline(mask), mask.shape) & ~mask
    assert added.sum() == 5  # the way to the island alone


@given(st.integers(1, 30), st.integers(1, 30))
def test_outline_of_a_rectangle_is_its_corners(width, height):
    mask = np.zeros((40, 40), bool)
    mask[3 : 3 + height, 4 : 4 + width] = True
    corners = {(x, y) for x in (4, 3 + width) for y in (3, 2 + height)}
    assert {*map(tuple, joined_outline(mask).tolist())} == corners


def test_nothing_has_no_outline():
    assert joined_outline(np.zeros((5, 5), bool)).shape == (0, 2)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
@pytest.mark.parametrize("side", [30, 60, 120])
def test_the_work_grows_with_the_pixels_not_with_their_square(side, share, monkeypatch):
    """Counted, not timed: candidates by rings, and steps of the way around them by pixels."""
    mask = noise((side, side), share)
    sizes = {}

    def count(mask, points_xy, lengths):
        candidates = candidate_joins(mask, points_xy, lengths)
        joins = spanning_tree(candidates, lengths)
        sizes.update(
            rings=len(lengths),
            pixels=len(points_xy),
            candidates=len(candidates),
            joins=len(joins),
            steps=len(tour(joins, lengths)),
        )
        return candidates

    monkeypatch.setattr(outline, "candidate_joins", count)
    joined_outline(mask)
    assert sizes["rings"] > side
    assert sizes["candidates"] < 4 * sizes["rings"]
    assert sizes["joins"] == sizes["rings"] - 1
    assert sizes["steps"] == sizes["pixels"] + 1 + 2 * sizes["joins"]
    assert sizes["pixels"] < 4 * mask.size
