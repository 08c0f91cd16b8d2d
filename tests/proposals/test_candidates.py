"""Patches of logits that candidates are stored as."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samkit.geometry import CoordMap
from samkit.geometry.resize import logits_to_original, patch_to_original
from samkit.geometry.stability import cut_patch, estimate_stability, stability_score
from samkit.proposals import AutoMaskConfig
from samkit.proposals.candidates import (
    STABILITY_SLACK,
    Candidates,
    select_candidates,
)

SQUARE = CoordMap(original_hw=(300, 300), model_size=256)


def blobs(seed, side=64, level=0.0):
    """Smooth random logits."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(level, 4, (side // 8 + 1, side // 8 + 1)).astype(np.float32)
    y = np.linspace(0, side // 8 - 1e-3, side)
    low, part = y.astype(int), (y % 1).astype(np.float32)
    rows = coarse[low] * (1 - part[:, None]) + coarse[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def answer_of(*logits, iou_pred=0.9):
    count = len(logits)
    return SimpleNamespace(
        logits=np.array(logits, np.float32).reshape(count, 64, 64),
        iou_pred=np.linspace(iou_pred, 1, count, dtype=np.float32),
        point_index=np.arange(count)[::-1].copy(),
    )


@pytest.mark.parametrize(
    ("logits", "offset", "expected"),
    [
        ([[2, 0.5, -0.5, -2]], 1, 1 / 3),
        ([[2, 0.5, -0.5, -2]], 0.4, 1),
        ([[2, 0.5, -0.5, -2]], 0, 1),
        ([[1, -1]], 1, 0),  # "above" the offsets, not at them
        ([[-3, -4]], 1, 0),
        ([[0.5, 0.5]], 1, 0),
    ],
)
def test_stability_is_the_iou_of_two_cuts(logits, offset, expected):
    assert stability_score(np.array(logits, np.float32), offset) == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(40, 400), st.integers(40, 400))
def test_estimate_is_near_the_stability_at_the_images_size(seed, height, width):
    coords = CoordMap(original_hw=(height, width), model_size=256)
    logits = blobs(seed, level=-1)
    patch, _ = cut_patch(logits, coords, 1.0)
    exact = stability_score(logits_to_original(logits, coords), 1.0)
    assert estimate_stability(patch, 1.0) == pytest.approx(exact, abs=STABILITY_SLACK)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    offset=st.sampled_from([0.0, 1.0, 3.0]),
)
def test_patch_tells_all_of_the_mask(seed, height, width, offset):
    coords = CoordMap(original_hw=(height, width), model_size=256)
    logits = blobs(seed, level=-2)
    whole = logits_to_original(logits, coords)
    patch, corner = cut_patch(logits, coords, offset)
    part, (x, y) = patch_to_original(patch, corner, coords)
    for threshold in (0, -offset, offset):
        placed = np.zeros(whole.shape, bool)
        placed[y : y + part.shape[0], x : x + part.shape[1]] = part > threshold
        # Rounding may put a pixel on the other side of the threshold.
        wrong = placed != (whole > threshold)
        assert abs(whole[wrong] - threshold).max(initial=0) < 1e-4


def test_padding_is_not_mask():
    coords = CoordMap(original_hw=(100, 200), model_size=256)  # 32 of 64 rows are image
    logits = np.full((64, 64), -5, np.float32)
    logits[40:50, 10:20] = 5
    patch, _ = cut_patch(logits, coords, 1.0)
    assert patch.size == 0
    logits[20:60, 30:40] = 5
    patch, (x, y) = cut_patch(logits, coords, 1.0)
    assert (x, y) == (28, 18)
    assert patch.shape == (15, 14)  # one row of padding is mixed into the image's last pixels


def test_empty_masks_are_left_out():
    answer = answer_of(np.full((64, 64), -5))
    config = AutoMaskConfig(stability_thresh=0)
    assert len(select_candidates(answer, np.zeros((1, 2)), SQUARE, config)) == 0


def test_unstable_masks_are_left_out():
    sure = np.full((64, 64), -20.0)
    sure[10:50, 10:50] = 20
    unsure = np.where(sure > 0, 0.5, -0.5)
    points = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    answer = answer_of(unsure, sure, unsure)
    found = select_candidates(answer, points, SQUARE, AutoMaskConfig())
    assert found.iou_pred.tolist() == [answer.iou_pred[1]]
    assert found.points_xy.tolist() == [[3, 4]]
    assert found.stability[0] > 0.95
    assert found.corners_xy.tolist() == [[8, 8]]
    assert found.patches[0].shape == (44, 44)


def test_each_candidate_has_the_point_that_it_answers():
    sure = np.where(np.eye(64) > 0, 20.0, -20.0)
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    answer = answer_of(sure, sure)
    found = select_candidates(answer, points, SQUARE, AutoMaskConfig(stability_thresh=0))
    assert found.points_xy.tolist() == [[3, 4], [1, 2]]


def test_patches_do_not_keep_the_whole_answer_in_memory():
    logits = np.full((64, 64), -20.0)
    logits[30:34, 30:34] = 20
    answer = answer_of(logits)
    (patch,) = select_candidates(
        answer, np.zeros((1, 2)), SQUARE, AutoMaskConfig(stability_thresh=0)
    ).patches
    assert patch.base is None
    assert patch.nbytes == 8 * 8 * 4


def test_parts_are_put_together_in_order():
    logits = np.where(np.eye(64) > 0, 20.0, -20.0)
    config = AutoMaskConfig(stability_thresh=0)
    one = select_candidates(answer_of(logits), np.zeros((1, 2)), SQUARE, config)
    none = select_candidates(answer_of(), np.zeros((0, 2)), SQUARE, config)
    other = select_candidates(answer_of(logits, logits), np.ones((2, 2)), SQUARE, config)
    both = Candidates.concatenate([none, one, other])
    assert len(both) == 3
    assert both.points_xy.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert len(Candidates.concatenate([none])) == 0
