"""Prompts that select among masks, by FastSAM's rules."""

import numpy as np
import pytest

import samkit
from samkit.errors import PromptError
from samkit.types import Masks

SIZE = (40, 60)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


TABLE = rectangle(0, 0, 60, 20)
PLATE = rectangle(10, 5, 30, 15)
APPLE = rectangle(15, 8, 20, 12)
CUP = rectangle(40, 5, 50, 15)
SCORES = [0.5, 0.9, 0.7, 0.8]


@pytest.fixture
def masks():
    return Masks.from_arrays(np.stack([PLATE, TABLE, CUP, APPLE]), SCORES)


def only(masks):
    assert len(masks) == 1
    return masks.to_arrays()[0]


def test_a_point_adds_all_masks_that_contain_it(masks):
    found = samkit.select(masks, points=[16, 9])
    assert (only(found) == TABLE).all()  # the largest contains the others
    assert found.scores.tolist() == pytest.approx([0.9])


def test_a_background_point_removes_smaller_masks_from_larger_ones(masks):
    found = samkit.select(masks, points=[[2, 2], [45, 10]], labels=[1, 0])
    # The table contains both points: it is added, then removed, in the points' order.
    assert len(found) == 0
    found = samkit.select(masks, points=[[45, 10], [2, 2], [12, 6]], labels=[0, 1, 0])
    assert len(found) == 0


def test_masks_of_foreground_points_are_painted_over_those_of_background_points(masks):
    found = samkit.select(masks, points=[[12, 6], [16, 9]], labels=[0, 1])
    # Table and plate contain both points, of which the later one is in the foreground.
    assert (only(found) == TABLE).all()
    found = samkit.select(masks, points=[[16, 9], [12, 6]], labels=[1, 0])
    assert (only(found) == APPLE).all()


def test_background_points_beside_a_mask_change_nothing(masks):
    few = masks.select(np.array([0, 2]))
    found = samkit.select(few, points=[[12, 6], [45, 10]], labels=[1, 0])
    assert (only(found) == PLATE).all()
    both = samkit.select(few, points=[[12, 6], [45, 10]])
    assert (only(both) == (PLATE | CUP)).all()


def test_points_that_no_mask_contains_select_nothing(masks):
    assert len(samkit.select(masks, points=[5, 35])) == 0
    assert len(samkit.select(masks, points=[16, 9], labels=[0])) == 0


def test_a_box_selects_the_mask_of_the_best_overlap(masks):
    found = samkit.select(masks, boxes=[10, 5, 30, 15])
    assert (only(found) == PLATE).all()
    assert found.scores.tolist() == [1]
    half = samkit.select(masks, boxes=[10, 5, 20, 15])
    assert (only(half) == PLATE).all()
    assert half.scores.tolist() == pytest.approx([0.5])


def test_boxes_select_a_mask_each_and_those_without_any_none(masks):
    found = samkit.select(masks, boxes=[[41, 5, 50, 15], [0, 30, 10, 40], [15, 8, 20, 12]])
    assert [mask.sum() for mask in found] == [CUP.sum(), APPLE.sum()]


def test_text_selects_by_clip_among_the_larger_masks(masks, clip_folder):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*SIZE, 3), np.uint8)
    large = masks.select(np.array([0, 1]))
    found = samkit.select(
        masks.select(np.array([3, 0, 1])), text="red car", image=image, text_model=clip_folder
    )
    alone = samkit.select(large, text="red car", image=image, text_model=clip_folder)
    # The apple, of 20 pixels, is not compared.
    assert found.areas.tolist() == alone.areas.tolist()
    assert found.scores == pytest.approx(alone.scores)
    assert 0.5 <= found.scores[0] <= 1
    assert found.phrases == ("red car",)
    two = samkit.select(large, text=["red", "tree"], image=image, text_model=clip_folder)
    assert two.phrases == ("red", "tree")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "got none"),
        ({"points": [1, 1], "boxes": [0, 0, 2, 2]}, "points and boxes"),
        ({"labels": [1], "boxes": [0, 0, 2, 2]}, "got no points"),
        ({"points": [60, 1]}, "60 x 40 pixels"),
        ({"points": [-1, 1]}, "60 x 40 pixels"),
        ({"points": [[[1, 1]]]}, "one prompt at a time"),
        ({"text": "a car"}, "give image="),
    ],
)
def test_wrong_prompts_are_refused(masks, prompt, message):
    with pytest.raises(PromptError, match=message):
        samkit.select(masks, **prompt)


def test_no_masks_have_no_answer(masks):
    none = masks.select(np.zeros(0, np.int64))
    assert len(samkit.select(none, points=[1, 1])) == 0
    assert len(samkit.select(none, boxes=[0, 0, 2, 2])) == 0
