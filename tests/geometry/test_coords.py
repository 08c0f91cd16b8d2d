"""Coordinate spaces of an image and the conversions between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec

SIDES = st.integers(1, 20_000)
MODEL_SIZES = st.sampled_from([32, 128, 1000, 1024])


@st.composite
def coord_maps(draw):
    return CoordMap(original_hw=(draw(SIDES), draw(SIDES)), model_size=draw(MODEL_SIZES))


@st.composite
def maps_and_points(draw):
    coords = draw(coord_maps())
    height, width = coords.original_hw
    xy = st.tuples(st.floats(0, width), st.floats(0, height))
    return coords, np.array(draw(st.lists(xy, min_size=1, max_size=5)))


@given(maps_and_points())
def test_points_come_back_from_the_model_space(case):
    coords, points_xy = case
    there = coords.points_to_model(points_xy)
    back = there / coords.scale_xy
    np.testing.assert_allclose(back, points_xy, rtol=1e-12, atol=1e-300)


@given(maps_and_points())
def test_boxes_are_their_two_corners(case):
    coords, points_xy = case
    boxes_xyxy = np.concatenate([points_xy, points_xy[::-1]], axis=1)
    there = coords.boxes_to_model(boxes_xyxy)
    np.testing.assert_array_equal(there[:, :2], coords.points_to_model(points_xy))
    np.testing.assert_array_equal(there[:, 2:], coords.points_to_model(points_xy[::-1]))


@given(maps_and_points())
def test_image_fills_its_part_of_the_model_space(case):
    coords, points_xy = case
    height, width = coords.original_hw
    resized_h, resized_w = coords.resized_hw
    corner = coords.points_to_model([width, height])
    np.testing.assert_allclose(corner, [resized_w, resized_h], rtol=1e-12)
    there = coords.points_to_model(points_xy)
    assert (there >= 0).all()
    assert (there <= np.array([resized_w, resized_h]) * (1 + 1e-12)).all()


@given(coord_maps())
def test_longest_side_becomes_the_model_size_and_the_other_the_nearest_integer(coords):
    longest = max(coords.original_hw)
    assert max(coords.resized_hw) == coords.model_size
    for side, resized in zip(coords.original_hw, coords.resized_hw, strict=True):
        # |resized - side * model_size / longest| <= 1/2, in whole numbers
        off = abs(resized * longest - side * coords.model_size)
        assert 2 * off <= longest or resized == 1


@given(coord_maps())
def test_resized_size_of_the_transposed_image_is_transposed(coords):
    height, width = coords.original_hw
    turned = CoordMap(original_hw=(width, height), model_size=coords.model_size)
    assert turned.resized_hw == coords.resized_hw[::-1]


@pytest.mark.parametrize(
    ("original_hw", "resized_hw"),
    [
        ((534, 800), (684, 1024)),
        ((1200, 1800), (683, 1024)),
        ((1800, 1200), (1024, 683)),
        ((480, 640), (768, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((1, 1), (1024, 1024)),
        ((1, 5000), (1, 1024)),
        ((5000, 1), (1024, 1)),
    ],
)
def test_resized_sizes_that_are_known(original_hw, resized_hw):
    assert CoordMap(original_hw=original_hw, model_size=1024).resized_hw == resized_hw


def test_known_point_of_the_reference():
    # 534 rows become 684, not 683.52: x and y have scales of their own.
    coords = CoordMap(original_hw=(534, 800), model_size=1024)
    np.testing.assert_allclose(coords.points_to_model([400, 267]), [512, 342])
    assert coords.logits_size == 256


def test_leading_axes_are_kept():
    coords = CoordMap(original_hw=(30, 40), model_size=128)
    assert coords.points_to_model(np.zeros((3, 5, 2))).shape == (3, 5, 2)
    assert coords.boxes_to_model(np.zeros((3, 4))).shape == (3, 4)


@pytest.mark.parametrize(
    ("original_hw", "model_size"), [((0, 5), 1024), ((5, 0), 1024), ((5, -1), 1024), ((5, 5), 0)]
)
def test_sizes_below_one_are_refused(original_hw, model_size, refusal):
    with refusal(ValueError, "sizes must be positive", str(original_hw), str(model_size)):
        CoordMap(original_hw=original_hw, model_size=model_size)


@given(SIDES, SIDES)
def test_stretching_fills_the_square(height, width):
    spec = ImageSpec(size=1024, fit="stretch", logits_stride=4)
    coords = CoordMap.of((height, width), spec)
    assert coords.resized_hw == (1024, 1024)
    assert coords.logits_size == 256
    np.testing.assert_allclose(coords.points_to_model([width, height]), [1024, 1024], rtol=1e-12)
    np.testing.assert_allclose(coords.scale_xy * [width, height], [1024, 1024], rtol=1e-12)


def test_a_specification_of_padding_is_the_default():
    assert CoordMap.of((30, 40), ImageSpec()) == CoordMap(original_hw=(30, 40), model_size=1024)
