"""Boxes that a proposal head finds, as prompts instead of a grid of points.

The idea is that of FastSAM (arXiv:2306.12156) and MobileSAMv2 (arXiv:2312.09579): first all
objects, then their masks. Here the detector is a small head on features that are there anyway.

Shape legend: N positions, K boxes, C channels, G side of the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray
from samkit.geometry import nms

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor

    from samkit.models import ProposalHead

# Boxes of larger IoU are duplicates. Masks are compared again, by `AutoMaskConfig.box_nms_thresh`.
BOX_NMS_THRESH = 0.7
MIN_SIDE_PX = 1.0  # of boxes, in the model's input
CANDIDATES = 2000  # positions of highest objectness that are looked at


def propose_boxes(
    head: ProposalHead,
    features_1CGG: Tensor,
    visible_wh: tuple[float, float],
    limit: int,
    *,
    thresh: float = 0.0,
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    """Find boxes in an image, without duplicates.

    Args:
        visible_wh: size of the image in the model's input, to which boxes are clipped.
        limit: maximum number of boxes.
        thresh: minimum objectness.

    Returns:
        boxes (K, 4) in pixels of the model's input, best first, and their objectness (K,).
    """
    import torch

    with torch.no_grad():
        features = head.crop(features_1CGG, visible_wh)
        logits, boxes = head(features)
        scores_N = logits[0].sigmoid()
        centers_N2 = head.centers(*features.shape[-2:])
        size = torch.tensor(visible_wh, dtype=torch.float32, device=boxes.device)
        inside = (centers_N2.to(boxes.device) < size).all(-1)
        scores_N = torch.where(inside, scores_N, -1.0)
        scores, index = scores_N.topk(min(CANDIDATES, len(scores_N)))
        found = boxes[0, index].clamp(min=0).minimum(size.repeat(2))
        sides = found[:, 2:] - found[:, :2]
        good = (scores >= max(thresh, 0.0)) & (sides >= MIN_SIDE_PX).all(-1)
        boxes_xyxy = found[good].double().cpu().numpy()
        objectness = scores[good].cpu().numpy()
    selected = nms(boxes_xyxy, np.arange(len(boxes_xyxy)), BOX_NMS_THRESH)[:limit]
    return boxes_xyxy[selected], objectness[selected]


def mask_scores(
    objectness: npt.NDArray[np.float32], iou_pred: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Scores (K,) of masks: how good a box was said to be, and how good its mask."""
    scores: npt.NDArray[np.float32] = np.sqrt(objectness * iou_pred.clip(0, 1))
    return scores
