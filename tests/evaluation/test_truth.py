"""Which masks are measured, and how well masks agree."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evaluation.stub import make_sample, rectangle
from samkit.errors import ConfigError
from samkit.evaluation import MaskChoice
from samkit.evaluation.truth import mask_iou

MANY = make_sample(*(rectangle(0, 0, 10 + n, 10 + n) for n in range(30)), key="many.jpg")


def test_choice_of_more_masks_contains_that_of_fewer():
    chosen = [set(MaskChoice(masks_per_image=n).choose(MANY)) for n in range(1, 31)]
    assert [len(one) for one in chosen] == list(range(1, 31))
    assert all(few < more for few, more in pairwise(chosen))


def test_choice_is_the_same_on_all_machines_and_ascending():
    assert MaskChoice(masks_per_image=5).choose(MANY) == [3, 14, 17, 27, 29]


def test_choice_depends_on_seed_and_key():
    choices = [MaskChoice(masks_per_image=10, seed=seed).choose(MANY) for seed in range(20)]
    choices += [MaskChoice().choose(replace(MANY, key=f"{n}.jpg")) for n in range(20)]
    assert len({tuple(one) for one in choices}) == 40
    counts = np.bincount(np.concatenate(choices), minlength=30)
    assert counts.min() > 0  # each of 30 masks, in 40 choices of 10


def test_small_masks_are_left_out():
    choice = MaskChoice(masks_per_image=None, min_area_px=400)
    assert choice.choose(MANY) == list(range(10, 30))
    masks = choice.masks(MANY)
    np.testing.assert_array_equal(masks[0], rectangle(0, 0, 20, 20))
    assert MaskChoice(min_area_px=10**6).choose(MANY) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masks_per_image": 0}, "masks_per_image must be a whole number from 1"),
        ({"masks_per_image": 1.5}, "masks_per_image must be a whole number"),
        ({"min_area_px": 0}, "min_area_px must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message, refusal):
    with refusal(ConfigError, message):
        MaskChoice(**settings)


def test_iou():
    one, other = rectangle(0, 0, 10, 10), rectangle(5, 0, 15, 10)
    assert mask_iou(one, other) == pytest.approx(50 / 150)
    assert mask_iou(one, one) == 1
    assert mask_iou(one, ~one) == 0
    assert mask_iou(one & ~one, one & ~one) == 1
