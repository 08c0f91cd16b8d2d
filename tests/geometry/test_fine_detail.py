"""Masks that follow the image: the filter's definition, true outlines, tiles, bounded memory."""

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samkit.geometry import CoordMap, fine_detail, fine_mask, logits_to_original, mask_to_logits
from samkit.geometry.fine_detail import BAND, guided_line


def plain_filter(guide, values, radius_xy):
    """The filter, window by window, as it is defined; edges are mirrored."""
    rx, ry = radius_xy
    height, width = values.shape
    edges = ((ry, ry), (rx, rx))
    colours = np.pad(guide.astype(np.float64), (*edges, (0, 0)), mode="symmetric")
    numbers = np.pad(values.astype(np.float64), edges, mode="symmetric")
    lines, weights = np.zeros((height, width, 4)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = colours[y : y + 2 * ry + 1, x : x + 2 * rx + 1].reshape(-1, 3)
            inside = numbers[y : y + 2 * ry + 1, x : x + 2 * rx + 1].reshape(-1)
            centred = window - window.mean(axis=0)
            covariance = centred.T @ inside / len(window)
            matrix = centred.T @ centred / len(window) + 3e-4 * np.eye(3)
            slope = np.linalg.solve(matrix, covariance)
            explained = slope @ covariance / (inside.var() + 1e-4)
            weights[y, x] = np.clip((explained - 0.3) / 0.2, 0, 1)
            lines[y, x] = [*slope, inside.mean() - slope @ window.mean(axis=0)]
    lines = np.pad(lines * weights[..., None], (*edges, (0, 0)), mode="symmetric")
    padded_weights = np.pad(weights, edges, mode="symmetric")
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            part = slice(y, y + 2 * ry + 1), slice(x, x + 2 * rx + 1)
            line, weight = lines[part].mean(axis=(0, 1)), padded_weights[part].mean()
            found[y, x] = line[:3] @ guide[y, x] + line[3] + (1 - weight) * values[y, x]
    return found, weights


@pytest.mark.parametrize("is_gray", [False, True])
def test_the_filter_is_that_of_its_definition(is_gray):
    rng = np.random.default_rng(0)
    guide = rng.random((13, 17, 3)).astype(np.float32)
    if is_gray:  # the three channels are equal: only epsilon makes the equations solvable
        guide = np.repeat(guide[..., :1], 3, axis=-1)
    noise = rng.random((13, 17)).astype(np.float32)
    values = np.linspace(0.2, 0.8, 17, dtype=np.float32) * guide[..., 0] + 0.3 * noise
    found = guided_line(guide, values, (2, 3)).at(guide, values)
    expected, weights = plain_filter(guide, values, (2, 3))
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(expected - values).max() > 0.1
    assert {0 < weight < 1 for weight in weights.ravel()} == {False, True}


def test_what_the_colours_do_not_explain_stays():
    coords = CoordMap(original_hw=(240, 320), model_size=256)
    y, x = np.mgrid[:240, :320]
    logits = (6 - np.hypot(y - 100, x - 150)).astype(np.float32)  # little more than a cell
    pixels = np.random.default_rng(0).integers(100, 104, (240, 320, 3), np.uint8)
    np.testing.assert_array_equal(fine_mask(logits, coords, pixels), logits > 0)


def scene(height, width, seed=0, texture=12):
    """A textured star on textured ground, its true mask, and a picture of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    dy, dx = (y - height * 0.45) / height, (x - width * 0.55) / height
    mask = np.hypot(dx, dy) < 0.25 + 0.08 * np.cos(9 * np.arctan2(dy, dx))
    colours = np.where(mask[..., None], [180, 90, 60], [70, 120, 150])
    pixels = colours + rng.normal(0, texture, (height, width, 3))
    return mask, pixels.clip(0, 255).astype(np.uint8)


def coarse(mask, coords):
    """What a network that sees cells alone would answer, at the image's size."""
    return logits_to_original(mask_to_logits(mask, coords), coords)


@pytest.mark.parametrize(
    "coords",
    [
        CoordMap(original_hw=(240, 320), model_size=256),
        CoordMap(original_hw=(300, 200), model_size=128),
        CoordMap(original_hw=(150, 350), model_size=256, fit="stretch"),
        CoordMap(original_hw=(900, 1200), model_size=256),
    ],
)
def test_an_outline_comes_closer_to_the_true_one(coords):
    truth, pixels = scene(*coords.original_hw)
    logits = coarse(truth, coords)
    before = np.count_nonzero((logits > 0) != truth)
    after = np.count_nonzero(fine_mask(logits, coords, pixels) != truth)
    assert before > 100
    assert after < 0.5 * before


def test_a_displaced_outline_is_drawn_to_the_edge():
    coords = CoordMap(original_hw=(240, 320), model_size=256)
    truth, pixels = scene(240, 320)
    logits = np.roll(coarse(truth, coords), 3, axis=1)  # of 5 pixels to a cell
    before = np.count_nonzero((logits > 0) != truth)
    after = np.count_nonzero(fine_mask(logits, coords, pixels) != truth)
    assert after < 0.5 * before


def one_tile(logits, coords, pixels, monkeypatch):
    """The mask, filtered as a single tile."""
    with monkeypatch.context() as patch:
        patch.setattr(fine_detail, "TILE", 10**6)
        patch.setattr(fine_detail, "MAX_TILE_PX", 10**6)
        return fine_mask(logits, coords, pixels)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("size_hw", [(201, 333), (517, 250), (611, 1009)])  # cells of 5 to 30 px
def test_tiles_are_as_one(size_hw, fit, monkeypatch):
    coords = CoordMap(original_hw=size_hw, model_size=128, fit=fit)
    truth, pixels = scene(*size_hw, texture=40)
    logits = coarse(truth, coords)
    expected = one_tile(logits, coords, pixels, monkeypatch)
    monkeypatch.setattr(fine_detail, "TILE", 3)
    found = fine_mask(logits, coords, pixels)
    assert np.count_nonzero(found != (logits > 0)) > 100
    # Sums are rounded differently in every tile.
    assert np.count_nonzero(found != expected) <= 2


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["pad", "stretch"]),
)
def test_pixels_away_from_the_outline_stay(size_hw, seed, fit):
    coords = CoordMap(original_hw=size_hw, model_size=64, fit=fit)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    logits = logits_to_original(rng.normal(0, 8, (16, 16)).astype(np.float32), coords)
    mask = logits > 0
    changed = fine_mask(logits, coords, pixels) != mask
    reach_x, reach_y = (max(1, round(BAND * cell)) for cell in 4 / coords.scale_xy)
    window = np.ones((2 * reach_y + 1, 2 * reach_x + 1), np.uint8)
    ones = mask.astype(np.uint8)
    near = cv2.dilate(ones, window).astype(bool) & ~cv2.erode(ones, window).astype(bool)
    assert not (changed & ~near).any()


