"""Thinning against scikit-image, and along known gradients."""

import cv2
import numpy as np
import pytest
from skimage.morphology import thin as reference_thin

from samkit.evaluation.thinning import suppress_non_maxima, thin


@pytest.mark.parametrize("seed", range(8))
def test_thin_is_that_of_scikit_image(seed):
    noise = np.random.default_rng(seed).random((70, 61))
    mask = cv2.GaussianBlur(noise, (0, 0), 0.6 + seed / 3) > 0.5
    np.testing.assert_array_equal(thin(mask), reference_thin(mask))


def test_thin_lines_stay_and_thick_ones_lose_their_width():
    line = np.zeros((20, 20), bool)
    line[5, 3:17] = True
    np.testing.assert_array_equal(thin(line), line)
    thick = line.copy()
    thick[4:7, 3:17] = True
    assert thin(thick).sum(axis=0).max() == 1
    assert not thin(np.zeros((4, 4), bool)).any()


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135])
def test_ridge_is_one_pixel_wide_across_its_gradient(degrees):
    across = np.deg2rad(degrees)
    y, x = np.mgrid[:41, :41] - 20.0
    distance = x * np.cos(across) + y * np.sin(across)
    strength = np.exp(-((distance / 3) ** 2)).astype(np.float32)
    gradient = np.empty((41, 41, 2), np.float32)
    gradient[:] = np.cos(across), np.sin(across)
    kept = suppress_non_maxima(strength, gradient)
    inner = (np.abs(x) < 15) & (np.abs(y) < 15)
    assert np.abs(distance[inner & (kept > 0)]).max() <= 0.71  # half a pixel's diagonal
    along = np.abs(distance) < 0.01
    assert (kept[inner & along] == strength[inner & along]).all()


def test_nothing_is_kept_without_a_gradient():
    flat = np.ones((5, 5), np.float32)
    assert not suppress_non_maxima(flat, np.zeros((5, 5, 2), np.float32)).any()
