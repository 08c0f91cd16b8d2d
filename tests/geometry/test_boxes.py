"""Tight boxes around masks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samkit.geometry import boxes_from_masks
from samkit.geometry.boxes import xyxy_to_xywh

MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9))


def box_by_brute_force(mask):
    pixels = [(x, y) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    if not pixels:
        return [0, 0, 0, 0]
    xs, ys = zip(*pixels, strict=True)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


@given(MASKS)
def test_boxes_equal_brute_force(masks):
    boxes = boxes_from_masks(masks)
    assert boxes.dtype == np.int64
    assert boxes.tolist() == [box_by_brute_force(mask) for mask in masks]


@given(
    x0=st.integers(0, 19),
    y0=st.integers(0, 14),
    width=st.integers(1, 20),
    height=st.integers(1, 15),
)
def test_box_of_a_rectangle_cuts_it_out(x0, y0, width, height):
    mask = np.zeros((1, 15, 20), bool)
    mask[0, y0 : y0 + height, x0 : x0 + width] = True
    ((left, top, right, bottom),) = boxes_from_masks(mask).tolist()
    assert mask[0, top:bottom, left:right].all()
    assert mask.sum() == (right - left) * (bottom - top)


def test_empty_mask_has_a_box_of_zeros():
    assert boxes_from_masks(np.zeros((2, 3, 4), bool)).tolist() == [[0, 0, 0, 0]] * 2


def test_no_masks_have_no_boxes():
    assert boxes_from_masks(np.zeros((0, 3, 4), bool)).shape == (0, 4)


@given(MASKS)
def test_coco_box_is_corner_and_size(masks):
    boxes_xyxy = boxes_from_masks(masks)
    boxes_xywh = xyxy_to_xywh(boxes_xyxy)
    np.testing.assert_array_equal(boxes_xywh[:, :2], boxes_xyxy[:, :2])
    np.testing.assert_array_equal(boxes_xywh[:, :2] + boxes_xywh[:, 2:], boxes_xyxy[:, 2:])
