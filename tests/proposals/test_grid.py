"""Point grids, crops and tiles."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from samkit.proposals.config import CROP_OVERLAP
from samkit.proposals.grid import coarse_to_fine, crop_boxes, grid_points, tile_boxes

SIDES = st.integers(1, 2000)


def covered(intervals, length):
    """Whether intervals cover 0..length without a gap."""
    reached = 0
    for start, stop in sorted(intervals):
        if start > reached:
            return False
        reached = max(reached, stop)
    return reached == length


def test_points_are_the_centres_of_cells():
    points = grid_points(2) * (20, 10)
    assert points.tolist() == [[5, 2.5], [15, 2.5], [5, 7.5], [15, 7.5]]
    assert (grid_points(1) * (5, 3)).tolist() == [[2.5, 1.5]]


@given(st.integers(1, 12), SIDES, SIDES)
def test_points_lie_evenly_in_the_image(count, height, width):
    points = grid_points(count) * (width, height)
    assert points.shape == (count**2, 2)
    assert (points > 0).all()
    assert (points < (width, height)).all()
    columns = np.unique(points[:, 0])
    np.testing.assert_allclose(np.diff(columns), width / count)
    np.testing.assert_allclose(points.mean(axis=0), (width / 2, height / 2))


@given(st.integers(1, 40))
def test_coarse_to_fine_takes_each_point_once(count):
    assert sorted(coarse_to_fine(count).tolist()) == list(range(count**2))


def test_coarse_to_fine_spreads_each_pass_over_the_image():
    y, x = np.divmod(coarse_to_fine(8), 8)
    assert set(zip(x[:4].tolist(), y[:4].tolist(), strict=True)) == {(2, 2), (2, 6), (6, 2), (6, 6)}
    assert set(x[:16].tolist()) == {1, 3, 5, 7} | {2, 6}
    # Within a pass they go row by row.
    assert (np.diff(y[20:] * 8 + x[20:]) > 0).all()


def test_no_layer_is_the_image_itself():
    assert crop_boxes((30, 40), 0, CROP_OVERLAP) == [(0, 0, 40, 30)]


def test_crops_of_a_known_image():
    # Shared by layer 1: 512 / 1500 of 1500 are 512; by layer 2 half of that.
    boxes = crop_boxes((1500, 2000), 1, CROP_OVERLAP)
    assert boxes == [
        (0, 0, 1256, 1006),
        (744, 0, 2000, 1006),
        (0, 494, 1256, 1500),
        (744, 494, 2000, 1500),
    ]
    layer2 = crop_boxes((1500, 2000), 2, CROP_OVERLAP)
    assert len(layer2) == 16
    assert layer2[0] == (0, 0, 692, 567)
    assert layer2[1][0] == 692 - 256


@example(height=1, width=1, layer=3, overlap=0.0)
@example(height=7, width=1000, layer=5, overlap=1.0)
@given(SIDES, SIDES, st.integers(1, 5), st.floats(0, 1))
def test_crops_cover_the_image_with_the_overlap(height, width, layer, overlap):
    boxes = crop_boxes((height, width), layer, overlap)
    count = 2**layer
    assert len(boxes) == count**2
    x_ranges = {(x0, x1) for x0, _, x1, _ in boxes}
    y_ranges = {(y0, y1) for _, y0, _, y1 in boxes}
    assert covered(x_ranges, width)
    assert covered(y_ranges, height)
    assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in boxes)
    shared = math.floor(overlap * min(height, width) * 2 / count)
    for ranges in (x_ranges, y_ranges):
        lengths = [stop - start for start, stop in sorted(ranges)]
        assert max(lengths) == lengths[0]
        for (_, stop), (start, _) in itertools.pairwise(sorted(ranges)):
            assert stop - start >= min(shared, lengths[-1])


@example(height=100, width=100, tile=100, overlap=50)
@example(height=101, width=99, tile=100, overlap=0)
@given(SIDES, SIDES, st.integers(16, 500), st.integers(0, 250))
def test_tiles_cover_the_image_with_the_overlap(height, width, tile, overlap):
    overlap = min(overlap, tile // 2)
    boxes = tile_boxes((height, width), tile, overlap)
    x_ranges = sorted({(x0, x1) for x0, _, x1, _ in boxes})
    y_ranges = sorted({(y0, y1) for _, y0, _, y1 in boxes})
    assert boxes == [(x0, y0, x1, y1) for y0, y1 in y_ranges for x0, x1 in x_ranges]
    for ranges, length in ((x_ranges, width), (y_ranges, height)):
        assert covered(ranges, length)
        assert {stop - start for start, stop in ranges} == {min(tile, length)}
        for (_, stop), (start, _) in itertools.pairwise(ranges):
            assert stop - start >= overlap
        # No fewer would do.
        fewer = len(ranges) - 1
        assert fewer == 0 or fewer * tile - (fewer - 1) * overlap < length


def test_image_of_one_tile_is_one_tile():
    assert tile_boxes((80, 100), 100, 20) == [(0, 0, 100, 80)]


@pytest.mark.parametrize("size_hw", [(20_000, 20_000), (3, 20_000)])
def test_huge_images_have_few_tiles(size_hw):
    boxes = tile_boxes(size_hw, 1024, 256)
    assert len(boxes) == math.prod(1 + -(-max(0, s - 1024) // 768) for s in size_hw)
