"""Masks in the target space, against the overlap of each pixel with each cell written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from samkit.geometry import encode_rle
from samkit.image_spec import ImageSpec
from samkit.training.data.placement import (
    cell_coverage,
    draw_placement,
    ignored_cells,
    place_image,
    place_mask,
    plain_placement,
)

SIDE = 64


def overlaps(count, scale, corner, cell, cells):
    """How much of each cell (cells, count) each pixel covers, along one axis."""
    start = np.arange(count) * scale - corner
    low = np.arange(cells)[:, None] * cell
    both = np.minimum(start + scale, low + cell) - np.maximum(start, low)
    return both.clip(0) / cell


def plain_coverage(mask, placement, truth_size):
    """(T, T)"""
    mask = mask[:, ::-1] if placement.flipped else mask
    cell = placement.model_size / truth_size
    (x, y), (scale_y, scale_x) = placement.corner_xy, placement.scale_hw
    rows = overlaps(mask.shape[0], scale_y, y, cell, truth_size)
    cols = overlaps(mask.shape[1], scale_x, x, cell, truth_size)
    return rows @ mask @ cols.T


@st.composite
def cases(draw):
    """A mask, a placement of its image, a side of the target space."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    mask = np.zeros((height, width), bool)
    y, x = rng.integers(height), rng.integers(width)
    mask[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)] = True
    mask &= rng.uniform(size=mask.shape) < draw(st.sampled_from([0.3, 0.8, 1.1]))
    jitter = draw(st.sampled_from([None, (0.1, 2.0), (1.5, 2.0)]))
    placement = draw_placement(
        (height, width), SIDE, rng, scale_jitter=jitter, flip=draw(st.booleans())
    )
    return mask, placement, draw(st.sampled_from([7, 16, 50, 64, 100]))


@given(cases())
def test_coverage_is_the_overlap_of_pixels_and_cells(case):
    mask, placement, truth_size = case
    coverage, (x, y) = cell_coverage(encode_rle(mask), placement, truth_size)
    frame = np.zeros((truth_size, truth_size))
    frame[y : y + coverage.shape[0], x : x + coverage.shape[1]] = coverage
    np.testing.assert_allclose(frame, plain_coverage(mask, placement, truth_size), atol=1e-9)


@given(cases())
def test_cells_that_are_half_covered_are_in_the_mask(case):
    mask, placement, truth_size = case
    expected = plain_coverage(mask, placement, truth_size)
    assume(np.abs(expected - 0.5).min() > 1e-6)
    found = place_mask(encode_rle(mask), placement, truth_size)
    if expected.max() > 0.5:
        np.testing.assert_array_equal(found, expected > 0.5)
    elif expected.max() < 1e-9:
        assert found is None
    else:  # what would vanish keeps the cells it covers best
        assert found.any()
        assert found[expected == expected.max()].all()
        assert expected[found].min() >= expected.max() * 0.4999


@given(cases())
def test_no_visible_mask_becomes_nothing(case):
    mask, placement, truth_size = case
    found = place_mask(encode_rle(mask), placement, truth_size)
    assert (found is None) == (plain_coverage(mask, placement, truth_size).sum() < 1e-9)
    assert found is None or found.any()


def test_blocks_of_two_by_two():
    """Half covered is in; an image of the frame's size is reduced by counting."""
    mask = np.random.default_rng(0).uniform(size=(64, 64)) < 0.5
    found = place_mask(encode_rle(mask), plain_placement((64, 64), 64), 32)
    np.testing.assert_array_equal(found, mask.reshape(32, 2, 32, 2).sum(axis=(1, 3)) >= 2)


def test_wire_of_one_pixel_stays_in_one_piece():
    mask = np.zeros((64, 64), bool)
    mask[31, 5:60] = True
    found = place_mask(encode_rle(mask), plain_placement((64, 64), 64), 16)
    assert found.sum() == 14  # 13.75 cells long; the first is covered by three quarters
    assert found[7, 1:15].all()


