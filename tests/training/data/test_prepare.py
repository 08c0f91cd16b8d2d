"""Selection of masks to train on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samkit.errors import ConfigError
from samkit.geometry import encode_rle
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.prepare import usable_masks


def mask_of(area, side=10):
    return encode_rle((np.arange(side * side) < area).reshape(side, side))


@given(
    areas=st.lists(st.integers(0, 100), max_size=9),
    least=st.integers(0, 100),
    most=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_masks_are_chosen_by_their_area(areas, least, most):
    rles = [mask_of(area) for area in areas]
    usable = usable_masks(rles, (10, 10), min_area_px=least, max_area_fraction=most)
    expected = [
        index for index, area in enumerate(areas) if area > 0 and least <= area <= 100 * most
    ]
    assert usable == expected


def test_image_may_have_many_masks():
    rles = [mask_of(index % 3) for index in range(900)]
    usable = usable_masks(rles, (10, 10), min_area_px=1, max_area_fraction=0.9)
    assert usable == [index for index in range(900) if index % 3]


def test_ninety_percent_is_the_papers_limit():
    rles = [mask_of(90), mask_of(91), mask_of(0), mask_of(1)]
    recipe = DataRecipe(train="scenes")
    usable = usable_masks(
        rles,
        (10, 10),
        min_area_px=recipe.min_area_px,
        max_area_fraction=recipe.max_area_fraction,
    )
    assert usable == [0, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"train": ""},
        {"val": 3},
        {"images_per_batch": 0},
        {"images_per_batch": True},
        {"max_masks_per_image": 1.5},
        {"min_area_px": -1},
        {"max_area_fraction": 0},
        {"max_area_fraction": 1.1},
        {"max_area_fraction": float("nan")},
        {"scale_jitter": (0, 1)},
        {"scale_jitter": (2.0, 1.0)},
        {"scale_jitter": (0.1, 2.0, 3.0)},
        {"scale_jitter": 1.0},
        {"scale_jitter": (1.0, float("inf"))},
        {"flip": 1},
        {"workers": -1},
        {"prefetch": 0},
    ],
)
def test_recipes_without_sense_are_refused(fields, refusal):
    with refusal(ConfigError, next(iter(fields)), "must"):
        DataRecipe(**({"train": "scenes"} | fields))
