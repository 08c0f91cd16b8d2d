"""Selection of masks to train on."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samkit.datasets import Sample
from samkit.errors import ConfigError
from samkit.geometry import encode_rle
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import BatchLoader
from samkit.training.data.prepare import Preparer, Skip, merged, usable_masks


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


def prepared(sample, **fields):
    recipe = DataRecipe(**({"train": "scenes", "min_area_px": 1} | fields))
    preparer = Preparer(recipe=recipe, model_size=64, truth_size=32, seed=0, with_masks=True)
    return [preparer.prepare(sample, epoch, 0) for epoch in range(8)]


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_masks_have_no_cell_without_ground_truth(seed, augmented):
    """Law: void pixels and padding are in no mask, and no mask is empty."""
    rng = np.random.default_rng(seed)
    masks = cv2.GaussianBlur(rng.random((40, 30, 3)), (0, 0), 1.5).transpose(2, 0, 1) > 0.5
    void = cv2.GaussianBlur(rng.random((40, 30)), (0, 0), 2) > 0.5
    sample = Sample(
        key="a",
        image=np.zeros((40, 30, 3), np.uint8),
        rles=tuple(map(encode_rle, masks)),
        void=encode_rle(void),
    )
    jitter = {"scale_jitter": (0.5, 2.0), "flip": True} if augmented else {}
    for one in prepared(sample, **jitter):
        assert one.masks.flatten(1).any(1).all()
        assert not (one.masks & one.ignored).any()
        assert one.ignored.any()


def test_the_padding_of_an_image_is_ignored(make_sample):
    one, *_ = prepared(make_sample(size_hw=(40, 60)))
    expected = torch.ones(32, 32, dtype=torch.bool)
    expected[:22] = False  # 40 of 60 rows are 21.33 of 32 cells: a part of the 22nd is the image
    assert torch.equal(one.ignored, expected)


def test_an_image_whose_masks_are_void_is_left_out(make_sample):
    sample = make_sample()
    void = encode_rle(np.ones((40, 60), bool))
    assert all(isinstance(one, Skip) for one in prepared(replace(sample, void=void)))
    assert not any(isinstance(one, Skip) for one in prepared(sample))


def test_batches_say_which_cells_are_ignored(make_source, recipe):
    batch = next(BatchLoader(make_source(3), recipe(), 64, 32, seed=0))
    assert batch.ignored.shape == (2, 32, 32)
    assert not (batch.masks & batch.ignored[batch.image_index]).any()
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.ignored, batch.ignored)


def test_masks_that_touch_are_joined():
    mask, beside, far = (np.zeros((32, 32), bool) for _ in range(3))
    mask[4:12, 4:12], beside[4:12, 13:20], far[24:30, 24:30] = True, True, True
    assert (merged(mask, [None, far, mask, beside], 0.9) == mask | beside).all()
    assert (merged(mask, [far], 0.9) == mask).all()
    assert (merged(mask, [beside], 0.1) == mask).all()  # together they would be too large


def test_so_many_masks_are_joined():
    left, right = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    left[10:30, 10:30], right[10:30, 30:50] = True, True
    sample = Sample(
        key="a",
        image=np.zeros((64, 64, 3), np.uint8),
        rles=(encode_rle(left), encode_rle(right)),
    )
    areas = []
    for merge_probability in (0.0, 0.4):
        recipe = DataRecipe(
            train="scenes", max_masks_per_image=1, merge_probability=merge_probability
        )
        preparer = Preparer(recipe=recipe, model_size=64, truth_size=64, seed=0, with_masks=True)
        areas.append([int(preparer.prepare(sample, 0, n).masks.sum()) for n in range(100)])
    assert set(areas[0]) == {400}
    assert set(areas[1]) == {400, 800}
    assert 25 <= areas[1].count(800) <= 55
