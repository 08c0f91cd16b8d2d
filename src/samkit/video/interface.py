"""The interface of trackers: what follows objects through frames, one for each family of models.

A tracker keeps nothing between calls: what it knows of an object is in that object's memory, which
`start` makes and only the tracker reads. `Video` keeps the memories, the prompts and the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from samkit.arrays import BoolArray, Logits, RgbImage
from samkit.geometry import MASK_THRESHOLD, CoordMap, logits_to_original
from samkit.types import Prompts

# "uncertain": the object is likely there, but the mask is not one to learn from.
State = Literal["present", "uncertain", "absent"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectAnswer:
    """The answer for one object in one frame.

    Attributes:
        logits: (S, S) in the logits space of `coords`; above 0 is inside.
        coords: the frame's coordinate spaces.
        score: predicted IoU of the mask, from 0 to 1.
        state: of an absent object the mask is empty, whatever its logits.
        exact: the mask (H, W) where it was given, and is more than the logits know.
    """

    logits: Logits
    coords: CoordMap
    score: float
    state: State = "present"
    exact: BoolArray | None = None

    def mask(self) -> BoolArray:
        """The mask (H, W) at the frame's size."""
        if self.state == "absent":
            return np.zeros(self.coords.original_hw, bool)
        if self.exact is not None:
            return self.exact
        return np.asarray(logits_to_original(self.logits, self.coords) > MASK_THRESHOLD)


class Tracker(Protocol):
    """Follows objects; memories are of the family's own type."""

    def describe(self) -> dict[str, Any]:
        """Name and settings, as JSON: all besides the model that answers depend on."""
        ...

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        """The coordinate spaces of frames of a size."""
        ...

    def encode(self, frame: RgbImage) -> Any:
        """Encode a frame: the expensive step, once for all objects."""
        ...

    def start(self) -> Any:
        """The memory of a new object: empty."""
        ...

    def prompt(
        self, features: Any, memory: Any, index: int, prompts: Prompts, previous: Logits | None
    ) -> ObjectAnswer:
        """Answer one prompt of an object.

        Args:
            features: of the frame.
            memory: the object's.
            index: of the frame.
            prompts: one prompt: all points of this frame, or a box, or a mask.
            previous: logits (S, S) of the answer that the points correct; None without.
        """
        ...

    def track(
        self, features: Any, memories: Sequence[Any], index: int, *, reverse: bool
    ) -> list[ObjectAnswer]:
        """Find objects in a frame, all together.

        Of the confirmed frames only those count that lie before this one in the direction of
        tracking, so that a later correction does not change earlier frames. The answer for one
        object does not depend on the others.
        """
        ...

    def memorise(
        self,
        features: Any,
        memory: Any,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        """Put an answer into an object's memory, after overlaps were settled.

        Args:
            prompted: whether the frame is confirmed; it then stays until `release`, and what was
                tracked before it counts no longer.
            reverse: the direction of tracking.
        """
        ...

    def release(self, memory: Any, index: int | None = None) -> None:
        """Forget a confirmed frame, or, without an index, all that was tracked."""
        ...
