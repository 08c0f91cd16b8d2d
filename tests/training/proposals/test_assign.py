"""Which positions learn which objects, and the losses."""

import math

import pytest
import torch

from samkit.training.proposals.assign import assign, box_iou, generalised_iou, proposal_losses
from samkit.training.proposals.recipe import ProposalLossRecipe

CENTERS = torch.tensor([[4.0, 4.0], [12.0, 4.0], [20.0, 4.0], [28.0, 4.0]])
RECIPE = ProposalLossRecipe(positions=2)


def boxes_around(centers, half):
    return torch.cat([centers - half, centers + half], dim=1)


def assigned(truths, *, objectness=None, boxes=None, weights=None, recipe=RECIPE):
    truths = torch.tensor(truths).reshape(-1, 4)
    return assign(
        torch.full((4,), 0.5) if objectness is None else torch.tensor(objectness),
        boxes_around(CENTERS, 4) if boxes is None else boxes,
        CENTERS,
        truths,
        torch.ones(len(truths)) if weights is None else torch.tensor(weights),
        near_px=1.0,
        recipe=recipe,
    )


def test_without_objects_no_position_learns_one():
    found = assigned([])
    assert found.objects.tolist() == [-1] * 4
    assert found.quality.tolist() == [0] * 4


def test_positions_inside_of_an_object_learn_it_the_best_ones_first():
    # Inside are three positions, of which the two with the best boxes count.
    boxes = torch.tensor([[0.0, 0, 24, 8], [4.0, 0, 24, 8], [16.0, 0, 24, 8], [0.0, 0, 24, 8]])
    found = assigned([[0.0, 0, 24, 8]], boxes=boxes)
    assert found.objects.tolist() == [0, 0, -1, -1]


def test_the_best_position_is_to_be_called_as_good_as_its_box():
    boxes = torch.tensor([[0.0, 0, 12, 8], [0.0, 0, 18, 8], [0.0, 0, 8, 8], [0.0, 0, 8, 8]])
    found = assigned([[0.0, 0, 24, 8]], boxes=boxes)
    assert found.quality[1] == pytest.approx(0.75)
    assert found.quality[0] == pytest.approx(0.75 * (0.5 / 0.75) ** RECIPE.iou_power)


def test_a_confident_position_is_preferred_to_an_equal_one():
    found = assigned(
        [[0.0, 0, 16, 8]], objectness=[0.1, 0.9, 0.5, 0.5], recipe=ProposalLossRecipe(positions=1)
    )
    assert found.objects.tolist() == [-1, 0, -1, -1]


def test_a_position_of_two_objects_learns_the_one_that_its_box_fits():
    found = assigned([[0.0, 0, 32, 8], [0.0, 0, 9, 8]], recipe=ProposalLossRecipe(positions=4))
    assert found.objects.tolist() == [1, 0, 0, 0]


def test_objects_smaller_than_the_grid_are_learned_nearby():
    found = assigned([[4.4, 4.4, 5.4, 5.4]])
    assert found.objects.tolist() == [0, -1, -1, -1]


def test_automatic_masks_are_to_be_called_less_good():
    full, half = (assigned([[8.0, 0, 16, 8]], weights=[weight]) for weight in (1.0, 0.5))
    assert full.quality[1] == pytest.approx(1)
    assert half.quality[1] == pytest.approx(0.5)


def test_generalised_iou_of_known_boxes():
    one = torch.tensor([0.0, 0, 2, 2])
    others = torch.tensor([[0.0, 0, 2, 2], [1.0, 0, 3, 2], [4.0, 0, 6, 2]])
    assert box_iou(one, others).tolist() == pytest.approx([1, 1 / 3, 0])
    assert generalised_iou(one, others).tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_perfect_predictions_cost_nothing():
    truths = torch.tensor([[8.0, 0, 16, 8]])
    found = assigned(truths.tolist())
    logits = torch.where(found.quality > 0, 40.0, -40.0)
    losses = proposal_losses(
        logits,
        boxes_around(CENTERS, 4),
        truths,
        found,
        counts_N=torch.ones(4, dtype=torch.bool),
        focus=2.0,
    )
    assert float(losses.objectness) == pytest.approx(0, abs=1e-6)
    assert float(losses.boxes) == pytest.approx(0, abs=1e-6)
    assert float(losses.total_quality) == pytest.approx(1)


def test_padding_does_not_count():
    counts = torch.tensor([True, False, False, False])
    losses = proposal_losses(
        torch.zeros(4),
        boxes_around(CENTERS, 4),
        torch.zeros(0, 4),
        assigned([]),
        counts_N=counts,
        focus=2.0,
    )
    assert float(losses.objectness) == pytest.approx(0.25 * math.log(2))
