"""Which positions of a proposal head learn which objects, and the losses.

Shape legend: B images, N positions, K objects of one image.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from samkit.training.proposals.recipe import ProposalLossRecipe

# Positions this near to the middle of an object that lies between them may learn it, in strides of
# the finest grid.
NEAR = 0.75
EPS = 1e-7


class Assigned(NamedTuple):
    """Targets of the positions of one image.

    Attributes:
        objects: (N,) index of each position's object; -1 for none.
        quality: (N,) target of the objectness; 0 for none.
    """

    objects: Tensor
    quality: Tensor


class ProposalLosses(NamedTuple):
    """Sums over the positions of images, and what to divide them by."""

    objectness: Tensor
    boxes: Tensor
    total_quality: Tensor


def assign(
    objectness_N: Tensor,
    boxes_N4: Tensor,
    centers_N2: Tensor,
    truths_K4: Tensor,
    weights_K: Tensor,
    *,
    near_px: float,
    recipe: ProposalLossRecipe,
) -> Assigned:
    """Assign positions to objects by how well their present predictions fit.

    Args:
        objectness_N: 0 to 1.
        near_px: positions this near to the middle of an object may always learn it.
        weights_K: target of a perfect box of each object.

    Source: task-aligned assignment, arXiv:2108.07755. Deviations: positions near the middle of
    objects smaller than the grid; an object's best target is its weight times the best IoU.
    """
    none = torch.full((len(boxes_N4),), -1, device=boxes_N4.device)
    if not len(truths_K4):
        return Assigned(none, torch.zeros_like(objectness_N))
    low, high = truths_K4[:, None, :2], truths_K4[:, None, 2:]
    inside = ((centers_N2 > low) & (centers_N2 < high)).all(-1)
    inside |= ((centers_N2 - (low + high) / 2).abs() <= near_px).all(-1)  # (K, N)
    iou_KN = torch.where(inside, box_iou(truths_K4[:, None], boxes_N4[None]), 0.0)
    fit_KN = objectness_N * iou_KN**recipe.iou_power
    count = min(recipe.positions, len(boxes_N4))
    best, index = torch.where(inside, fit_KN, -1.0).topk(count, dim=1)
    chosen = torch.zeros_like(inside).scatter_(1, index, best >= 0)
    owned_iou = torch.where(chosen, iou_KN, -1.0)
    owner_N = owned_iou.argmax(0)  # a position of several objects is that of the best IoU
    is_owned = owned_iou.amax(0) >= 0
    chosen &= torch.arange(len(truths_K4), device=inside.device)[:, None] == owner_N
    fit_KN = torch.where(chosen, fit_KN, 0.0)
    best_fit = fit_KN.amax(1, keepdim=True).clamp(min=1e-12)
    best_iou = torch.where(chosen, iou_KN, 0.0).amax(1, keepdim=True)
    quality = (fit_KN / best_fit * best_iou * weights_K[:, None]).amax(0)
    return Assigned(torch.where(is_owned, owner_N, none), quality)


def proposal_losses(
    logits_N: Tensor,
    boxes_N4: Tensor,
    truths_K4: Tensor,
    assigned: Assigned,
    *,
    counts_N: Tensor,
    focus: float,
) -> ProposalLosses:
    """Losses of one image: quality focal loss (arXiv:2006.04388), generalised IoU (1902.09630).

    Args:
        counts_N: bool, positions that count: those of the image, not of its padding.
        focus: see `ProposalLossRecipe`.
    """
    objectness = logits_N.sigmoid()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits_N, assigned.quality, reduction="none"
    )
    error = (objectness - assigned.quality).abs().pow(focus)
    objectness_loss = (entropy * error * counts_N).sum()
    owned = assigned.objects >= 0
    truths = truths_K4[assigned.objects[owned]]
    weights = assigned.quality[owned]
    box_loss = ((1 - generalised_iou(boxes_N4[owned], truths)) * weights).sum()
    return ProposalLosses(objectness_loss, box_loss, assigned.quality.sum())


def box_iou(one: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes (..., 4), broadcast."""
    shared, union, _ = overlaps(one, others)
    return shared / union


def generalised_iou(one: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU of boxes (..., 4), -1 to 1."""
    shared, union, hull = overlaps(one, others)
    return shared / union - (hull - union) / hull


def overlaps(one: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas of the intersection, the union and the smallest box around both."""

    def area(low: Tensor, high: Tensor) -> Tensor:
        sides = (high - low).clamp(min=0)
        return sides[..., 0] * sides[..., 1]

    low_1, high_1, low_2, high_2 = one[..., :2], one[..., 2:], others[..., :2], others[..., 2:]
    shared = area(torch.maximum(low_1, low_2), torch.minimum(high_1, high_2))
    union = area(low_1, high_1) + area(low_2, high_2) - shared
    hull = area(torch.minimum(low_1, low_2), torch.maximum(high_1, high_2))
    return shared, union.clamp(min=EPS), hull.clamp(min=EPS)
