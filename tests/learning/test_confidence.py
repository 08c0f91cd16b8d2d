"""The confidence in automatic masks: calibration, thresholds, and images not seen."""

import numpy as np
import pytest
from PIL import Image

from samkit.learning import plot_reliability
from samkit.learning.confidence import (
    choose_threshold,
    fit_confidence,
    mask_features,
    reliability,
    standard_error,
)


def made(count, seed, images=20):
    """Features of masks that people accept with a known probability."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.3, 1, count)
    stability = random.uniform(0.6, 1, count)
    areas = np.exp(random.uniform(-8, -1, count))
    features = mask_features(scores, stability, areas)
    chance = 1 / (1 + np.exp(-(2 * features[:, 0] - 1)))
    return features, random.random(count) < chance, random.integers(images, size=count), chance


def test_confidence_is_the_chance_of_acceptance():
    features, accepted, images, _ = made(4000, 0)
    learned = fit_confidence(features, accepted, images, target=0.9)
    new, _, _, chance = made(1000, 1)
    assert np.abs(learned.of(new) - chance).mean() < 0.03
    for count, mean, fraction in learned.bins:
        assert abs(mean - fraction) < 4 / np.sqrt(count) * 0.5 + 0.02
    assert sum(count for count, _, _ in learned.bins) == 4000


@pytest.mark.parametrize("target", [0.7, 0.8, 0.9, 0.95])
def test_the_threshold_keeps_the_precision_on_new_masks(target):
    features, accepted, images, _ = made(3000, 2)
    learned = fit_confidence(features, accepted, images, target=target)
    new, right, _, _ = made(20_000, 3)
    chosen = learned.of(new) >= learned.threshold
    assert right[chosen].mean() == pytest.approx(target, abs=0.03)
    assert learned.precision >= target
    assert learned.share == pytest.approx(right[chosen].sum() / right.sum(), abs=0.05)


def test_a_precision_out_of_reach_has_no_threshold():
    random = np.random.default_rng(4)
    features = mask_features(
        random.uniform(0.3, 1, 500), random.uniform(0.6, 1, 500), random.uniform(0.01, 0.1, 500)
    )
    learned = fit_confidence(
        features, random.random(500) < 0.3, random.integers(9, size=500), target=0.9
    )
    assert learned.threshold is None
    assert learned.precision is None
    assert learned.share == 0


def test_too_little_to_learn_from():
    features, accepted, images, _ = made(29, 5)
    assert fit_confidence(features, accepted, images, target=0.9) is None
    features, accepted, images, _ = made(100, 5)
    assert fit_confidence(features, np.ones(100, bool), images, target=0.9) is None
    assert fit_confidence(features, np.zeros(100, bool), images, target=0.9) is None
    assert fit_confidence(features, accepted, np.zeros(100, int), target=0.9) is None


def test_masks_that_are_not_shown_do_not_count():
    features, accepted, images, _ = made(1000, 6)
    shown = np.arange(1000) % 2 == 0
    learned = fit_confidence(features, accepted, images, target=0.8, shown=lambda _: shown)
    assert sum(count for count, _, _ in learned.bins) == 500


def test_the_lowest_threshold_that_likely_has_the_precision():
    confidence = np.linspace(0.99, 0.5, 60)
    images = np.arange(60) % 6
    accepted = np.array([1] * 30 + [0] + [1] * 9 + [0] * 20, bool)
    # 39 of 40 are right: 39 / 41, less an error of 0.024, is 0.927.
    threshold, precision, share = choose_threshold(confidence, accepted, images, 0.92)
    assert threshold == pytest.approx(confidence[39])
    assert (precision, share) == (39 / 40, 1)
    # That is not enough for 0.95, which the first 30 have: 30 / 31.
    threshold, precision, share = choose_threshold(confidence, accepted, images, 0.95)
    assert threshold == pytest.approx(confidence[29])
    assert (precision, share) == (1, 30 / 39)
    # Nine right ones at the top are too few to believe in.
    few = np.array([1] * 9 + [0] * 51, bool)
    assert choose_threshold(confidence, few, images, 0.85) == (None, None, 0)


def test_one_image_says_nothing_about_others():
    confidence, accepted = np.linspace(0.99, 0.5, 40), np.ones(40, bool)
    assert choose_threshold(confidence, accepted, np.zeros(40, int), 0.9)[0] is None
    assert choose_threshold(confidence, accepted, np.arange(40) % 2, 0.9)[0] == confidence[-1]
    # All faults on one of four images: the error is larger than of faults that are spread.
    faults = np.arange(40) % 13 == 0
    together = standard_error(~faults, np.where(faults, 0, 1 + np.arange(40) % 3))
    spread = standard_error(~faults, np.arange(40) % 4)
    assert together > spread


def test_few_masks_promise_no_more_than_they_show():
    """The precision on new images is below the target in few of many small samples."""
    missed = []
    for seed in range(60):
        features, accepted, images, _ = made(150, 100 + seed, images=6)
        learned = fit_confidence(features, accepted, images, target=0.9)
        if learned.threshold is None:
            continue
        new, _, _, chance = made(3000, 1000 + seed)
        missed.append(0.9 - chance[learned.of(new) >= learned.threshold].mean())
    assert len(missed) > 10
    assert np.mean(missed) < 0.03


def test_reliability_by_tenths():
    bins = reliability(np.array([0.05, 0.15, 0.16, 1.0]), np.array([0, 1, 0, 1], bool))
    assert [(count, fraction) for count, _, fraction in bins] == [(1, 0), (2, 0.5), (1, 1)]
    assert bins[1][1] == pytest.approx(0.155)


def test_the_reliability_is_drawn(tmp_path):
    features, accepted, images, _ = made(400, 7)
    learned = fit_confidence(features, accepted, images, target=0.8)
    plot_reliability(learned, tmp_path / "sure.png", title="cells")
    with Image.open(tmp_path / "sure.png") as picture:
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(2**24)) > 50
