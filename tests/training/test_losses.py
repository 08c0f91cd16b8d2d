"""Properties of the losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from samkit.training.losses import (
    LossRecipe,
    click_loss,
    dice_loss,
    focal_loss,
    mask_iou,
    mask_losses,
)

TOLERANCE = 1e-6


@pytest.fixture
def logits():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def truth():
    return torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.6


def test_focal_loss_with_gamma_0_is_cross_entropy(logits, truth):
    target = truth[:, None].float().expand_as(logits)
    expected = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    found = focal_loss(logits, target, gamma=0, alpha=0.5)
    torch.testing.assert_close(found, 0.5 * expected.mean((-2, -1)))


def test_focal_loss_by_hand():
    # p = 0.8 in the mask: -0.25 * 0.2^2 * ln 0.8; p = 0.8 outside of it: -0.75 * 0.8^2 * ln 0.2
    logit = torch.full((1, 1), math.log(4.0))
    inside = focal_loss(logit, torch.ones(1, 1), gamma=2, alpha=0.25)
    outside = focal_loss(logit, torch.zeros(1, 1), gamma=2, alpha=0.25)
    assert inside.item() == pytest.approx(-0.25 * 0.04 * math.log(0.8), rel=1e-5)
    assert outside.item() == pytest.approx(-0.75 * 0.64 * math.log(0.2), rel=1e-5)


def test_focal_loss_discounts_what_is_right(logits, truth):
    target = truth[:, None].float()
    plain = focal_loss(logits, target, gamma=0, alpha=0.25)
    assert (focal_loss(logits, target, gamma=2, alpha=0.25) < plain).all()


def test_dice_loss_by_hand():
    truth = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    sure = torch.tensor([[50.0, -50.0, 50.0, -50.0]])  # one of two, and one too many
    assert dice_loss(sure, truth).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert dice_loss((truth - 0.5) * 100, truth).item() == pytest.approx(0, abs=TOLERANCE)


def test_dice_loss_does_not_depend_on_the_empty_surroundings(truth):
    logits = (truth.float() - 0.5) * 4 - 0.3
    wide = functional.pad(logits, (8, 8, 8, 8), value=-100.0)
    wide_truth = functional.pad(truth, (8, 8, 8, 8)).float()
    torch.testing.assert_close(dice_loss(wide, wide_truth), dice_loss(logits, truth.float()))


def test_iou_of_masks(truth):
    assert mask_iou(truth, truth).tolist() == [1.0] * 4
    assert mask_iou(truth, ~truth).tolist() == [0.0] * 4
    empty = torch.zeros_like(truth)
    assert mask_iou(empty, empty).tolist() == [1.0] * 4
    a, b = torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]])
    assert mask_iou(a, b).item() == pytest.approx(1 / 3)


def test_only_the_best_candidate_learns_its_mask(logits, truth):
    logits = logits.clone()
    logits[:, 1] = (truth.float() - 0.5) * 3  # the best by far
    logits.requires_grad_()
    mask_losses(logits, torch.full((4, 3), 0.5), truth, LossRecipe()).total.backward()
    assert logits.grad[:, 1].abs().sum() > 0
    assert logits.grad[:, [0, 2]].abs().sum() == 0


def test_the_predicted_iou_of_all_candidates_learns(logits, truth):
    iou_pred = torch.full((4, 3), 0.9, requires_grad=True)
    losses = mask_losses(logits, iou_pred, truth, LossRecipe())
    losses.total.backward()
    true_iou = mask_iou(logits > 0, truth[:, None])
    torch.testing.assert_close(iou_pred.grad, 2 * (0.9 - true_iou) / 12)
    assert losses.iou_error.item() == pytest.approx((0.9 - true_iou).square().mean().item())


def test_the_total_is_20_focal_and_1_dice_and_the_iou_error(logits, truth):
    iou_pred = torch.rand(4, 1, generator=torch.Generator().manual_seed(2))
    losses = mask_losses(logits[:, :1], iou_pred, truth, LossRecipe())
    expected = 20 * losses.focal + losses.dice + losses.iou_error
    torch.testing.assert_close(losses.total, expected)


def test_the_chosen_candidate_is_the_one_the_model_believes_in(logits, truth):
    iou_pred = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.1, 0.2], [0, 0, 1], [0, 1, 0]]).float()
    losses = mask_losses(logits, iou_pred, truth, LossRecipe())
    assert losses.chosen.tolist() == [1, 0, 2, 1]
    picked = logits[torch.arange(4), losses.chosen] > 0
    assert losses.iou.item() == pytest.approx(mask_iou(picked, truth).mean().item())


def test_candidates_that_are_not_offered_take_no_part(logits, truth):
    offered = torch.tensor([[True, False, False]] + [[False, True, True]] * 3)
    iou_pred = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.1, 0.2], [1, 0, 0.5], [1, 1, 0]])
    losses = mask_losses(logits, iou_pred, truth, LossRecipe(), offered=offered)
    first = mask_losses(logits[:1, :1], iou_pred[:1, :1], truth[:1], LossRecipe())
    others = mask_losses(logits[1:, 1:], iou_pred[1:, 1:], truth[1:], LossRecipe())
    assert losses.chosen.tolist() == [0, *(others.chosen + 1).tolist()]
    for name in ("focal", "dice", "iou"):
        mean = (getattr(first, name) + 3 * getattr(others, name)) / 4
        torch.testing.assert_close(getattr(losses, name), mean)
    iou_error = (first.iou_error + 6 * others.iou_error) / 7
    torch.testing.assert_close(losses.iou_error, iou_error)
    total = 20 * losses.focal + losses.dice + losses.iou_error
    torch.testing.assert_close(losses.total, total)


def test_gradients_of_both_losses(truth):
    logits = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    target = truth[:2, :5, :5].double()
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, target, gamma=2, alpha=0.25), logits)
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, target), logits)


def test_losses_of_certain_and_wrong_answers_stay_finite(truth):
    certain = (0.5 - truth.float())[:, None] * 1e4
    losses = mask_losses(certain, torch.zeros(4, 1), truth, LossRecipe())
    assert losses.total.isfinite()


@given(
    st.floats(0, 5),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6),
    st.booleans(),
)
def test_gradients_of_the_focal_loss_are_finite(gamma, values, inside):
    logits = torch.tensor([values], requires_grad=True)
    focal_loss(logits, torch.full((1, 1), float(inside)), gamma=gamma, alpha=0.25).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_pixels_that_are_surely_right_learn_nothing(gamma):
    logits = torch.tensor([[100.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.ones(1, 2), gamma=gamma, alpha=0.25).backward()
    assert logits.grad[0, 0] == 0
    # By hand at p = 1/2: d/dx of -a (1 - p)^g log p is -a (1 - p)^g (g p log(1 / p) + 1 - p).
    slope = -0.25 * 0.5**gamma * (gamma * 0.5 * math.log(2) + 0.5) / 2
    assert logits.grad[0, 1].item() == pytest.approx(slope, rel=1e-5)


def random_ignored(seed=3):
    return torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(seed)) > 0.7


def test_padding_that_is_ignored_changes_no_loss_and_no_gradient(logits, truth):
    """Law: the losses of a padded image are those of the image."""
    iou_pred = torch.rand(4, 3, generator=torch.Generator().manual_seed(2))
    found = []
    for padding in ((0, 0, 0, 0), (0, 5, 0, 3)):
        own = logits.clone().requires_grad_()
        wide = functional.pad(own, padding, value=7.0)  # confident, and wrong
        wide_truth = functional.pad(truth, padding)
        ignored = ~functional.pad(torch.ones_like(truth), padding)
        losses = mask_losses(wide, iou_pred, wide_truth, LossRecipe(), ignored=ignored)
        losses.total.backward()
        found.append((losses, own.grad))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])
    plain = mask_losses(logits, iou_pred, truth, LossRecipe())
    torch.testing.assert_close(found[0][0], plain)


def test_ignored_pixels_learn_nothing_and_may_be_anything(logits, truth):
    ignored = random_ignored()
    iou_pred = torch.full((4, 3), 0.5)
    results = []
    for filling in (-50.0, 50.0):
        own = logits.masked_fill(ignored[:, None], filling).requires_grad_()
        losses = mask_losses(own, iou_pred, truth & ~ignored, LossRecipe(), ignored=ignored)
        losses.total.backward()
        assert own.grad.masked_select(ignored[:, None]).eq(0).all()
        assert own.grad.abs().sum() > 0
        results.append(losses)
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_the_focal_mean_is_over_pixels_that_count(logits, truth):
    ignored = random_ignored()
    target = truth[:, None].float()
    found = focal_loss(logits, target, gamma=2, alpha=0.25, ignored=ignored[:, None])
    for row in range(4):
        known = ~ignored[row]
        expected = focal_loss(
            logits[row][:, known][:, None], target[row][:, known][:, None], gamma=2, alpha=0.25
        )
        torch.testing.assert_close(found[row], expected)


def test_click_loss_is_the_cross_entropy_at_the_clicks(logits):
    cells = torch.tensor([[[1, 2], [7, 0], [3, 3]]] * 4)  # x, y
    labels = torch.tensor([[1, 0, -1], [1, 1, 1], [0, -1, -1], [-1, -1, -1]])
    loss = click_loss(logits, cells, labels)
    softplus = functional.softplus
    first = (softplus(-logits[0, :, 2, 1]) + softplus(logits[0, :, 0, 7])) / 2
    assert torch.allclose(loss[0], first, atol=TOLERANCE)
    assert torch.allclose(loss[2], softplus(logits[2, :, 2, 1]), atol=TOLERANCE)
    assert (loss[3] == 0).all()


def test_the_total_has_the_click_loss_of_the_best_candidate(logits, truth):
    clicks = torch.tensor([[[1, 2]]] * 4), torch.ones(4, 1, dtype=torch.int64)
    iou_pred = torch.zeros(4, 3)
    alone = mask_losses(logits[:, :1], iou_pred[:, :1], truth, LossRecipe())
    added = mask_losses(logits[:, :1], iou_pred[:, :1], truth, LossRecipe(click=0.5), clicks=clicks)
    expected = 0.5 * click_loss(logits[:, :1], *clicks).mean()
    assert torch.allclose(added.total - alone.total, expected, atol=TOLERANCE)
