"""Simulated prompts in clips."""

import pytest
import torch

from samkit.errors import ConfigError
from samkit.models import PromptTensors
from samkit.training.video.prompts import (
    VideoPromptRecipe,
    add_correction,
    draw_plan,
    first_prompts,
)

SIZE = 64  # of the model space; cells are 4 pixels


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def squares(places, side=16):
    """Masks (P, 16, 16) of squares of 4 cells; none where there is no place."""
    masks = torch.zeros(len(places), side, side, dtype=torch.bool)
    for mask, place in zip(masks, places, strict=True):
        if place is not None:
            x, y = place
            mask[y : y + 4, x : x + 4] = True
    return masks


def plans(recipe, truth=None, count=400):
    truth = torch.ones(2, 8, 4, 4, dtype=torch.bool) if truth is None else truth
    return [draw_plan(truth, recipe, generator(seed)) for seed in range(count)]


def test_plans_are_as_often_of_each_kind_as_in_the_paper():
    found = plans(VideoPromptRecipe())
    kinds = [plan.kind for plan in found]
    assert kinds.count("mask") == pytest.approx(200, abs=40)
    assert kinds.count("box") == pytest.approx(100, abs=35)
    assert kinds.count("click") == pytest.approx(100, abs=35)
    assert {len(plan.shown) for plan in found} == {1, 2}
    assert all(plan.shown[0] == 0 for plan in found)
    assert {plan.shown[-1] for plan in found} == set(range(8))


def test_masks_are_not_corrected_and_the_first_frame_always_else():
    for plan in plans(VideoPromptRecipe()):
        assert len(plan.corrected) == (0 if plan.kind == "mask" else len(plan.corrected))
        if plan.kind != "mask":
            assert 0 in plan.corrected
            assert 1 <= len(plan.corrected) <= 2
            assert not plan.corrected & set(plan.shown[1:])


@pytest.mark.parametrize("off", [{"corrections": 0}, {"corrected_frames": 0}])
def test_without_corrections_none_are_planned(off):
    assert not any(plan.corrected for plan in plans(VideoPromptRecipe(**off), count=50))


def test_objects_are_shown_only_where_all_of_them_are():
    truth = torch.ones(2, 8, 4, 4, dtype=torch.bool)
    truth[0, 1:5] = False
    truth[1, 6:] = False
    shown = {at for plan in plans(VideoPromptRecipe(), truth, 100) for at in plan.shown}
    assert shown == {0, 5}


def test_the_first_click_lies_in_the_mask():
    truth = squares([(2, 3), (9, 11)])
    for seed in range(20):
        prompts = first_prompts(truth, "click", SIZE, VideoPromptRecipe(), generator(seed))
        cells = ((prompts.points_xy[:, 0] + 0.5) / 4).long()
        assert truth[torch.arange(2), cells[:, 1], cells[:, 0]].all()
        assert (prompts.labels == 1).all()


def test_boxes_are_those_of_the_masks_with_noise():
    truth = squares([(2, 3), (9, 11)])
    plain = VideoPromptRecipe(box_noise=0)
    tight = first_prompts(truth, "box", SIZE, plain, generator()).boxes_xyxy
    assert tight.tolist() == [[8, 12, 24, 28], [36, 44, 52, 60]]
    noisy = first_prompts(truth, "box", SIZE, VideoPromptRecipe(), generator()).boxes_xyxy
    shift = (noisy - tight).abs()
    assert 0 < shift.max() <= 20 * SIZE / 1024


def test_corrections_lie_in_the_error_and_say_what_is_there():
    truth = squares([(2, 3), (9, 11)])
    predicted = squares([(4, 3), (9, 9)])
    recipe = VideoPromptRecipe(truth_probability=0)
    prompts = PromptTensors()
    for seed in range(5):
        prompts = add_correction(prompts, truth, predicted, SIZE, recipe, generator(seed))
    cells = ((prompts.points_xy + 0.5) / 4).long()
    rows = torch.arange(2)[:, None]
    assert prompts.points_xy.shape == (2, 5, 2)
    assert (truth ^ predicted)[rows, cells[..., 1], cells[..., 0]].all()
    assert torch.equal(truth[rows, cells[..., 1], cells[..., 0]].long(), prompts.labels)


def test_some_corrections_are_drawn_from_the_truth():
    truth, predicted = squares([(2, 3)]), squares([(2, 11)])
    recipe = VideoPromptRecipe(truth_probability=1)
    labels = [
        add_correction(PromptTensors(), truth, predicted, SIZE, recipe, generator(seed)).labels
        for seed in range(10)
    ]
    assert all(int(one) == 1 for one in labels)


def test_after_a_perfect_answer_the_click_says_so():
    truth = squares([(2, 3), None])
    found = add_correction(
        PromptTensors(), truth, truth, SIZE, VideoPromptRecipe(truth_probability=0), generator()
    )
    assert found.labels.tolist() == [[1], [0]]
    cells = ((found.points_xy[:, 0] + 0.5) / 4).long()
    assert truth[0, cells[0, 1], cells[0, 0]]


def test_of_an_absent_object_what_is_found_is_taken_back():
    truth, predicted = squares([None]), squares([(5, 5)])
    for probability in (0.0, 1.0):
        found = add_correction(
            PromptTensors(),
            truth,
            predicted,
            SIZE,
            VideoPromptRecipe(truth_probability=probability),
            generator(),
        )
        assert found.labels.tolist() == [[0]]


def test_settings_are_checked(refusal):
    with refusal(ConfigError, "mask_probability must be at least 0 and at most 1"):
        VideoPromptRecipe(mask_probability=1.5)
    with refusal(ConfigError, "first_frames must be at least 1"):
        VideoPromptRecipe(first_frames=0)
