"""What a SAM 2 remembers of one object, and which of it a frame is shown.

Source: arXiv:2408.00714, section 4 and appendix D. Shape legend: C channels, E channels of
memories, G side of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from samkit.checks import check_number
from samkit.models import MemoryConfig, RememberedFrame, RememberedPointer
from samkit.video.box_motion import BoxMotion


@dataclass(frozen=True, kw_only=True)
class MemoryPolicy:
    """Rules of a memory.

    By default an answer depends on what lies before it in the direction of tracking, and memory is
    bounded; so a correction changes nothing that came before it, a stream gives the same as a
    file, and videos may be of any length.

    Attributes:
        looks_ahead: prompted frames count wherever they are, also after the frame.
        forgets: what was tracked is forgotten where a prompt begins anew, and beyond the reach of
            the memory.
        corrections_stick: a frame that was corrected after it was tracked is remembered for good,
            like any frame with a prompt, and not only for the next few frames.
        motion_weight: weight of the predicted box, against the predicted IoU, in the choice among
            the candidates of a frame.
        min_iou: tracked frames with a lower predicted IoU are not shown to others, nor those
            without the object, nor those whose box is where motion does not expect it; the frame
            before is always shown. None shows all.
        present_thresh: object score above which an object counts as present.
    """

    looks_ahead: bool = False
    forgets: bool = True
    corrections_stick: bool = True
    motion_weight: float = 0.0
    min_iou: float | None = None
    present_thresh: float = 0.0

    def __post_init__(self) -> None:
        check_number("motion_weight", self.motion_weight, float, 0, 1)
        if self.min_iou is not None:
            check_number("min_iou", self.min_iou, float, 0, 1)


PLAIN = MemoryPolicy()
# For boxes of single objects that move: better on LaSOT, but worse for masks on MOSE and DAVIS.
# Source: arXiv:2411.11922. The authors take a weight of 0.15 for the large model.
SAMURAI = MemoryPolicy(motion_weight=0.25, min_iou=0.5, present_thresh=-1.0)
# As published: prompts given before tracking help all frames, nothing is ever forgotten, and
# corrections count no more than what was tracked.
PUBLISHED = MemoryPolicy(looks_ahead=True, forgets=False, corrections_stick=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryFrame:
    """An object in a frame.

    Attributes:
        map: (1, E, G, G) in bfloat16, as in the original; None where only the pointer is within
            reach.
        pointer: (1, C).
        is_good: whether the frame is one to learn from, by the policy.
    """

    map: Tensor | None
    pointer: Tensor
    is_good: bool = True


@dataclass(kw_only=True, eq=False)
class ObjectMemory:
    """The memory of one object.

    Attributes:
        prompted: frames with prompts, by index, in the order of their prompts.
        tracked: other frames.
        reverse: direction in which it was tracked last.
        span: first and last frame between which it was tracked so far; None before.
        motion: of the box in the frames tracked last; None before.
    """

    prompted: dict[int, MemoryFrame] = field(default_factory=dict)
    tracked: dict[int, MemoryFrame] = field(default_factory=dict)
    reverse: bool = False
    span: tuple[int, int] | None = None
    motion: BoxMotion | None = None

    def was_tracked(self, index: int) -> bool:
        """Whether a frame was tracked before, so that a prompt there is a correction."""
        return self.span is not None and self.span[0] <= index <= self.span[1]

    def note_tracked(self, index: int, *, reverse: bool) -> None:
        """Note that a frame is tracked."""
        self.reverse = reverse
        first, last = self.span or (index, index)
        self.span = min(first, index), max(last, index)

    def put(
        self,
        index: int,
        frame: MemoryFrame,
        config: MemoryConfig,
        policy: MemoryPolicy,
        *,
        prompted: bool,
    ) -> None:
        """Add a frame, in place of what is remembered of it, and forget what is out of reach."""
        self.tracked.pop(index, None)
        if prompted:
            self.prompted[index] = frame
            if policy.forgets:
                self.forget_tracked()
            return
        self.prompted.pop(index, None)
        self.tracked[index] = frame
        if policy.forgets:
            self._forget_far(index, config, policy)

    def forget_tracked(self) -> None:
        """Forget all that was tracked."""
        self.tracked.clear()
        self.motion = None

    def _forget_far(self, index: int, config: MemoryConfig, policy: MemoryPolicy) -> None:
        """Forget what no frame from this one on is shown."""
        nearest = sorted(self.tracked, key=lambda at: abs(index - at))
        if policy.min_iou is None:
            useful = {at for at in nearest if abs(index - at) < config.num_frames - 1}
        else:
            good = [at for at in nearest if self.tracked[at].is_good]
            useful = {index, *good[: config.num_frames - 1]}
        for at in nearest:
            old = self.tracked[at]
            is_pointed_at = abs(index - at) < config.num_pointers - 1
            if not is_pointed_at and at not in useful:
                del self.tracked[at]
            elif at not in useful and old.map is not None:
                self.tracked[at] = replace(old, map=None)

    def frames_for(
        self, index: int, config: MemoryConfig, policy: MemoryPolicy
    ) -> list[RememberedFrame]:
        """Maps that a frame is shown: prompted ones, then tracked ones, the oldest first."""
        shown = [
            RememberedFrame(frame.map, 0)
            for at, frame in self.prompted.items()
            if frame.map is not None and (policy.looks_ahead or self._lies_before(at, index))
        ]
        for steps in range(config.num_frames - 1, 0, -1):
            at = self._back(index, steps) if policy.min_iou is None else self._good(index, steps)
            frame = None if at is None else self.tracked.get(at)
            if frame is not None and frame.map is not None:
                shown.append(RememberedFrame(frame.map, steps))
        return shown

    def _good(self, index: int, rank: int) -> int | None:
        """The good frame of a rank, from 1 for the last one; the frame before counts as good."""
        before = self._back(index, 1)
        good = [
            at
            for at, frame in self.tracked.items()
            if at != index and self._lies_before(at, index) and (frame.is_good or at == before)
        ]
        good.sort(key=lambda at: abs(index - at))
        return good[rank - 1] if rank <= len(good) else None

    def pointers_for(self, index: int, span: int) -> list[RememberedPointer]:
        """Pointers that a frame is shown: of prompted frames, then tracked ones, the newest first.

        Args:
            index: of the frame.
            span: length of time over which pointers are remembered, in frames.
        """
        shown = [
            RememberedPointer(frame.pointer, at - index if self.reverse else index - at)
            for at, frame in self.prompted.items()
            if self._lies_before(at, index)
        ]
        for steps in range(1, span):
            frame = self.tracked.get(self._back(index, steps))
            if frame is not None:
                shown.append(RememberedPointer(frame.pointer, steps))
        return shown

    def _lies_before(self, at: int, index: int) -> bool:
        """Whether a frame lies before another one, or is the same, in the direction of tracking."""
        return at >= index if self.reverse else at <= index

    def _back(self, index: int, steps: int) -> int:
        return index + steps if self.reverse else index - steps
