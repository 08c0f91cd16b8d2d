"""RLEs of upsampled logits, against those of the upsampled masks."""

import cv2
import numpy as np
import pytest

from samkit.geometry import CoordMap, encode_rle
from samkit.geometry.resize import logits_to_original
from samkit.geometry.upsampled_rle import logits_to_rle

SIZES = [
    (1024, 1024),  # the model space's own
    (1200, 1800),
    (1025, 2048),
    (2100, 1027),
    (300, 400),  # smaller than the model space
    (700, 1024),
    (5000, 30),
    (1024, 1),
    (1, 3000),
]


def noise(smoothness_px, offset):
    """Logits of blots that are about as large as `smoothness_px`."""
    values = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(values, (0, 0), smoothness_px)
    return np.asarray(8 * smooth / smooth.std() + offset, np.float32)


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize(
    ("smoothness_px", "offset"), [(0.5, 0), (3, -8), (30, 3), (10, 100), (10, -100)]
)
def test_equals_the_code_of_the_upsampled_mask(smoothness_px, offset, size_hw):
    coords = CoordMap(original_hw=size_hw, model_size=1024)
    logits = noise(smoothness_px, offset)
    expected = encode_rle(logits_to_original(logits, coords) > 0)
    assert logits_to_rle(logits, coords) == expected


@pytest.mark.parametrize("value", [0.0, -1.0, 1.0])
def test_flat_logits(value):
    coords = CoordMap(original_hw=(1200, 1800), model_size=1024)
    logits = np.full((256, 256), value, np.float32)
    assert logits_to_rle(logits, coords) == encode_rle(np.full((1200, 1800), value > 0))


@pytest.mark.parametrize("place", [(0, 0), (0, 255), (170, 0), (100, 100)])
def test_single_logit(place):
    coords = CoordMap(original_hw=(1300, 1950), model_size=1024)
    logits = np.full((256, 256), -1, np.float32)
    logits[place] = 5
    assert logits_to_rle(logits, coords) == encode_rle(logits_to_original(logits, coords) > 0)
