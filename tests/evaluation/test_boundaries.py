"""The boundary benchmark: matching against brute force, and scores of known edge maps."""

import builtins
import sys

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from evaluation.stub import rectangle
from samkit.errors import ConfigError
from samkit.evaluation.boundaries import (
    UNMATCHED_COST,
    BoundaryCounts,
    boundary_scores,
    count_human_matches,
    count_matches,
    f_measure,
    match_pixels,
    region_boundaries,
)


def some_pixels(seed, share=0.08, size=(18, 23)):
    return np.random.default_rng(seed).random(size) < share


def least_cost(found, truth, max_distance_px):
    """Number and summed distance of the pairs of the cheapest matching, from a dense matrix."""
    one, other = np.argwhere(found), np.argwhere(truth)
    distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
    forbidden = 10 * UNMATCHED_COST * max_distance_px * len(one)
    pairs = np.where(distances <= max_distance_px, distances, forbidden)
    alone = np.full((len(one), len(one)), UNMATCHED_COST * max_distance_px)
    rows, cols = linear_sum_assignment(np.hstack([pairs, alone]))
    is_pair = cols < len(other)
    return is_pair.sum(), distances[rows[is_pair], cols[is_pair]].sum()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("max_distance_px", [1.0, 2.5, 4.3])
def test_as_many_pixels_are_matched_as_by_brute_force(seed, max_distance_px):
    found, truth = some_pixels(seed), some_pixels(100 + seed, share=0.05 + seed / 100)
    of_found, of_truth = match_pixels(found, truth, max_distance_px)
    count, summed = least_cost(found, truth, max_distance_px)
    assert of_found.sum() == of_truth.sum() == count
    assert not (of_found & ~found).any()
    assert not (of_truth & ~truth).any()
    # The chosen pixels, matched with each other, are as near as in the cheapest matching.
    again = least_cost(of_found, of_truth, max_distance_px)
    assert again == pytest.approx((count, summed), abs=1e-6)
    # Both sides are alike.
    assert match_pixels(truth, found, max_distance_px)[0].sum() == count


def test_pixels_too_far_apart_do_not_match():
    found, truth = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    found[5, 5], truth[5, 9] = True, True
    assert match_pixels(found, truth, 4.0)[0].sum() == 1
    assert match_pixels(found, truth, 3.9)[0].sum() == 0
    assert match_pixels(found, ~found & ~truth & ~found, 3.9)[1].sum() > 0
    nothing = np.zeros((20, 20), bool)
    assert match_pixels(found, nothing, 4.0)[0].sum() == 0


def test_one_true_pixel_answers_one_found_pixel():
    found, truth = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    found[4, 2:7] = True
    truth[4, 4] = True
    of_found, of_truth = match_pixels(found, truth, 3.0)
    assert of_truth.sum() == 1
    assert np.argwhere(of_found).tolist() == [[4, 4]]  # the nearest


def test_region_boundaries():
    boundary = region_boundaries([rectangle(20, 10, 40, 30)], (64, 64))
    rows, cols = np.nonzero(boundary)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (9, 29, 19, 39)
    assert boundary.sum() == pytest.approx(80, abs=4)  # a line around, but for its corners
    halves = [rectangle(0, 0, 32, 64), rectangle(32, 0, 64, 64)]
    line = region_boundaries(halves, (64, 64))
    assert np.flatnonzero(line.any(axis=0)).tolist() == [31]  # and none at the image's border
    assert not region_boundaries([np.ones((64, 64), bool)], (64, 64)).any()


def some_boundaries(seed, size=(80, 100)):
    """Boundaries of random regions."""
    noise = np.random.default_rng(seed).random(size)
    return region_boundaries([cv2.GaussianBlur(noise, (0, 0), 6) > 0.5], size)


def test_perfect_map_scores_1():
    truths = [some_boundaries(seed) for seed in range(3)]
    images = [count_matches(truth.astype(np.float32), [truth], thresholds=9) for truth in truths]
    scores = boundary_scores(images)
    assert scores.ods == scores.ois == scores.r50 == 1
    assert (scores.precision == 1).all()
    assert (scores.recall == 1).all()


