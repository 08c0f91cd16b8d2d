"""What the tracker on frozen features remembers of an object.

Shape legend: S side of the logits space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from samkit.arrays import FloatImage, Logits
from samkit.video.box_motion import BoxMotion
from samkit.video.decoder_votes import Votes
from samkit.video.pixel_classifier import Moments

AREA_SHARE = 0.2  # weight of the latest area in the moving average
SIZE_SHRINKS = 0.98  # per frame, of an object's size when less of it is seen
MOST_COASTED = 30  # frames for which a place is predicted without being seen


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenMask:
    """A mask in a frame, as the memory has it.

    Attributes:
        index: of the frame.
        logits: (S, S).
        lab: the frame's colours, see `FrameFeatures`.
        grey: the frame's picture for flow.
        moments: of the classifier up to and with this frame.
        motion: of the object's box, in cells, up to and with this frame.
        votes: what the decoder's word is worth, by the confirmed frame.
        centre: what the classifier says of a pixel that may as well be outside, likewise.
    """

    index: int
    logits: Logits
    lab: FloatImage
    grey: npt.NDArray[np.uint8]
    moments: Moments
    motion: BoxMotion
    votes: Votes
    centre: float

    def predicted(self, index: int) -> BoxMotion:
        """The motion in another frame."""
        motion = self.motion
        for _ in range(min(abs(index - self.index), MOST_COASTED)):
            motion = motion.predicted()
        return motion


@dataclass(kw_only=True)
class ObjectMemory:
    """What is known of one object.

    Attributes:
        confirmed: the masks of confirmed frames.
        latest: the mask tracked last; None right after a confirmed frame.
        scales: of the features' levels, from the first frame.
        is_lost: whether the object was absent in the frame tracked last.
        area: of masks that were certain, in cells: a moving average.
        size: area of the object when all of it is seen: the largest of late.
    """

    confirmed: dict[int, SeenMask] = field(default_factory=dict)
    latest: SeenMask | None = None
    scales: Tensor | None = None
    is_lost: bool = False
    area: float = 0.0
    size: float = 0.0

    def see(self, *, area: float, is_first: bool) -> None:
        """Note the area of a mask that is certain."""
        self.is_lost = False
        self.area = area if is_first else self.area + AREA_SHARE * (area - self.area)
        self.size = area if is_first else max(SIZE_SHRINKS * self.size, area)

    def anchors(self, index: int, *, reverse: bool) -> list[SeenMask]:
        """The confirmed masks that count for a frame, the nearest last."""
        known = [
            one for at, one in self.confirmed.items() if (at >= index if reverse else at <= index)
        ]
        return sorted(known, key=lambda one: -abs(one.index - index))


def mean_moments(masks: Sequence[SeenMask]) -> Moments:
    """Mean of the moments of masks."""
    return Moments(
        features=sum((one.moments.features for one in masks[1:]), masks[0].moments.features)
        / len(masks),
        target=sum((one.moments.target for one in masks[1:]), masks[0].moments.target) / len(masks),
    )
