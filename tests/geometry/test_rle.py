"""Run-length codes."""

import json

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from samkit.geometry import boxes_from_masks, decode_rle, encode_rle
from samkit.geometry.boxes import xyxy_to_xywh

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(MASKS)
def test_code_comes_back_as_the_same_mask(mask):
    decoded = decode_rle(encode_rle(mask))
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


@given(MASKS)
def test_code_survives_json(mask):
    rle = encode_rle(mask)
    assert json.loads(json.dumps(rle)) == rle
    assert rle["size"] == list(mask.shape)


@given(MASKS)
def test_area_and_box_are_those_of_pycocotools(mask):
    rle = encode_rle(mask)
    assert coco_mask.area(rle) == mask.sum()
    box_xywh = xyxy_to_xywh(boxes_from_masks(mask[None]))[0]
    assert coco_mask.toBbox(rle).tolist() == box_xywh.tolist()


def test_code_that_is_known():
    # Down the columns: one pixel off, three on. Each count is one character, 48 + count.
    assert encode_rle(np.array([[False, True], [True, True]])) == {"size": [2, 2], "counts": "13"}


def test_memory_layout_does_not_matter():
    mask = np.random.default_rng(0).random((9, 14)) > 0.5
    expected = encode_rle(mask)
    assert encode_rle(np.asfortranarray(mask)) == expected
    assert encode_rle(np.repeat(mask, 2, axis=1)[:, ::2]) == expected
