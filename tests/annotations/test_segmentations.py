"""COCO's three forms of a mask, valid and malformed."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from samkit.annotations import read_rles, segmentation_rle
from samkit.annotations.segmentations import compressed_counts
from samkit.errors import DataError
from samkit.geometry import decode_rle, encode_rle
from samkit.geometry.rle import rle_counts

SIZE_HW = (9, 12)
masks = arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))


@given(masks)
def test_compressed_counts_are_the_lengths_of_runs(mask):
    assert compressed_counts(encode_rle(mask)["counts"]).tolist() == rle_counts(mask)


def test_long_runs_take_several_characters():
    mask = np.zeros((2000, 3000), bool)
    mask[500:, 7] = True
    mask[:3, 2999] = True
    assert compressed_counts(encode_rle(mask)["counts"]).tolist() == rle_counts(mask)


@given(masks)
def test_both_run_length_codes_give_the_mask(mask):
    size = list(mask.shape)
    for counts in (encode_rle(mask)["counts"], rle_counts(mask)):
        rle = segmentation_rle({"size": size, "counts": counts}, mask.shape)
        np.testing.assert_array_equal(decode_rle(rle), mask)


def test_polygons_give_their_union():
    polygons = [[1, 1, 5, 1, 5, 4, 1, 4], [7.0, 2.0, 11.0, 2.0, 11.0, 8.0, 7.0, 8.0]]
    mask = decode_rle(segmentation_rle(polygons, SIZE_HW))
    expected = np.zeros(SIZE_HW, bool)
    expected[1:4, 1:5] = expected[2:8, 7:11] = True
    np.testing.assert_array_equal(mask, expected)


def test_polygon_may_run_over_the_edge():
    mask = decode_rle(segmentation_rle([[-3, -3, 40 / 3, -3, 40 / 3, 12, -3, 12]], SIZE_HW))
    assert mask.all()


GOOD = encode_rle(np.tri(*SIZE_HW, dtype=bool))["counts"]


@pytest.mark.parametrize(
    ("segmentation", "part"),
    [
        (None, "must be polygons or a run-length code"),
        ([], "must be polygons"),
        ("abc", "must be polygons"),
        ([[1, 1, 5, 5]], "at least three points"),  # two points
        ([[1, 1, 5, 5, 3]], "at least three points"),
        ([[1, 1, 5, 5, 3, float("nan")]], "far outside"),
        ([[1, 1, 5, 5, 3, 1e9]], "far outside"),
        ([[1, 1, 5, 5, 3, "x"]], "at least three points"),
        ([[[1, 1], [5, 5], [3, 3]]], "at least three points"),
        ({"size": [9, 11], "counts": GOOD}, "image's size"),
        ({"counts": GOOD}, "image's size"),
        ({"size": [9, 12]}, "counts must be"),
        ({"size": [9, 12], "counts": ""}, "malformed"),
        ({"size": [9, 12], "counts": GOOD[:-1]}, "run-length code"),
        ({"size": [9, 12], "counts": "é!"}, "malformed"),
        ({"size": [9, 12], "counts": "o" * 40}, "malformed"),
        ({"size": [9, 12], "counts": "o" * 40 + "0"}, "malformed"),
        ({"size": [9, 12], "counts": [50, 50]}, "must cover the image's 108 pixels"),
        ({"size": [9, 12], "counts": [200, -92]}, "must cover"),
        ({"size": [9, 12], "counts": [2**70, 1]}, "counts must be"),
        ({"size": [9, 12], "counts": [54.5, 53.5]}, "counts must be"),
        ({"size": [9, 12], "counts": [[54], [54]]}, "counts must be"),
        ({"size": [9, 12], "counts": []}, "counts must be"),
    ],
)
def test_malformed_segmentations_are_refused(segmentation, part, refusal):
    with refusal(DataError, part):
        segmentation_rle(segmentation, SIZE_HW)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_a_mask_of_the_image_or_refused(code):
    with suppress(DataError):
        rle = segmentation_rle({"size": list(SIZE_HW), "counts": code}, SIZE_HW)
        assert decode_rle(rle).shape == SIZE_HW
        assert compressed_counts(code).sum() == 9 * 12
        assert coco_mask.area(rle) == decode_rle(rle).sum()


def test_broken_ones_are_left_out_and_told():
    good = {"size": list(SIZE_HW), "counts": GOOD}
    rles, faults = read_rles([good, [[1, 2, 3, 4]], good, 5], SIZE_HW)
    assert rles == (good, good)
    assert [fault[:13] for fault in faults] == ["annotation 2:", "annotation 4:"]
