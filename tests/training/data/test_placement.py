"""Placement of images in the model space."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.predict import normalise, resize_image
from samkit.training.data.placement import (
    Placement,
    draw_placement,
    place_image,
    place_points,
    plain_placement,
)

SIDE = 64
sizes = st.integers(1, 150)


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def shown(pixels):
    """Normalised pixels (3, S, S) back to 0..255 (S, S, 3)."""
    mean = torch.tensor(ImageSpec().mean)[:, None, None]
    std = torch.tensor(ImageSpec().std)[:, None, None]
    return (pixels * std + mean).permute(1, 2, 0).numpy()


@given(height=sizes, width=sizes)
def test_without_augmentation_pixels_are_those_of_prediction(height, width):
    image = random_image(height, width)
    coords = CoordMap(original_hw=(height, width), model_size=SIDE)
    drawn = draw_placement(
        (height, width), SIDE, np.random.default_rng(0), scale_jitter=None, flip=False
    )
    assert drawn == plain_placement((height, width), SIDE)
    expected = normalise(resize_image(image, coords), ImageSpec(size=SIDE))[0]
    assert torch.equal(place_image(image, drawn), expected)


@given(
    height=sizes, width=sizes, seed=st.integers(0, 99), low=st.floats(0.1, 2), span=st.floats(0, 2)
)
def test_drawn_placements_fill_or_pad_the_frame(height, width, seed, low, span):
    rng = np.random.default_rng(seed)
    jitter = (low, low + span)
    placement = draw_placement((height, width), SIDE, rng, scale_jitter=jitter, flip=True)
    longest = max(placement.resized_hw)
    assert round(low * SIDE) <= longest <= round((low + span) * SIDE)
    for resized, corner, visible in zip(
        placement.resized_hw, placement.corner_xy[::-1], placement.visible_hw, strict=True
    ):
        assert corner >= 0
        assert visible == min(resized, SIDE)  # nothing is cut that there is room for
        assert corner + visible <= resized
    assert placement.is_cropped == (longest > SIDE)
    # The same number of random values in any case.
    other = np.random.default_rng(seed)
    draw_placement((9, 9), SIDE, other, scale_jitter=None, flip=False)
    assert rng.uniform() == other.uniform()


def test_scales_corners_and_flips_are_uniform():
    rng = np.random.default_rng(0)
    drawn = [
        draw_placement((100, 100), 100, rng, scale_jitter=(0.5, 1.5), flip=True)
        for _ in range(4000)
    ]
    scales = np.array([one.resized_hw[0] for one in drawn]) / 100
    assert scales.mean() == pytest.approx(1.0, abs=0.02)
    assert scales.std() == pytest.approx(1 / 12**0.5, abs=0.02)
    assert np.mean([one.flipped for one in drawn]) == pytest.approx(0.5, abs=0.03)
    large = [one for one in drawn if one.resized_hw[0] == 110]
    assert {one.corner_xy[0] for one in large} == set(range(11))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("corner_xy", [(0, 0), (31, 5), (56, 26)])
def test_cropped_image_is_a_part_of_the_resized_one(flipped, corner_xy):
    image = random_image(45, 60)
    placement = Placement(
        original_hw=(45, 60),
        resized_hw=(90, 120),
        corner_xy=corner_xy,
        flipped=flipped,
        model_size=SIDE,
    )
    coords = CoordMap(original_hw=(45, 60), model_size=120)
    turned = np.ascontiguousarray(image[:, ::-1]) if flipped else image
    x, y = corner_xy
    expected = resize_image(turned, coords)[y : y + SIDE, x : x + SIDE].astype(float)
    found = shown(place_image(image, placement))
    height, width = placement.visible_hw
    assert (height, width) == expected.shape[:2]
    assert np.abs(found[:height, :width] - expected).max() <= 1.01


def test_what_the_image_does_not_fill_is_zero_after_normalising():
    placement = draw_placement(
        (50, 80), SIDE, np.random.default_rng(0), scale_jitter=(0.4, 0.6), flip=True
    )
    pixels = place_image(random_image(50, 80), placement)
    height, width = placement.visible_hw
    assert max(height, width) < SIDE
    assert not pixels[:, height:].any()
    assert not pixels[:, :, width:].any()
    assert pixels[:, :height, :width].any()


def test_flipping_exchanges_left_and_right():
    image = random_image(40, 64)
    plain = plain_placement((40, 64), SIDE)
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    flipped = Placement(**(fields | {"flipped": True}))
    assert torch.equal(place_image(image, flipped), place_image(image, plain).flip(2))


def test_points_are_placed_like_their_pixels():
    """A dot in the image is where its placed index says, mirrored and cropped or not."""
    rng = np.random.default_rng(0)
    for number in range(20):
        placement = draw_placement((40, 60), 64, rng, scale_jitter=(0.8, 1.6), flip=True)
        xy = np.array([[12 + number, 10 + number]], np.float32)
        image = np.zeros((40, 60, 3), np.uint8)
        x, y = xy[0].astype(int)
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
        placed = place_points(xy, placement)
        pixels = place_image(image, placement)[0].numpy()
        if np.isnan(placed).any():
            continue
        row, column = np.unravel_index(pixels.argmax(), pixels.shape)
        assert abs(placed[0, 0] - column) <= 2
        assert abs(placed[0, 1] - row) <= 2


def test_points_that_are_cut_off_are_unknown():
    placement = Placement(
        original_hw=(40, 60),
        resized_hw=(80, 120),
        corner_xy=(30, 10),
        flipped=False,
        model_size=64,
    )
    xy = np.array([[20, 20], [5, 20], [59, 20], [np.nan, np.nan]], np.float32)
    placed = place_points(xy, placement)
    assert placed[0].tolist() == [41 - 30 - 0.5, 41 - 10 - 0.5]
    assert np.isnan(placed[1:]).all()
