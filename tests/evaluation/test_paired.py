"""Paired comparisons: known values, and intervals that cover the truth as often as they say."""

import numpy as np
import pytest

from samkit.evaluation.paired import Comparison, GroupSums, average, compare, draw_groups


def means(values, groups=None):
    """A mean over images of one mask each."""
    parts = [(value, 1) for value in values]
    return GroupSums.of(parts, groups or [str(number) for number in range(len(values))])


def comparison(one, other, seed=0, **options):
    sums = means(one, **options), means(other, **options)
    return compare(*sums, draw_groups(len(sums[0].sums), np.random.default_rng(seed)))


def test_masks_are_pooled():
    sums = GroupSums.of([(0.5, 1), (0.3, 3), (0, 0)], ["a", "b", "c"])
    assert sums.value == pytest.approx(0.8 / 4)
    assert sums.resampled(np.array([[0, 2, 1], [3, 0, 0]])) == pytest.approx([0.1, 0.5])
    assert np.isnan(sums.resampled(np.array([[0, 0, 3]]))).all()  # an image without masks alone


def test_images_of_a_group_are_drawn_together():
    together = means([0.1, 0.2, 0.6, 0.7], groups=["b", "a", "b", "a"])
    np.testing.assert_allclose(together.sums, [[0.9, 2], [0.7, 2]])
    assert together.value == pytest.approx(0.4)


def test_resamples_have_as_many_groups():
    weights = draw_groups(7, np.random.default_rng(0), resamples=50)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_a_difference_equal_in_all_images_has_no_spread():
    low, high = [0.1, 0.5, 0.9] * 2, [0.2, 0.6, 1.0] * 2
    found = comparison(low, high)
    assert (found.baseline, found.value) == pytest.approx((0.5, 0.6))
    assert found.interval == pytest.approx((0.1, 0.1))
    assert found.sign == 1
    assert comparison(high, low).sign == -1
    assert comparison(low, low).sign == 0


def test_few_groups_decide_nothing():
    found = comparison([0.1] * 9, [0.8] * 9, groups=list("aabbccdde"))
    assert found.difference == pytest.approx(0.7)
    assert np.isnan(found.interval).all()
    assert found.sign == 0


def test_groups_without_masks_are_not_counted():
    groups = list("abcdefgh")
    one = GroupSums.of([(0.1, 1)] * 5 + [(0, 0)] * 3, groups)
    other = GroupSums.of([(0.8, 1)] * 5 + [(0, 0)] * 3, groups)
    found = compare(one, other, draw_groups(8, np.random.default_rng(0)))
    assert (found.groups, found.sign) == (5, 0)


@pytest.mark.parametrize("groups", [6, 14, 30])
def test_intervals_cover_the_true_difference(groups):
    """95% of them should; with 6 groups, plain percentiles do in 87% of cases."""
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(400):
        one = rng.normal(0.6, 0.2, groups)  # images differ far more than the models
        other = one + rng.normal(0.05, 0.05, groups)
        weights = draw_groups(groups, np.random.default_rng(trial), resamples=1000)
        low, high = compare(means(one), means(other), weights).interval
        covered += low <= 0.05 <= high
    assert 0.91 <= covered / 400 <= 0.985


def test_the_mean_of_sets_counts_each_equally():
    parts = [
        Comparison(baseline=0.2, value=0.4, differences=np.array([0.1, 0.3]), groups=9),
        Comparison(baseline=0.6, value=0.5, differences=np.array([-0.1, 0.1]), groups=1),
    ]
    mean = average(parts)
    assert (mean.baseline, mean.value, mean.groups) == pytest.approx((0.4, 0.45, 10))
    np.testing.assert_allclose(mean.differences, [0, 0.2])
