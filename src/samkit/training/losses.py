"""Losses of masks and of their predicted IoU.

Pixels without ground truth, padding and void ones, are ignored by all of them: prediction cuts
padding off. The paper does not mention padding.

Shape legend: M masks, K candidates of each, H and W their height and width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.training.settings import check_range


@dataclass(frozen=True, kw_only=True)
class LossRecipe:
    """Weights of the losses. Source: arXiv:2304.02643, appendix A.

    Attributes:
        focal: weight of the focal loss.
        dice: weight of the dice loss.
        iou: weight of the squared error of the predicted IoU.
        click: weight of the cross-entropy at the clicks so far, so that answers obey them; the
            paper has none.
        rejected: weight of the squared error of the predicted IoU of answers to clicks where people
            rejected masks; the paper has none.
        focal_gamma: how strongly pixels that are already right are discounted.
        focal_alpha: weight of foreground pixels; background has 1 - alpha. Both are those of
            arXiv:1708.02002.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    click: float = 0.0
    rejected: float = 0.0
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25

    def __post_init__(self) -> None:
        for name in ("focal", "dice", "iou", "click", "rejected", "focal_gamma"):
            check_range(name, getattr(self, name), 0)
        check_range("focal_alpha", self.focal_alpha, 0, 1)


class MaskLosses(NamedTuple):
    """Losses of M masks, each a scalar mean except `chosen`.

    Attributes:
        total: weighted sum to backpropagate.
        focal, dice: losses of the best candidates.
        iou_error: squared error of the predicted IoU, over all candidates.
        iou: true IoU of the candidate with the highest predicted IoU.
        chosen: (M,) index of the candidate with the highest predicted IoU.
    """

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou_error: Tensor
    iou: Tensor
    chosen: Tensor


def focal_loss(
    logits: Tensor, truth: Tensor, *, gamma: float, alpha: float, ignored: Tensor | None = None
) -> Tensor:
    """Focal loss: cross-entropy that discounts pixels that are already right, mean over pixels.

    With p the predicted probability of the true class: -alpha_t (1 - p)^gamma log p.

    Args:
        logits: (..., H, W).
        truth: ground truth, 0 or 1, broadcast to the logits.
        gamma: 0 gives cross-entropy.
        alpha: weight of foreground; background has 1 - alpha.
        ignored: bool, pixels that do not count, broadcast to the logits; never all of them.

    Returns:
        loss (...).

    Source: arXiv:1708.02002, equation 5.
    """
    truth = truth.expand_as(logits)
    error = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # Where a pixel is surely right, x^gamma with gamma < 1 would have an infinite slope at 0.
    wrong = (1 - torch.exp(-error)).clamp_min(torch.finfo(error.dtype).tiny)
    weight = alpha * truth + (1 - alpha) * (1 - truth)
    loss = weight * wrong**gamma * error
    if ignored is None:
        return loss.mean((-2, -1))
    return loss.masked_fill(ignored, 0).sum((-2, -1)) / (~ignored).sum((-2, -1))


def dice_loss(logits: Tensor, truth: Tensor, *, ignored: Tensor | None = None) -> Tensor:
    """1 - 2 |A B| / (|A| + |B|) of the probabilities and the ground truth, each sum plus 1.

    The 1 keeps the loss defined for empty masks. Arguments are as in `focal_loss`; no ignored pixel
    is in the ground truth. Source: arXiv:1606.04797.
    """
    probability = logits.sigmoid()
    if ignored is not None:
        probability = probability.masked_fill(ignored, 0)
    shared = (probability * truth).sum((-2, -1))
    sizes = probability.sum((-2, -1)) + truth.sum((-2, -1))
    return 1 - (2 * shared + 1) / (sizes + 1)


def click_loss(logits: Tensor, cells_xy: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy at clicked cells, mean over the clicks of each mask; 0 without clicks.

    Args:
        logits: (M, K, H, W).
        cells_xy: (M, N, 2) integers.
        labels: (M, N): 1 foreground, 0 background, -1 no click.

    Returns:
        loss (M, K).
    """
    index = cells_xy[..., 1] * logits.shape[-1] + cells_xy[..., 0]
    at = logits.flatten(2).gather(2, index[:, None].expand(-1, logits.shape[1], -1))
    error = nn.functional.softplus(torch.where(labels[:, None] == 1, -at, at))
    is_click = (labels >= 0)[:, None].to(error.dtype)
    return (error * is_click).sum(-1) / is_click.sum(-1).clamp(min=1)


@torch.no_grad()
def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU (...) of bool masks (..., H, W); 1 where both are empty."""
    shared = (predicted & truth).sum((-2, -1))
    union = (predicted | truth).sum((-2, -1))
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)


def mask_losses(
    logits: Tensor,
    iou_pred: Tensor,
    truth: Tensor,
    recipe: LossRecipe,
    *,
    ignored: Tensor | None = None,
    clicks: tuple[Tensor, Tensor] | None = None,
    offered: Tensor | None = None,
) -> MaskLosses:
    """Losses of predicted masks with several candidates each.

    Only the candidate with the lowest mask loss is trained: an ambiguous prompt has several right
    answers. The predicted IoUs of all candidates are trained, since they are compared.

    Args:
        logits: (M, K, H, W).
        iou_pred: (M, K).
        truth: ground truth (M, H, W), bool, without ignored pixels.
        ignored: (M, H, W) bool, pixels that do not count.
        clicks: cells and labels, as `click_loss` takes them; needed if `recipe.click` is over 0.
        offered: (M, K) bool, candidates that count, at least one of each mask; None for all.

    Source: arXiv:2304.02643, section 3 and appendix A, which do not say for which candidates the
    predicted IoU is trained.
    """
    logits, iou_pred = logits.float(), iou_pred.float()
    target = truth[:, None].float()
    if ignored is not None:
        ignored = ignored[:, None]
    focal = focal_loss(
        logits, target, gamma=recipe.focal_gamma, alpha=recipe.focal_alpha, ignored=ignored
    )
    dice = dice_loss(logits, target, ignored=ignored)
    combined = recipe.focal * focal + recipe.dice * dice  # (M, K)
    if recipe.click > 0:
        assert clicks is not None
        combined = combined + recipe.click * click_loss(logits, *clicks)
    if offered is not None:
        combined = combined.masked_fill(~offered, torch.inf)
    best = combined.argmin(1, keepdim=True)
    predicted = logits > 0 if ignored is None else (logits > 0) & ~ignored
    iou = mask_iou(predicted, truth[:, None])
    if offered is None:
        iou_error = (iou_pred - iou).square().mean()
        chosen = iou_pred.argmax(1, keepdim=True)
    else:
        iou_error = ((iou_pred - iou).square() * offered).sum() / offered.sum()
        chosen = iou_pred.masked_fill(~offered, -torch.inf).argmax(1, keepdim=True)
    return MaskLosses(
        total=combined.gather(1, best).mean() + recipe.iou * iou_error,
        focal=focal.gather(1, best).mean().detach(),
        dice=dice.gather(1, best).mean().detach(),
        iou_error=iou_error.detach(),
        iou=iou.gather(1, chosen).mean(),
        chosen=chosen.squeeze(1),
    )
