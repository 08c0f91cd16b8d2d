"""Upsampled mask logits, against the reference's steps in PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from samkit.geometry import CoordMap, boxes_from_masks
from samkit.geometry.resize import box_bounds, logits_to_original, patch_to_original, used_logits


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
    logits[:15] = 1  # the image's 16 rows of logits, less the one that mixes with the padding
    assert (logits_to_original(logits, coords)[:58] == 1).all()
    logits[:] = 1
    logits[17:] = -1e6  # padding, away from the mixing row
    assert (logits_to_original(logits, coords) == 1).all()


def test_logits_are_not_modified():
    coords = CoordMap(original_hw=(50, 60), model_size=128)
    logits = random_logits(coords)
    logits.flags.writeable = False
    logits_to_original(logits, coords)


# --- Parts of the logits ---

IMAGE_SIDES = st.integers(1, 300)


def smooth_logits(coords, seed):
    """Random blobs, as masks have."""
    coarse = np.random.default_rng(seed).normal(-0.5, 3, (5, 5))
    tensor = torch.from_numpy(coarse)[None, None]
    side = (coords.logits_size, coords.logits_size)
    smooth = functional.interpolate(tensor, side, mode="bicubic", align_corners=False)
    return smooth[0, 0].numpy().astype(np.float32)


@settings(max_examples=80)
@given(
    height=IMAGE_SIDES,
    width=IMAGE_SIDES,
    model_size=st.sampled_from([64, 128, 256]),
    seed=st.integers(0, 99),
    window=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_patch_equals_the_same_part_of_the_whole(height, width, model_size, seed, window):
    coords = CoordMap(original_hw=(height, width), model_size=model_size)
    logits = random_logits(coords, seed)
    whole = reference(logits, coords)
    side = coords.logits_size
    x0, x1 = sorted(round(fraction * side) for fraction in window[:2])
    y0, y1 = sorted(round(fraction * side) for fraction in window[2:])
    part, (x, y) = patch_to_original(logits[y0:y1, x0:x1], (x0, y0), coords)
    assert part.dtype == np.float32
    expected = whole[y : y + part.shape[0], x : x + part.shape[1]]
    np.testing.assert_allclose(part, expected, atol=1e-4)

    # The part is all that does not depend on what lies outside of the patch.
    other = np.full_like(logits, 1e3)
    other[y0:y1, x0:x1] = logits[y0:y1, x0:x1]
    unchanged = np.abs(reference(other, coords) - whole) < 1e-3
    assert part.size == unchanged.sum()


@pytest.mark.parametrize("original_hw", [(534, 800), (1200, 1800), (321, 481), (97, 31)])
def test_small_and_large_patches_equal_the_whole(original_hw):
    coords = CoordMap(original_hw=original_hw, model_size=1024)
    logits = smooth_logits(coords, 0)
    whole = logits_to_original(logits, coords)
    for x0, y0, x1, y1 in ((0, 0, 256, 256), (10, 20, 40, 50), (5, 0, 250, 170), (3, 3, 4, 9)):
        part, (x, y) = patch_to_original(logits[y0:y1, x0:x1], (x0, y0), coords)
        expected = whole[y : y + part.shape[0], x : x + part.shape[1]]
        np.testing.assert_allclose(part, expected, atol=1e-4)


@settings(max_examples=150)
@given(
    height=IMAGE_SIDES,
    width=IMAGE_SIDES,
    model_size=st.sampled_from([64, 128, 256]),
    seed=st.integers(0, 999),
    is_noise=st.booleans(),
)
def test_bounds_contain_and_are_contained(height, width, model_size, seed, is_noise):
    coords = CoordMap(original_hw=(height, width), model_size=model_size)
    make = random_logits if is_noise else smooth_logits
    logits = make(coords, seed)
    rows, cols = used_logits(coords)
    inner, outer = box_bounds(logits[:rows, :cols], (0, 0), coords)
    mask = logits_to_original(logits, coords) > 0
    x0, y0, x1, y1 = boxes_from_masks(mask[None])[0]
    if mask.any():
        assert outer[0] <= x0
        assert outer[1] <= y0
        assert outer[2] >= x1
        assert outer[3] >= y1
    if inner[0] < inner[2] or inner[1] < inner[3]:
        assert inner[0] >= x0
        assert inner[1] >= y0
        assert inner[2] <= x1
        assert inner[3] <= y1


@pytest.mark.parametrize("original_hw", [(534, 800), (1200, 1800), (256, 200)])
def test_bounds_are_close(original_hw):
    coords = CoordMap(original_hw=original_hw, model_size=1024)
    logits = np.full((256, 256), -9, np.float32)
    logits[40:90, 50:120] = 9
    inner, outer = box_bounds(logits[35:95, 45:125], (45, 35), coords)
    logit_px = 4 / coords.scale_xy.max()
    assert np.abs(np.subtract(inner, outer)).max() <= 4 * logit_px
    mask = logits_to_original(logits, coords) > 0
    box = boxes_from_masks(mask[None])[0]
    assert np.abs(outer - box).max() <= 2 * logit_px + 1


def test_patches_and_bounds_where_there_is_no_mask():
    coords = CoordMap(original_hw=(90, 120), model_size=128)
    nothing = np.full((8, 8), -1, np.float32)
    assert box_bounds(nothing, (3, 4), coords) == ((0, 0, 0, 0), (0, 0, 0, 0))
    part, _ = patch_to_original(nothing[:0, :0], (0, 0), coords)
    assert part.size == 0


@pytest.mark.parametrize(
    ("original_hw", "expected"),
    [((1024, 1024), (256, 256)), ((512, 1024), (129, 256)), ((510, 1024), (128, 256))],
)
def test_used_logits_are_the_images_and_at_most_one_of_padding(original_hw, expected):
    coords = CoordMap(original_hw=original_hw, model_size=1024)
    assert used_logits(coords) == expected
    # Exactly those: the others may be anything.
    logits = random_logits(coords)
    other = np.full_like(logits, 1e6)
    rows, cols = expected
    other[:rows, :cols] = logits[:rows, :cols]
    np.testing.assert_array_equal(
        logits_to_original(other, coords), logits_to_original(logits, coords)
    )


def test_narrow_images_of_many_pixels_take_little_memory():
    coords = CoordMap(original_hw=(2, 400_000), model_size=1024)
    part, corner = patch_to_original(np.ones((1, 3), np.float32), (100, 0), coords)
    assert part.shape[0] == 2
    assert corner[0] > 150_000
