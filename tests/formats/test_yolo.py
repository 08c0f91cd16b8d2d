"""YOLO's segmentation labels, compared with the masks by drawing them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.formats import yolo_labels
from samkit.types import Masks


def read_lines(text, size_hw):
    """Class and points in pixels of each line."""
    height, width = size_hw
    for line in text.splitlines():
        number, *values = line.split(" ")
        points = np.array(values, float).reshape(-1, 2)
        assert ((points >= 0) & (points <= 1)).all()
        yield number, points * (width, height)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_masks_come_back(masks, outlines, arrays):
    lines = list(read_lines(yolo_labels(masks), masks.size_hw))
    drawn = [outlines(points, masks.size_hw) for _, points in lines]
    assert [number for number, _ in lines] == ["0"] * 5
    for index in (0, 1, 4):  # of one part, without holes
        np.testing.assert_array_equal(drawn[index], arrays[index])
    # A joining line more or less.
    assert iou(drawn[2], arrays[2]) > 0.95
    assert iou(drawn[3], arrays[3]) > 0.95


@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_every_mask_is_one_line_of_three_points_or_more(mask):
    masks = Masks.from_arrays(mask[None], [1.0])
    lines = list(read_lines(yolo_labels(masks), mask.shape))
    assert len(lines) == int(mask.any())
    for _, points in lines:
        assert len(points) >= 3


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5000), (20_000, 7)])
def test_digits_are_enough_for_long_images(size_hw):
    mask = np.zeros(size_hw, bool)
    mask[-1, -1] = True
    ((_, points),) = read_lines(yolo_labels(Masks.from_arrays(mask[None], [1.0])), size_hw)
    assert points.astype(int).tolist() == [[size_hw[1] - 1, size_hw[0] - 1]] * 3


def test_no_masks(no_masks):
    assert yolo_labels(no_masks) == ""
