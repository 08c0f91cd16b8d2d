"""Reliability bins and calibration error of lists with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.evaluation.calibration import calibration_error, reliability_bins

SHARES = st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(0, 1)), min_size=1, max_size=30)


def test_a_hand_made_list():
    bins = reliability_bins([0.92, 0.98, 0.30, 0.39, 0.55], [0.80, 0.90, 0.50, 0.20, 0.55])
    assert bins.shape == (10, 3)
    np.testing.assert_allclose(bins[9], [2, 1.90, 1.70])
    np.testing.assert_allclose(bins[3], [2, 0.69, 0.70])  # 0.30 begins its bin
    np.testing.assert_allclose(bins[5], [1, 0.55, 0.55])
    assert bins[:, 0].sum() == 5
    # Two masks are 0.1 too sure, two 0.005 too unsure, and one is right.
    assert calibration_error(bins) == pytest.approx((2 * 0.1 + 2 * 0.005) / 5)


def test_predictions_beyond_0_and_1_are_clipped():
    bins = reliability_bins([-0.3, 1.0, 1.2], [0.1, 1.0, 0.7])
    np.testing.assert_allclose(bins[0], [1, 0, 0.1])
    np.testing.assert_allclose(bins[9], [2, 2, 1.7])


def test_without_masks_there_is_no_error():
    assert np.isnan(calibration_error(reliability_bins([], [])))


@given(SHARES, SHARES)
def test_bins_of_several_images_are_added(one, other):
    """Law: and the error of the sum is between 0 and 1, and no less than the mean's distance."""
    bins = reliability_bins(*zip(*one, strict=True)) + reliability_bins(*zip(*other, strict=True))
    pairs = np.array([*one, *other])
    np.testing.assert_allclose(bins, reliability_bins(*pairs.T), atol=1e-9)
    bias = abs(np.clip(pairs[:, 0], 0, 1).mean() - pairs[:, 1].mean())
    assert bias - 1e-9 <= calibration_error(bins) <= 1
