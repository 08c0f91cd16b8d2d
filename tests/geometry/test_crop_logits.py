"""Logits of a crop and of its image: the same function of the image's pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samkit.geometry import CoordMap, crop_of_logits, put_crop_logits
from samkit.geometry.resize import SURE

MODEL = 256
SIDE = MODEL // 4


def space(height, width):
    return CoordMap(original_hw=(height, width), model_size=MODEL)


def pixels_of_cells(coords, corner=(0, 0)):
    """Position in the image of the centre of each cell, x and y (S,)."""
    cells = np.arange(SIDE) + 0.5
    return tuple(cells * coords.logits_stride / coords.scale_xy[i] + corner[i] for i in (0, 1))


def ramp(x, y):
    return (0.03 * x[None] - 0.02 * y[:, None] + 1).astype(np.float32)


@st.composite
def crops(draw):
    height, width = draw(st.integers(80, 500)), draw(st.integers(80, 500))
    side_x, side_y = draw(st.integers(30, width)), draw(st.integers(30, height))
    x0, y0 = draw(st.integers(0, width - side_x)), draw(st.integers(0, height - side_y))
    return space(height, width), (x0, y0, x0 + side_x, y0 + side_y)


def crop_space(box):
    return space(box[3] - box[1], box[2] - box[0])


@given(crops())
def test_a_ramp_over_the_image_is_the_same_ramp_over_a_crop(given_crop):
    coords, box = given_crop
    own = crop_space(box)
    x, y = pixels_of_cells(own, box[:2])
    found = crop_of_logits(ramp(*pixels_of_cells(coords)), coords, box, own)
    first_x, first_y = pixels_of_cells(coords)
    height, width = -(-np.array(own.resized_hw) // 4)
    # Beyond the centres of the first and last cells of the image, its logits are constant.
    inner_x = (np.arange(SIDE) < width) & (x >= first_x[0]) & (x <= first_x[-1])
    inner_y = (np.arange(SIDE) < height) & (y >= first_y[0]) & (y <= first_y[-1])
    inner = np.ix_(inner_y, inner_x)
    # OpenCV interpolates at 32 positions between two cells.
    steps = (x[1] - x[0]) * 0.03 + (y[1] - y[0]) * 0.02
    image_steps = (first_x[1] - first_x[0]) * 0.05
    np.testing.assert_allclose(found[inner], ramp(x, y)[inner], atol=(steps + image_steps) / 16)
    assert (found[height:] == -SURE).all()
    assert (found[:, width:] == -SURE).all()


@given(crops())
def test_a_ramp_over_a_crop_is_put_where_the_crop_lies(given_crop):
    coords, box = given_crop
    own = crop_space(box)
    before = np.full((SIDE, SIDE), -7, np.float32)
    found = put_crop_logits(before, coords, ramp(*pixels_of_cells(own, box[:2])), box, own)
    x, y = pixels_of_cells(coords)
    inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
    np.testing.assert_array_equal(found[~inside], -7)
    own_x, own_y = pixels_of_cells(own, box[:2])
    cell = max(own_x[1] - own_x[0], own_y[1] - own_y[0], x[1] - x[0], y[1] - y[0])
    # Half a cell at the crop's border is averaged with what lies beyond.
    np.testing.assert_allclose(found[inside], ramp(x, y)[inside], atol=0.05 * 2 * cell)
    assert (before == -7).all()


def test_a_crop_between_two_cells_changes_nothing():
    coords = space(1000, 1000)  # 16 pixels a cell
    box = (25, 25, 38, 38)
    before = np.zeros((SIDE, SIDE), np.float32)
    found = put_crop_logits(before, coords, before + 9, box, crop_space(box))
    np.testing.assert_array_equal(found, before)
