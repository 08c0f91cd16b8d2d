"""Which of a frame's candidates is the object: by predicted IoU, motion, and what is like it.

Shape legend: M candidates, L side of the mask logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.geometry import box_iou, boxes_from_masks
from samkit.video.box_motion import BoxMotion

# Of motion: frames after which it counts, and predicted IoU below which a box is not believed.
STABLE_FRAMES, TRUSTED_IOU = 15, 0.3
# Of boxes of an object with and without what is beyond it in another candidate.
RIVAL_BOX_IOU = 0.7


@dataclass(frozen=True)
class Choice:
    """The chosen candidate of an object, and what becomes of its motion; see `Sam2Answer`."""

    candidate: int
    motion: BoxMotion | None = None
    motion_iou: float | None = None
    has_rival: bool = False


def has_rival(seen: BoolArray, chosen: int) -> bool:
    """Whether a candidate (M, L, L) reaches far beyond the chosen one.

    Source: arXiv:2411.17576, section 3.2.
    """
    mask = seen[chosen]
    for other in np.delete(seen, chosen, axis=0):
        beyond = (other & ~mask).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(beyond)
        if count == 1:
            continue
        largest = parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
        boxes = boxes_from_masks(np.stack([mask, mask | largest]))
        if box_iou(boxes[0], boxes[1]) <= RIVAL_BOX_IOU:
            return True
    return False


def choose_by_motion(
    seen: BoolArray,
    iou_pred: npt.NDArray[np.float32],
    motion: BoxMotion | None,
    weight: float,
) -> Choice:
    """Choose among candidates by predicted IoU and, once it is reliable, by motion.

    Args:
        seen: (M, L, L), the candidates' masks.
        iou_pred: (M,).
        motion: in the frame before; None at the start.
        weight: of the motion.

    Source: arXiv:2411.11922, section 4.1.
    """
    boxes = boxes_from_masks(seen).astype(np.float64)
    predicted = None if motion is None else motion.predicted()
    motion_iou = None
    scores = np.asarray(iou_pred, np.float64)
    if predicted is not None and predicted.stable >= STABLE_FRAMES:
        ious = box_iou(predicted.box_xyxy, boxes)
        scores = weight * ious + (1 - weight) * scores
        motion_iou = float(ious[scores.argmax()])
    chosen = int(scores.argmax())
    box, is_empty = boxes[chosen], not boxes[chosen].any()
    if predicted is None:
        return Choice(chosen, None if is_empty else BoxMotion.start(box))
    if iou_pred[chosen] < TRUSTED_IOU:  # the box is not to be relied on: begin anew
        return Choice(chosen, None, motion_iou)
    return Choice(chosen, predicted if is_empty else predicted.updated(box), motion_iou)
