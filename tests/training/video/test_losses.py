"""Losses of objects that may be absent."""

import pytest
import torch

from samkit.training.losses import LossRecipe, mask_losses
from samkit.training.video.losses import VideoLossRecipe, mean_losses, object_losses


@pytest.fixture
def answer():
    torch.manual_seed(1)
    truth = torch.rand(3, 8, 8) > 0.6
    return {
        "logits": torch.randn(3, 3, 8, 8),
        "iou_pred": torch.rand(3, 3),
        "object_logits": torch.tensor([2.0, -1.0, 0.5]),
        "truth": truth,
    }


def test_masks_are_compared_as_in_the_training_on_images(answer):
    losses = object_losses(**answer, recipe=VideoLossRecipe())
    expected = mask_losses(answer["logits"], answer["iou_pred"], answer["truth"], LossRecipe(iou=0))
    torch.testing.assert_close(losses.focal, expected.focal)
    torch.testing.assert_close(losses.dice, expected.dice)
    torch.testing.assert_close(losses.iou, expected.iou)
    rest = losses.iou_error + losses.object_error
    torch.testing.assert_close(losses.total, expected.total + rest)


def test_the_predicted_iou_of_all_candidates_has_an_absolute_error(answer):
    predicted, truth = answer["logits"] > 0, answer["truth"][:, None]
    iou = (predicted & truth).sum((2, 3)) / (predicted | truth).sum((2, 3))
    losses = object_losses(**answer, recipe=VideoLossRecipe())
    torch.testing.assert_close(losses.iou_error, (answer["iou_pred"] - iou).abs().mean())


def test_all_candidates_can_be_trained_alike(answer):
    alone = [
        object_losses(
            **answer | {"logits": answer["logits"][:, [n]], "iou_pred": answer["iou_pred"][:, [n]]},
            recipe=VideoLossRecipe(iou=0),
        ).total
        for n in range(3)
    ]
    losses = object_losses(**answer, recipe=VideoLossRecipe(iou=0), others=1.0)
    torch.testing.assert_close(losses.total, torch.stack(alone).mean())
    best = object_losses(**answer, recipe=VideoLossRecipe(iou=0)).total
    half = object_losses(**answer, recipe=VideoLossRecipe(iou=0), others=0.5)
    torch.testing.assert_close(half.total, (3 * losses.total + best) / 4)  # (1 + .5 + .5) / 2


def test_absent_objects_have_an_object_score_alone(answer):
    answer["truth"][1] = False
    full = object_losses(**answer, recipe=VideoLossRecipe())
    there = {name: value[[0, 2]] for name, value in answer.items()}
    some = object_losses(**there, recipe=VideoLossRecipe())
    torch.testing.assert_close(full.focal, some.focal)
    torch.testing.assert_close(full.iou_error, some.iou_error)
    softplus = torch.nn.functional.softplus(torch.tensor([-2.0, -1.0, -0.5]))
    torch.testing.assert_close(full.object_error, softplus.mean())
    masks = some.total - some.object_error
    torch.testing.assert_close(full.total, masks * 2 / 3 + full.object_error)


def test_masks_of_absent_objects_have_no_gradient(answer):
    answer["truth"][1] = False
    answer["logits"].requires_grad_(True)
    object_losses(**answer, recipe=VideoLossRecipe()).total.backward()
    steps = answer["logits"].grad.abs().sum((2, 3))
    assert (steps[1] == 0).all()
    assert ((steps[[0, 2]] > 0).sum(1) == 1).all()  # the best candidate of each


def test_where_all_are_absent_nothing_is_divided_by_zero(answer):
    answer["truth"][:] = False
    losses = object_losses(**answer, recipe=VideoLossRecipe())
    torch.testing.assert_close(losses.total, losses.object_error)
    total, parts = mean_losses([losses])
    assert torch.isfinite(total)
    assert float(parts["iou"]) == 0


def test_means_are_of_the_objects_that_are_there(answer):
    all_there = object_losses(**answer, recipe=VideoLossRecipe())
    answer["truth"][:] = False
    none = object_losses(**answer, recipe=VideoLossRecipe())
    total, parts = mean_losses([all_there, none])
    torch.testing.assert_close(total, (all_there.total + none.total) / 2)
    torch.testing.assert_close(parts["dice"], all_there.dice)
