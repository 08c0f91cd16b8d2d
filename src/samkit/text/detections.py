"""Detected boxes, each with its phrase and score.

Shape legend: K detected boxes, Q boxes that a network proposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.errors import PromptError


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """K detected boxes, the best first.

    Attributes:
        boxes_xyxy: (K, 4) in pixels, within the image, none of them empty.
        scores: (K,) from 0 to 1.
        phrases: the K phrases that the boxes show.
    """

    boxes_xyxy: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    phrases: tuple[str, ...]

    def __post_init__(self) -> None:
        boxes, scores, count = self.boxes_xyxy, self.scores, len(self.phrases)
        if boxes.shape != (count, 4) or scores.shape != (count,):
            raise PromptError(
                f"{count} phrases need boxes ({count}, 4) and scores ({count},);"
                f" got {boxes.shape} and {scores.shape}"
            )
        if not np.isfinite(boxes).all() or (boxes < 0).any():
            raise PromptError("boxes must be finite and within the image; clip them to it")
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise PromptError(
                "boxes are x0, y0, x1, y1 with x0 < x1 and y0 < y1; leave out empty ones"
            )
        if not ((scores >= 0) & (scores <= 1)).all():
            raise PromptError("scores must be from 0 to 1")
        if (np.diff(scores) > 0).any():
            raise PromptError("boxes must be ordered by score, the highest first: sort them")

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.phrases)

    def select(self, index: npt.NDArray[Any]) -> Detections:
        """Some of the boxes, by a boolean mask or increasing indices.

        Raises:
            PromptError: the selection is not ordered by score.
        """
        numbers = np.arange(len(self))[index]
        return Detections(
            boxes_xyxy=self.boxes_xyxy[numbers],
            scores=self.scores[numbers],
            phrases=tuple(self.phrases[number] for number in numbers),
        )


def to_pixels(
    relative: npt.NDArray[np.float64], input_wh: tuple[int, int], size_hw: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Convert relative boxes (Q, 4), centres and sizes, to corners in pixels of the image.

    The network's input, `input_wh` pixels large, and the image share their upper left corner. Boxes
    are clipped to the image.
    """
    centres, halves = relative[:, :2], relative[:, 2:] / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1) * np.tile(input_wh, 2)
    clipped: npt.NDArray[np.float64] = corners.clip(0, np.tile(size_hw[::-1], 2))
    return clipped


def order_boxes(
    boxes_xyxy: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float32],
    phrases: Sequence[str],
    thresh: float,
) -> Detections:
    """Those of Q boxes with an area and a score above the threshold, the best first."""
    good = (scores > thresh) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    order = np.argsort(-scores, kind="stable")
    order = order[good[order]]
    return Detections(
        boxes_xyxy=boxes_xyxy[order],
        scores=scores[order],
        phrases=tuple(phrases[number] for number in order),
    )
