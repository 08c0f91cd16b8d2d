"""The farthest point of a region, against brute force over all pairs of pixels."""

import cv2
import numpy as np
import pytest

from samkit.geometry import farthest_point


def blobs(seed, height=23, width=31):
    noise = np.random.default_rng(seed).random((height, width))
    return cv2.GaussianBlur(noise, (0, 0), 1 + seed % 3) > 0.5


def by_brute_force(region):
    """For each pixel of a region the distance to the nearest one outside, the first farthest."""
    ringed = np.pad(region, 1)
    outside = np.argwhere(~ringed) - 1
    best = (0.0, None)
    for y, x in np.argwhere(region):
        distance = np.sqrt(((outside - (y, x)) ** 2).sum(axis=1).min())
        if distance > best[0] + 1e-6:
            best = (distance, (x, y))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_farthest_point_is_that_of_brute_force(seed):
    region = blobs(seed)
    point = farthest_point(region)
    distance, place = by_brute_force(region)
    assert (point.x, point.y) == place
    assert point.distance_px == pytest.approx(distance, abs=1e-5)


def test_image_border_counts_as_boundary():
    point = farthest_point(np.ones((9, 21), bool))
    assert (point.x, point.y, point.distance_px) == (4, 4, 5)


def test_excluded_points_are_not_chosen():
    region = np.zeros((5, 9), bool)
    region[1:4, 1:8] = True
    assert (farthest_point(region).x, farthest_point(region).y) == (2, 2)
    second = farthest_point(region, [(2, 2)])
    assert (second.x, second.y, second.distance_px) == (3, 2, 2)


def test_nothing_to_choose():
    assert farthest_point(np.zeros((4, 4), bool)) is None
    single = np.zeros((4, 4), bool)
    single[2, 1] = True
    assert farthest_point(single, [(1, 2)]) is None
