"""How far the mask decoder is believed of an object: as far as it was right where that is known.

In a confirmed frame the decoder is asked as in any other, and its answer compared with the mask. It
knows the outlines of most objects, but fills the wheels of a bicycle and leaves out a boat's masts:
then what it says counts as much as the share of its pixels that was right.

Shape legend: S side of the logits space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samkit.arrays import BoolArray, Logits

LEAST, MOST = 0.3, 4.0  # of a vote
RING = 8  # cells around the decoder's mask in which it may have missed something


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Logits that the decoder's word is worth when it is sure that a pixel is inside, or outside.

    Attributes:
        inside, outside: log odds that it is right.
    """

    inside: float = MOST
    outside: float = MOST

    def of(self, decoded: Logits, limit: float) -> Logits:
        """Votes (S, S) of the decoder's logits, which count as sure from `limit` on."""
        sure = np.clip(decoded / limit, -1, 1)
        return np.asarray(np.where(sure > 0, self.inside, self.outside) * sure, np.float32)

    @classmethod
    def mean(cls, votes: Sequence[Votes]) -> Votes:
        """The mean of several confirmed frames."""
        return cls(
            inside=float(np.mean([one.inside for one in votes])),
            outside=float(np.mean([one.outside for one in votes])),
        )

    @classmethod
    def where_known(cls, decoded: BoolArray, truth: BoolArray, used_hw: tuple[int, int]) -> Votes:
        """What the decoder's answer (S, S) is worth, by the mask (S, S) that was confirmed.

        Args:
            used_hw: cells that the frame fills.
        """
        if not decoded.any():
            return cls(inside=LEAST, outside=LEAST)
        wide = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
        around = (cv2.dilate(decoded.astype(np.uint8), wide) > 0) & ~decoded
        around[used_hw[0] :] = around[:, used_hw[1] :] = False
        return cls(
            inside=log_odds(float(truth[decoded].mean())),
            outside=log_odds(float(1 - truth[around].mean()) if around.any() else 1.0),
        )


def log_odds(share: float) -> float:
    """Log odds of a share of pixels, within what a vote may be."""
    inner = min(max(share, 1e-3), 1 - 1e-3)
    return min(max(math.log(inner / (1 - inner)), LEAST), MOST)
