"""Losses of the masks of objects that may be absent.

Source: arXiv:2408.00714, appendix D.2. Shape legend: P objects, M candidates of each, H and W their
height and width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.training.losses import dice_loss, focal_loss, mask_iou
from samkit.training.settings import check_range


@dataclass(frozen=True, kw_only=True)
class VideoLossRecipe:
    """Weights of the losses; the defaults are the paper's.

    Attributes:
        focal: weight of the focal loss.
        dice: weight of the dice loss.
        iou: weight of the error of the predicted IoU.
        object: weight of the cross-entropy of the object score.
        others: weight of the mask losses of each candidate that is not the best, in frames that are
            found by memory alone. Nothing is ambiguous there, but candidates may become different
            objects of a frame, and the loss falls without memory; the paper has none.
        focal_gamma, focal_alpha: see `LossRecipe`.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    object: float = 1.0
    others: float = 0.0
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25

    def __post_init__(self) -> None:
        for name in ("focal", "dice", "iou", "object", "others", "focal_gamma"):
            check_range(name, getattr(self, name), 0)
        check_range("focal_alpha", self.focal_alpha, 0, 1)


class ObjectLosses(NamedTuple):
    """Losses of P objects in a frame, each a scalar.

    Attributes:
        total: weighted sum to backpropagate.
        focal, dice: means over the objects that are there, of their best candidates.
        iou_error: error of the predicted IoU, likewise, over all candidates.
        object_error: cross-entropy of the object score, over all objects.
        iou: true IoU of the candidates with the highest predicted IoU, of the objects that are
            there.
        fraction: of the objects that are there.
    """

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou_error: Tensor
    object_error: Tensor
    iou: Tensor
    fraction: Tensor


def object_losses(
    logits: Tensor,
    iou_pred: Tensor,
    object_logits: Tensor,
    truth: Tensor,
    recipe: VideoLossRecipe,
    *,
    others: float = 0.0,
) -> ObjectLosses:
    """Losses of predicted masks, of their predicted IoU and of whether the objects are there.

    Only the candidate with the lowest mask loss is trained, unless `others` says otherwise, but the
    predicted IoUs of all. Masks of absent objects have no loss.

    Args:
        logits: (P, M, H, W).
        iou_pred: (P, M).
        object_logits: (P,).
        truth: (P, H, W) bool, empty where an object is absent.
        recipe: weights, in which `others` is not used.
        others: weight of the mask losses of each candidate that is not the best: the total is the
            weighted mean over candidates, so that with 1 all are trained alike.
    """
    logits, iou_pred = logits.float(), iou_pred.float()
    is_there = truth.flatten(1).any(1).float()
    count = is_there.sum().clamp(min=1)
    target = truth[:, None].float()
    focal = focal_loss(logits, target, gamma=recipe.focal_gamma, alpha=recipe.focal_alpha)
    dice = dice_loss(logits, target)
    combined = recipe.focal * focal + recipe.dice * dice
    best = combined.argmin(1, keepdim=True)
    weights = torch.full_like(combined, others).scatter(1, best, 1.0)

    def mean(per_object: Tensor) -> Tensor:
        return (per_object * is_there).sum() / count

    of_masks = mean((combined * weights).sum(1) / weights.sum(1))
    iou = mask_iou(logits > 0, truth[:, None])
    chosen = iou_pred.argmax(1, keepdim=True)
    best_focal, best_dice = mean(focal.gather(1, best)[:, 0]), mean(dice.gather(1, best)[:, 0])
    iou_error = mean((iou_pred - iou).abs().mean(1))
    object_error = nn.functional.binary_cross_entropy_with_logits(object_logits.float(), is_there)
    fraction = is_there.mean()
    # A mean over all objects, so that frames in which few are there weigh less.
    return ObjectLosses(
        total=(of_masks + recipe.iou * iou_error) * fraction + recipe.object * object_error,
        focal=best_focal.detach(),
        dice=best_dice.detach(),
        iou_error=iou_error.detach(),
        object_error=object_error.detach(),
        iou=mean(iou.gather(1, chosen)[:, 0]),
        fraction=fraction,
    )


def mean_losses(answers: list[ObjectLosses]) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean loss of several answers, and its parts to log, of the objects that are there."""
    total = torch.stack([one.total for one in answers]).mean()
    there = torch.stack([one.fraction for one in answers])
    parts = {
        name: (torch.stack([getattr(one, name) for one in answers]) * there).sum()
        / there.sum().clamp(min=1e-6)
        for name in ("focal", "dice", "iou_error", "iou")
    }
    parts["object_error"] = torch.stack([one.object_error for one in answers]).mean()
    return total, parts