def test_shifted_map_scores_1_within_the_tolerance_and_little_beyond():
    truth = some_boundaries(1)  # 0.0075 of the diagonal of 80 x 100 is 0.96 pixels
    shifted = np.roll(truth, 1, axis=1)
    near = count_matches(shifted.astype(np.float32), [truth], thresholds=1, max_distance=0.008)
    assert boundary_scores([near]).ods > 0.99
    far = count_matches(shifted.astype(np.float32), [truth], thresholds=1)
    assert boundary_scores([far]).ods < 0.6


def test_annotators_count_each_for_recall_and_any_for_precision():
    one, other = np.zeros((50, 50), bool), np.zeros((50, 50), bool)
    one[10, 5:45] = True
    other[10, 5:45] = other[30, 5:45] = True
    counts = count_matches(one.astype(np.float32), [one, other], thresholds=1)
    assert (counts.found, counts.found_matched) == (40, 40)
    assert (counts.truth, counts.truth_matched) == (120, 80)
    assert counts.precision == 1
    assert counts.recall == pytest.approx(2 / 3)


def test_humans_among_each_other():
    one, other = np.zeros((50, 50), bool), np.zeros((50, 50), bool)
    one[10, 5:45] = True
    other[10, 5:45] = other[30, 5:45] = True
    counts = count_human_matches([one, other])
    assert (counts.found, counts.found_matched) == (120, 80)
    assert (counts.truth, counts.truth_matched) == (120, 80)
    same = count_human_matches([one, one, one])
    assert f_measure(same.precision, same.recall) == 1


def counts_of(precision, recall, total=1000):
    """Counts with given precision and recall at each threshold."""
    precision, recall = np.array(precision), np.array(recall)
    return BoundaryCounts(
        found=np.full(len(precision), total),
        found_matched=np.round(precision * total).astype(np.int64),
        truth=np.full(len(recall), total),
        truth_matched=np.round(recall * total).astype(np.int64),
    )


def test_scores_of_a_known_curve():
    # A line from (recall 1, precision 0) to (0, 1): F is 0.5 in the middle, between thresholds.
    scores = boundary_scores([counts_of([0, 0.2, 0.8, 1], [1, 0.8, 0.2, 0])])
    assert scores.ods == pytest.approx(0.5, abs=1e-4)
    assert scores.ois == pytest.approx(2 * 0.2 * 0.8)  # at thresholds only, as published
    assert scores.ap == pytest.approx(0.505)  # 101 samples, divided by 100
    assert scores.r50 == pytest.approx(0.5)


def test_recall_at_half_precision():
    assert boundary_scores([counts_of([0.6, 0.9], [0.9, 0.3])]).r50 == pytest.approx(0.9)
    assert boundary_scores([counts_of([0.2, 0.4], [0.9, 0.3])]).r50 == 0
    assert boundary_scores([counts_of([0.4, 0.6], [0.8, 0.4])]).r50 == pytest.approx(0.6)


def test_recalls_that_are_not_reached_add_nothing_to_the_area():
    scores = boundary_scores([counts_of([1, 1], [0.6, 0.4])])
    assert scores.ap == pytest.approx(21 / 100)


def test_ois_takes_each_images_own_threshold():
    low = counts_of([1, 0], [1, 0])
    high = counts_of([0, 1], [0, 1])
    scores = boundary_scores([low, high])
    assert scores.ois == 1
    assert scores.ods == pytest.approx(0.5)


def test_empty_map_scores_0():
    truth = some_boundaries(0)
    counts = count_matches(np.zeros(truth.shape, np.float32), [truth], thresholds=5)
    scores = boundary_scores([counts])
    assert (scores.ods, scores.ois, scores.ap, scores.r50) == (0, 0, 0, 0)


def test_missing_scipy_is_told_with_what_installs_it(monkeypatch, refusal):
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    real_import = builtins.__import__

    def without_scipy(name, *args, **kwargs):
        if name.split(".")[0] == "scipy":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with refusal(ConfigError, "pip install '.[bench]'"):
        match_pixels(np.ones((3, 3), bool), np.ones((3, 3), bool), 1.0)
