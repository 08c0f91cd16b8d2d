"""Sizes, concavities and centres of masks that can be counted by hand."""

import numpy as np
import pytest

from samkit.geometry import encode_rle
from samkit.learning import concavity, shape_of


def drawn(text):
    return np.array([[one == "#" for one in line] for line in text.split()])


@pytest.mark.parametrize(
    "text",
    ["#", "###", "#.. .#. ..#", "### ###", ".#. ### .#.", "...# .### ####"],
    ids=["pixel", "line", "diagonal", "rectangle", "disc", "triangle"],
)
def test_convex_masks_have_none(text):
    assert concavity(drawn(text)) == 0


def test_an_l_lacks_what_its_hull_has_beside_it():
    # Of 4 x 4 pixels the upper right 2 x 2 are missing; the hull's edge goes through one of them.
    assert concavity(drawn("##.. ##.. #### ####")) == pytest.approx(1 / 13)
    # The larger it is, the nearer to that of the shape: an eighth of the square, of seven.
    large = np.ones((400, 400), bool)
    large[:200, 200:] = False
    assert concavity(large) == pytest.approx(1 / 7, abs=2e-3)


def test_holes_and_gaps_count():
    assert concavity(drawn("### #.# ###")) == pytest.approx(1 / 9)
    assert concavity(drawn("#...#")) == pytest.approx(3 / 5)


def test_hull_is_that_of_the_pixels_in_it():
    """Against all pixels, one by one: those on the inner side of each edge of the hull."""
    from scipy.spatial import ConvexHull

    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((13, 17)) < 0.1
        points = np.argwhere(mask)
        equations = ConvexHull(points).equations
        grid = np.stack(np.indices(mask.shape), axis=-1)
        inside = (grid @ equations[:, :2].T + equations[:, 2] <= 1e-9).all(axis=-1)
        assert concavity(mask) == pytest.approx(1 - mask.sum() / inside.sum())


def test_size_and_centre_are_shares_of_the_image():
    mask = np.zeros((10, 40), bool)
    mask[2:4, 20:28] = True
    shape = shape_of(encode_rle(mask))
    assert shape.size == pytest.approx(0.2)  # the root of 16 / 400
    assert shape.centre_xy == pytest.approx((24 / 40, 3 / 10))
    assert shape.concavity == 0
