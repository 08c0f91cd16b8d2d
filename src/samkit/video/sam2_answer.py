"""What the tracker of SAM 2 has of a frame, and what it answers.

Shape legend: P objects, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from samkit.geometry import CoordMap
from samkit.models import ImageFeatures, Sam2
from samkit.video.box_motion import BoxMotion
from samkit.video.interface import ObjectAnswer, State
from samkit.video.sam2_memory import MemoryPolicy

UNCERTAIN_IOU = 0.5  # a mask with a lower predicted IoU is not to be relied on


@dataclass(frozen=True, kw_only=True, eq=False)
class Sam2Answer(ObjectAnswer):
    """An answer with what the memory needs of it.

    Attributes:
        object_logit: the object score.
        pointer: (1, C), the object pointer.
        motion: of the box, with this frame; None where it is not followed.
        motion_iou: IoU of the box with the predicted one; None where that is not reliable yet.
        has_rival: whether another candidate reaches something else that is like the object.
    """

    object_logit: float
    pointer: Tensor
    motion: BoxMotion | None = None
    motion_iou: float | None = None
    has_rival: bool = False


@dataclass(frozen=True, eq=False)
class Sam2Features:
    """A frame's features, shared by all objects.

    Attributes:
        features: of the image encoder.
        coords: the frame's coordinate spaces.
        model: the model, for what is computed when first needed.
    """

    features: ImageFeatures
    coords: CoordMap
    model: Sam2

    @cached_property
    def finer(self) -> tuple[Tensor, ...]:
        """Tokens of the finer levels."""
        return self.model.finer_tokens(self.features)

    @cached_property
    def begun(self) -> Tensor:
        """Tokens that meet the memories: the part of memory attention that knows no object."""
        assert self.model.memory is not None
        tokens: Tensor = self.model.memory.attention.begin(self.features.grid)
        return tokens


def is_good(answer: Sam2Answer, policy: MemoryPolicy) -> bool:
    """Whether a tracked frame is one to learn from."""
    if policy.min_iou is None:
        return True
    is_expected = answer.motion_iou is None or answer.motion_iou > 0
    return answer.score > policy.min_iou and answer.object_logit > 0 and is_expected


def state_of(object_logit: float, score: float) -> State:
    """State of an object, by its object score and the predicted IoU of its mask."""
    if object_logit <= 0:
        return "absent"
    return "present" if score >= UNCERTAIN_IOU else "uncertain"
