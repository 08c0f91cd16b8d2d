"""Box areas, box IoU and non-maximum suppression.

Boxes are (x0, y0, x1, y1) with exclusive far edges, of any numeric type.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[Any]
# Pixels by which the search below is widened, so that rounding never narrows it.
SEARCH_SLACK = 1e-3


def box_areas(boxes_xyxy: Boxes) -> npt.NDArray[np.float64]:
    """Areas (...,) of boxes (..., 4)."""
    sides = np.asarray(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], np.float64)
    areas: npt.NDArray[np.float64] = sides.prod(axis=-1)
    return areas


def box_iou(one: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes (..., 4), broadcast; 0 for boxes without area."""
    shared = _shared_areas(one, others)
    union = box_areas(one) + box_areas(others) - shared
    iou: npt.NDArray[np.float64] = shared / np.where(union > 0, union, 1)
    return iou


def least_iou(one: Boxes, inner: Boxes, outer: Boxes) -> npt.NDArray[np.float64]:
    """Lower bound of the IoU of boxes (..., 4) with any box between `inner` and `outer`."""
    union = box_areas(one) + box_areas(outer) - _shared_areas(one, outer)
    iou: npt.NDArray[np.float64] = _shared_areas(one, inner) / np.where(union > 0, union, 1)
    return iou


def nms(
    boxes_xyxy: Boxes, order: npt.NDArray[np.int64], iou_thresh: float
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression: keep each box that overlaps no box kept before it.

    Args:
        boxes_xyxy: (K, 4).
        order: indices of all boxes or some of them, the most preferred first.
        iou_thresh: boxes with a larger IoU count as overlapping.

    Returns:
        indices of the kept boxes, in the given order.

    Each kept box is compared only with boxes whose left edge is near its own: an IoU above t needs
    widths within a factor of t, and so left edges at most (1 - t) / t widths apart. The work then
    grows with the local density of boxes, not with their total number.
    """
    by_left = order[np.argsort(boxes_xyxy[order, 0], kind="stable")]
    boxes = np.asarray(boxes_xyxy[by_left], np.float64)
    left, width = boxes[:, 0], boxes[:, 2] - boxes[:, 0]
    reach = width * (1 - iou_thresh) / iou_thresh if iou_thresh > 0 else np.inf
    starts = np.searchsorted(left, left - reach - SEARCH_SLACK)
    stops = np.searchsorted(left, left + width * (1 - iou_thresh) + SEARCH_SLACK, side="right")
    place = np.empty(len(boxes_xyxy), np.int64)  # where each box is in the order by left edges
    place[by_left] = np.arange(len(by_left))

    alive = np.ones(len(by_left), bool)
    selected = []
    for number in order:
        at = place[number]
        if not alive[at]:
            continue
        selected.append(number)
        near = slice(starts[at], stops[at])
        alive[near] &= box_iou(boxes[at], boxes[near]) <= iou_thresh
    return np.array(selected, np.int64)


def _shared_areas(one: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    low = np.maximum(one[..., :2], others[..., :2])
    high = np.minimum(one[..., 2:], others[..., 2:])
    shared: npt.NDArray[np.float64] = np.asarray((high - low).clip(0), np.float64).prod(axis=-1)
    return shared