def test_masks_of_the_whole_image_end_with_it():
    mask = np.ones((48, 96), bool)
    found = place_mask(encode_rle(mask), plain_placement((48, 96), 64), 64)
    assert found[:32].all()
    assert not found[32:].any()


def test_mask_that_is_cropped_away_is_dropped():
    placement = replace(plain_placement((64, 64), 64), resized_hw=(128, 128), corner_xy=(64, 0))
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True
    assert place_mask(encode_rle(mask), placement, 64) is None
    assert place_mask(encode_rle(~mask), placement, 64).all()
    # Half of the rest of the mask is below the frame, too.
    mask[10:12, 32:40] = True
    assert place_mask(encode_rle(mask), placement, 64).sum() == 4 * 16


@pytest.mark.parametrize(("least", "stays"), [(8, True), (9, False)])
def test_what_is_visible_must_be_large_enough(least, stays):
    placement = replace(plain_placement((64, 64), 64), resized_hw=(128, 128), corner_xy=(64, 0))
    mask = np.zeros((64, 64), bool)
    mask[5:9, 30:34] = True  # 4 x 2 pixels are in the frame
    found = place_mask(encode_rle(mask), placement, 64, min_area_px=least)
    assert (found is not None) == stays


def test_mask_that_fills_what_is_visible_is_dropped():
    cropped = replace(plain_placement((64, 64), 64), resized_hw=(128, 128))
    mask = np.zeros((64, 64), bool)
    mask[:32, :31] = True
    assert place_mask(encode_rle(mask), cropped, 64, max_area_fraction=0.9) is None
    assert place_mask(encode_rle(mask), cropped, 64, max_area_fraction=0.97) is not None
    whole = plain_placement((64, 64), 64)
    assert place_mask(encode_rle(mask), whole, 64, max_area_fraction=0.1) is not None


@pytest.mark.parametrize("seed", range(30))
def test_image_and_masks_stay_together(seed, make_colored):
    """The pixels under each mask have its colour, wherever they are put."""
    image, masks = make_colored((60, 90), seed)
    rng = np.random.default_rng(seed)
    placement = draw_placement((60, 90), SIDE, rng, scale_jitter=(0.5, 2.0), flip=True)
    pixels = place_image(image, placement)
    mean = torch.tensor(ImageSpec().mean)[:, None, None]
    std = torch.tensor(ImageSpec().std)[:, None, None]
    shown = (pixels * std + mean).permute(1, 2, 0).numpy()
    height, width = placement.visible_hw
    for mask in masks:
        found = place_mask(encode_rle(mask), placement, SIDE)
        if found is None:
            continue
        color = image[mask][0].astype(float)
        # Pixels at the edge are mixed of two colours, so that the nearest of those is meant.
        near = np.abs(shown - color).max(axis=2) < 25
        near[height:] = near[:, width:] = False
        assert (near & ~_grown(found)).sum() == 0
        assert (~near & _shrunk(found)).sum() == 0


def _grown(mask):
    padded = np.pad(mask, 1)
    shifts = [np.roll(padded, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.any(shifts, axis=0)[1:-1, 1:-1]


def _shrunk(mask):
    return ~_grown(_grown(~mask))


@given(cases())
def test_cells_without_ground_truth_are_padding_and_void_ones(case):
    void, placement, truth_size = case
    image = plain_coverage(np.ones(void.shape, bool), placement, truth_size)
    is_padding = image < 1e-9
    np.testing.assert_array_equal(ignored_cells(None, placement, truth_size), is_padding)
    coverage = plain_coverage(void, placement, truth_size)
    assume((abs(coverage - 0.5) > 1e-6).all())
    expected = is_padding | (coverage > 0.5)
    np.testing.assert_array_equal(ignored_cells(encode_rle(void), placement, truth_size), expected)


@given(cases())
def test_no_mask_is_in_the_padding(case):
    mask, placement, truth_size = case
    placed = place_mask(encode_rle(mask), placement, truth_size)
    if placed is not None:
        assert not (placed & ignored_cells(None, placement, truth_size)).any()
