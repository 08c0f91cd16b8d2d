"""When an object's motion counts: it tells apart what looks the same.

A look-alike that touches an object, or passes in front of it, seems to make it grow at once; then
only what lies where its motion puts it is taken. Sources: SAMURAI, arXiv:2411.11922, for the filter
and when it begins anew; the rules for when it counts are our own, since objects that change their
shape are where they look right, not where a filter of boxes expects them.

Shape legend: S side of the logits space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samkit.arrays import BoolArray, FloatArray, Logits
from samkit.geometry import box_iou
from samkit.video.box_motion import BoxMotion

FAR_AWAY = 0.1  # how much a place counts in the search that is far from the predicted one


@dataclass(frozen=True, kw_only=True)
class MotionRules:
    """Rules by which motion counts. All sizes are in cells of the logits space.

    Attributes:
        jump: multiple of its size from which an object has grown together with something else.
        steady: number of frames from which on motion is known.
        reach: how far around the predicted box the object may then be: cells, and a fraction.
        same_sides: multiples of the predicted box's sides between which a box counts: otherwise the
            object is in part hidden, or not alone.
        lost_iou: IoU with the predicted box below which motion begins anew.
        search_reach: distance from the predicted place at which an object that was absent is less
            likely, as a multiple of its height; it grows with each frame that has passed.
    """

    jump: float = 1.4
    steady: int = 5
    reach: tuple[int, float] = (1, 0.1)
    same_sides: tuple[float, float] = (0.85, 1.18)
    lost_iou: float = 0.3
    search_reach: float = 0.5

    def measured(self, motion: BoxMotion, box_xyxy: FloatArray) -> BoxMotion:
        """The motion after a box (4,) was seen; one that is in part hidden says nothing of it."""
        predicted = motion.box_xyxy
        if box_iou(box_xyxy, predicted).item() < self.lost_iou:
            return BoxMotion.start(box_xyxy)
        least, most = self.same_sides
        ratios = (box_xyxy[2:] - box_xyxy[:2]) / (predicted[2:] - predicted[:2])
        is_all = bool(((least <= ratios) & (ratios <= most)).all())
        return motion.updated(box_xyxy) if is_all else motion

    def possible(self, motion: BoxMotion, area: float, size: float) -> tuple[slice, slice] | None:
        """Rows and columns in which an object may be; None if it may be anywhere.

        Args:
            area: of what is expected to be the object.
            size: its area when all of it is seen.
        """
        if motion.stable < self.steady or area <= self.jump * size:
            return None
        return window_around(motion.box_xyxy, self.reach)

    def likely(self, motion: BoxMotion, side: int) -> Logits:
        """How much places (S, S) count in the search, from 0 to 1."""
        x, y, _, height = motion.mean[:4]
        variance = motion.covariance[0, 0] + (self.search_reach * height) ** 2
        rows, cols = np.ogrid[:side, :side]
        near = np.exp(-((cols + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / (2 * variance))
        return np.asarray(FAR_AWAY + (1 - FAR_AWAY) * near, np.float32)


def cells_of(inside: BoolArray) -> FloatArray:
    """Tight box (4,) of what is inside, in cells."""
    rows, cols = np.nonzero(inside)
    return np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1], np.float64)


def window_around(box_xyxy: FloatArray, reach: tuple[int, float]) -> tuple[slice, slice]:
    """Rows and columns within reach of a box (4,): cells, and a fraction of its sides."""
    cells, fraction = reach
    x0, y0, x1, y1 = box_xyxy
    wider, higher = cells + fraction * (x1 - x0), cells + fraction * (y1 - y0)
    return _between(y0 - higher, y1 + higher), _between(x0 - wider, x1 + wider)


def _between(low: float, high: float) -> slice:
    return slice(max(0, int(low)), max(0, int(np.ceil(high))))
