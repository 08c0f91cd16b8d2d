"""Non-maximum suppression, against brute force."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from samkit.geometry.overlap import box_areas, box_iou, least_iou, nms

COORDINATE = st.integers(0, 12)
BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
# Thresholds that the IoU of small boxes hits exactly are among them.
THRESHOLDS = st.sampled_from([0, 0.2, 1 / 3, 0.5, 0.7, 1])


def iou_by_counting(one, other):
    """IoU of two boxes of whole numbers, pixel by pixel."""
    pixels = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (one, other)
    ]
    union = pixels[0] | pixels[1]
    return len(pixels[0] & pixels[1]) / len(union) if union else 0.0


def nms_by_brute_force(boxes, order, iou_thresh):
    kept = []
    for number in order:
        if all(iou_by_counting(boxes[number], boxes[k]) <= iou_thresh for k in kept):
            kept.append(int(number))
    return kept


def sorted_corners(boxes):
    boxes = np.array(boxes, np.int64).reshape(-1, 4)
    return np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )


@given(BOX, BOX)
def test_iou_equals_counting_pixels(one, other):
    one, other = sorted_corners([one, other])
    assert box_iou(one, other) == pytest.approx(iou_by_counting(one, other), abs=1e-12)


@given(BOX, st.lists(COORDINATE, min_size=12, max_size=12))
def test_least_iou_is_not_more_than_any_iou(one, edges):
    one = sorted_corners([one])[0]
    x, y = np.sort(edges[:6]), np.sort(edges[6:])
    outer, between, inner = (np.array([x[i], y[i], x[5 - i], y[5 - i]]) for i in range(3))
    least = least_iou(one, inner, outer)
    assert least <= box_iou(one, between) + 1e-12
    assert least_iou(one, between, between) == pytest.approx(box_iou(one, between))


def test_iou_is_broadcast():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    expected = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(box_iou(boxes[:, None], boxes), expected)
    assert box_areas(boxes).tolist() == [4, 4, 1]


@example(boxes=[(0, 0, 4, 4), (0, 0, 4, 2)], iou_thresh=0.5, seed=0)  # equal is not more
@example(boxes=[(3, 3, 3, 3), (3, 3, 3, 3)], iou_thresh=0, seed=0)
@given(boxes=st.lists(BOX, max_size=25), iou_thresh=THRESHOLDS, seed=st.integers(0, 9))
def test_equals_brute_force(boxes, iou_thresh, seed):
    boxes = sorted_corners(boxes)
    order = np.random.default_rng(seed).permutation(len(boxes))
    kept = nms(boxes, order, iou_thresh)
    assert kept.dtype == np.int64
    assert kept.tolist() == nms_by_brute_force(boxes, order, iou_thresh)


@given(seed=st.integers(0, 9), iou_thresh=THRESHOLDS)
def test_equals_brute_force_for_crowds_of_similar_boxes(seed, iou_thresh):
    rng = np.random.default_rng(seed)
    centres = rng.integers(10, 40, (5, 2))[rng.integers(0, 5, 60)]
    half = rng.integers(1, 10, (60, 2))
    boxes = np.concatenate([centres - half, centres + half], axis=1)
    order = rng.permutation(60)
    expected = nms_by_brute_force(boxes, order, iou_thresh)
    assert nms(boxes, order, iou_thresh).tolist() == expected
    # Far from the origin and in fractions of pixels, too.
    assert nms(boxes * 0.25 + 1000, order, iou_thresh).tolist() == expected


def test_boxes_that_are_not_in_the_order_take_no_part():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 8]])
    assert nms(boxes, np.array([2, 1]), 0.7).tolist() == [2]
    assert nms(boxes, np.array([], np.int64), 0.7).tolist() == []


def test_work_grows_with_the_crowd_and_not_with_the_square():
    # 20,000 boxes in a long row, each with one double: as pairs they would be 200 million.
    left = np.repeat(np.arange(10_000) * 20.0, 2)
    boxes = np.stack([left, np.zeros_like(left), left + 10, np.full_like(left, 10)], axis=1)
    assert nms(boxes, np.arange(20_000), 0.7).tolist() == list(range(0, 20_000, 2))