def test_like_colours_away_from_the_outline_are_not_taken_in(monkeypatch):
    coords = CoordMap(original_hw=(240, 320), model_size=256)  # cells of 5 pixels
    x = np.broadcast_to(np.arange(320), (240, 320))
    logits = np.where(x < 100, np.float32(6), np.float32(-0.1))
    is_bright = (x < 100) | ((x >= 112) & (x < 114))  # a stripe farther than two cells away
    pixels = np.where(is_bright, 200, 60).astype(np.uint8)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(fine_mask(logits, coords, pixels), x < 100)
    monkeypatch.setattr(fine_detail, "BAND", 3.0)
    np.testing.assert_array_equal(fine_mask(logits, coords, pixels), is_bright)


@pytest.mark.parametrize("level", [-5.0, 5.0])
def test_a_mask_without_an_outline_stays(level):
    coords = CoordMap(original_hw=(60, 80), model_size=64)
    logits = np.full((60, 80), level, np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    np.testing.assert_array_equal(fine_mask(logits, coords, pixels), logits > 0)


def test_extreme_logits_are_probabilities():
    coords = CoordMap(original_hw=(240, 320), model_size=256)
    truth, pixels = scene(240, 320)
    sure = np.where(truth, np.float32(1e6), np.float32(-1e6))
    assert np.count_nonzero(fine_mask(sure, coords, pixels) != truth) < 0.01 * truth.sum()


def test_memory_does_not_grow_with_the_image():
    coords = CoordMap(original_hw=(3000, 4000), model_size=1024)
    y, x = np.ogrid[:3000, :4000]
    logits = (1200 - np.hypot(y - 1500, x - 2000)).astype(np.float32)
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    tracemalloc.start()
    fine_mask(logits, coords, pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two masks of 12 MB, and a tile; the image's colours alone would take 144 MB.
    assert peak < 24e6 + 60e6
