"""Measures of RLEs without decoding, and uncompressed counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from samkit.geometry import boxes_from_masks, encode_rle
from samkit.geometry.boxes import xywh_to_xyxy, xyxy_to_xywh
from samkit.geometry.rle import decode_rle_patch, rle_area, rle_box_xyxy, rle_counts

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


@given(MASKS)
def test_area_and_box_are_the_masks(mask):
    rle = encode_rle(mask)
    assert rle_area(rle) == mask.sum()
    np.testing.assert_array_equal(rle_box_xyxy(rle), boxes_from_masks(mask[None])[0])


@given(MASKS, st.data())
def test_patch_is_a_part_of_the_mask(mask, data):
    height, width = mask.shape
    x0, y0 = data.draw(st.integers(0, width)), data.draw(st.integers(0, height))
    x1, y1 = data.draw(st.integers(x0, width)), data.draw(st.integers(y0, height))
    patch = decode_rle_patch(encode_rle(mask), np.array([x0, y0, x1, y1]))
    assert patch.dtype == bool
    assert patch.flags.c_contiguous
    np.testing.assert_array_equal(patch, mask[y0:y1, x0:x1])


@given(MASKS)
def test_counts_are_what_pycocotools_reads(mask):
    counts = rle_counts(mask)
    assert sum(counts) == mask.size
    assert all(count > 0 for count in counts[1:])
    rle = coco_mask.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
    np.testing.assert_array_equal(coco_mask.decode(rle), mask)


@given(arrays(np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(-9, 9)))
def test_corners_and_sizes_of_boxes_go_both_ways(boxes):
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)
