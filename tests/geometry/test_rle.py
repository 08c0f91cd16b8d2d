"""Run-length encoding."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from samkit.geometry import boxes_from_masks, crop_rle, decode_rle, encode_rle, place_rle
from samkit.geometry.boxes import xyxy_to_xywh
from samkit.geometry.rle import encode_patch_rle, rle_counts, uncompressed_counts

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


# --- Parts of masks ---


@given(MASKS, st.tuples(*[st.integers(0, 5)] * 4))
def test_patch_in_its_place_equals_the_whole_mask(patch, margins):
    left, top, right, bottom = margins
    whole = np.pad(patch, ((top, bottom), (left, right)))
    for stored in (patch, np.asfortranarray(patch)):
        rle = encode_patch_rle(stored, (left, top), whole.shape)
        assert rle == encode_rle(whole)
        assert all(type(side) is int for side in rle["size"])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_runs_that_go_on_in_the_next_column_are_one(height, width, left, value):
    patch = np.full((height, width), value)
    rle = encode_patch_rle(patch, (left, 0), (height, left + width))
    assert rle == encode_rle(np.pad(patch, ((0, 0), (left, 0))))


def test_empty_patch_is_an_empty_mask():
    for shape in ((0, 0), (3, 0), (0, 3)):
        rle = encode_patch_rle(np.zeros(shape, bool), (1, 2), (6, 7))
        assert rle == encode_rle(np.zeros((6, 7), bool))


def test_huge_masks_need_only_their_patch():
    patch = np.ones((3, 4), bool)
    patch[0, 0] = False
    rle = encode_patch_rle(patch, (39_990, 19_990), (20_000, 40_000))
    assert rle["size"] == [20_000, 40_000]
    assert coco_mask.area(rle) == 11
    assert coco_mask.toBbox(rle).tolist() == [39_990, 19_990, 4, 3]


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_mask_of_a_part_is_placed_in_the_image(factor):
    rng = np.random.default_rng(factor)
    for (height, width), (x, y), (part_h, part_w) in (
        ((40, 50), (3, 5), (4, 6)),
        ((40, 50), (46, 37), (3, 4)),  # up to the edges, enlarged beyond
        ((16, 50), (0, 0), (16, 6)),  # full columns
    ):
        part = rng.random((part_h, part_w)) < 0.6
        part[:, 1] = True
        expected = np.zeros((height, width), bool)
        enlarged = part.repeat(factor, 0).repeat(factor, 1)[: height - y, : width - x]
        expected[y : y + enlarged.shape[0], x : x + enlarged.shape[1]] = enlarged
        found = place_rle(
            encode_rle(part), corner_xy=(x, y), size_hw=(height, width), factor=factor
        )
        assert found == encode_rle(expected)


def test_empty_mask_of_a_part_is_empty_in_the_image():
    empty = encode_rle(np.zeros((4, 5), bool))
    placed = place_rle(empty, corner_xy=(2, 2), size_hw=(20, 30), factor=4)
    assert placed == encode_rle(np.zeros((20, 30), bool))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_part_of_a_mask(factor):
    """Of each block of pixels the middle one counts; beyond the image there is nothing."""
    rng = np.random.default_rng(factor)
    for _ in range(40):
        height, width, part_h, part_w = rng.integers(1, 40, 4).tolist()
        mask = rng.random((height, width)) < rng.choice([0, 0.03, 0.5, 0.97, 1])
        x, y = rng.integers(0, 40, 2).tolist()
        found = crop_rle(
            encode_rle(mask), corner_xy=(x, y), size_hw=(part_h, part_w), factor=factor
        )
        padded = np.zeros((300, 300), bool)
        padded[:height, :width] = mask
        middle = factor // 2
        expected = padded[y + middle :: factor, x + middle :: factor][:part_h, :part_w]
        assert np.array_equal(decode_rle(found), expected)
        assert found == encode_rle(expected)


def test_a_part_of_a_mask_that_was_placed_is_the_mask():
    rng = np.random.default_rng(0)
    for _ in range(20):
        part = encode_rle(rng.random((9, 7)) < 0.5)
        place = {"corner_xy": (8, 12), "factor": 4}
        whole = place_rle(part, size_hw=(70, 60), **place)
        assert crop_rle(whole, size_hw=(9, 7), **place) == part


def test_run_lengths_of_a_compressed_mask():
    """Also long ones, whose differences are negative and take several characters."""
    rng = np.random.default_rng(0)
    for density in (0, 0.001, 0.3, 1):
        mask = rng.random((400, 300)) < density
        mask[100:300, 50:60] = True
        assert uncompressed_counts(encode_rle(mask)).tolist() == rle_counts(mask)


def test_a_part_of_a_huge_mask_needs_no_memory_for_the_rest():
    side = 46_000  # as a whole 2 GB
    small = encode_rle(np.ones((3, 3), bool))
    whole = place_rle(small, corner_xy=(45_000, 30_000), size_hw=(side, side))
    tracemalloc.start()
    part = crop_rle(whole, corner_xy=(44_990, 29_990), size_hw=(20, 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decode_rle(part)[10:13, 10:13].all()
    assert decode_rle(part).sum() == 9
    assert peak < 10**6
