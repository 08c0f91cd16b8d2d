"""Mask logits at the photo's size, against the reference's steps in PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from samkit.geometry import CoordMap
from samkit.geometry.resize import logits_to_original


def reference(logits, coords):
    """The steps of the published implementation's postprocessing, one after another.

    In float64: on noise, PyTorch's positions in float32 are themselves 1e-4 off.
    """

    def resize(tensor, size):
        return functional.interpolate(tensor, size, mode="bilinear", align_corners=False)

    resized_h, resized_w = coords.resized_hw
    low_res = torch.from_numpy(logits).double()[None, None]
    model = resize(low_res, (coords.model_size, coords.model_size))
    return resize(model[..., :resized_h, :resized_w], coords.original_hw)[0, 0].numpy()


def random_logits(coords, seed=0):
    side = coords.logits_size
    return np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)


@pytest.mark.parametrize(
    "original_hw",
    [
        (1, 1),
        (1, 5000),
        (5000, 1),
        (3, 2000),
        (534, 800),
        (800, 534),
        (512, 512),  # OpenCV has a path of its own for half the size
        (512, 384),
        (683, 1024),
        (1024, 1024),
        (1200, 1800),
        (97, 31),
    ],
)
def test_equals_the_reference(original_hw):
    coords = CoordMap(original_hw=original_hw, model_size=1024)
    logits = random_logits(coords)
    ours = logits_to_original(logits, coords)
    assert ours.shape == original_hw
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference(logits, coords), atol=1e-4)


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([64, 128]), st.integers(0, 99))
def test_equals_the_reference_at_any_size(height, width, model_size, seed):
    coords = CoordMap(original_hw=(height, width), model_size=model_size)
    logits = random_logits(coords, seed)
    np.testing.assert_allclose(
        logits_to_original(logits, coords), reference(logits, coords), atol=1e-4
    )


@pytest.mark.parametrize("original_hw", [(1, 1), (7, 300), (640, 480)])
def test_constant_logits_stay_constant(original_hw):
    coords = CoordMap(original_hw=original_hw, model_size=128)
    logits = np.full((32, 32), -2.5, np.float32)
    assert (logits_to_original(logits, coords) == -2.5).all()


def test_padding_is_cut_off():
    coords = CoordMap(original_hw=(64, 128), model_size=128)
    logits = np.full((32, 32), -1, np.float32)
    logits[:15] = 1  # the photo's 16 rows of logits, less the one that mixes with the padding
    assert (logits_to_original(logits, coords)[:58] == 1).all()
    logits[:] = 1
    logits[17:] = -1e6  # padding, away from the mixing row
    assert (logits_to_original(logits, coords) == 1).all()


def test_logits_are_not_modified():
    coords = CoordMap(original_hw=(50, 60), model_size=128)
    logits = random_logits(coords)
    logits.flags.writeable = False
    logits_to_original(logits, coords)
