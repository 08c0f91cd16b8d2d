"""Samples check themselves, and take void pixels out of masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.datasets import Sample
from samkit.errors import DataError
from samkit.geometry import decode_rle, encode_rle

IMAGE = np.zeros((6, 9, 3), np.uint8)


@given(st.integers(0, 2**32 - 1))
def test_void_pixels_are_taken_out_of_masks(seed):
    rng = np.random.default_rng(seed)
    masks, void = rng.random((3, 6, 9)) < 0.5, rng.random((6, 9)) < rng.random()
    sample = Sample(key="a", image=IMAGE, rles=tuple(map(encode_rle, masks)), void=encode_rle(void))
    for rle, mask in zip(sample.without_void(sample.rles), masks, strict=True):
        np.testing.assert_array_equal(decode_rle(rle), mask & ~void)


def test_masks_stay_as_they_are_without_void_pixels():
    rles = (encode_rle(np.ones((6, 9), bool)),)
    assert Sample(key="a", image=IMAGE, rles=rles).without_void(rles) == rles


@pytest.mark.parametrize("size_hw", [(9, 6), (6, 10)])
def test_void_pixels_have_the_images_size(size_hw, refusal):
    void = encode_rle(np.ones(size_hw, bool))
    with refusal(DataError, "a: masks must have the image's size (6, 9)"):
        Sample(key="a", image=IMAGE, rles=(), void=void)
