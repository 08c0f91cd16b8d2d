"""What a SAM 2 remembers of one object, and which of it a frame is shown.

Source: arXiv:2408.00714, section 4 and appendix D. Shape legend: C channels, E channels of
memories, G side of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from samkit.models import MemoryConfig, RememberedFrame, RememberedPointer


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
    """

    looks_ahead: bool = False
    forgets: bool = True
    corrections_stick: bool = True


PLAIN = MemoryPolicy()
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
    """

    map: Tensor | None
    pointer: Tensor


@dataclass(kw_only=True, eq=False)
class ObjectMemory:
    """The memory of one object.

    Attributes:
        prompted: frames with prompts, by index, in the order of their prompts.
        tracked: other frames.
        reverse: direction in which it was tracked last.
        span: first and last frame between which it was tracked so far; None before.
    """

    prompted: dict[int, MemoryFrame] = field(default_factory=dict)
    tracked: dict[int, MemoryFrame] = field(default_factory=dict)
    reverse: bool = False
    span: tuple[int, int] | None = None

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
                self.tracked.clear()
            return
        self.prompted.pop(index, None)
        self.tracked[index] = frame
        if not policy.forgets:
            return
        for other, old in list(self.tracked.items()):
            distance = abs(index - other)
            if distance >= config.num_pointers - 1:
                del self.tracked[other]
            elif distance >= config.num_frames - 1:
                self.tracked[other] = MemoryFrame(map=None, pointer=old.pointer)

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
            frame = self.tracked.get(self._back(index, steps))
            if frame is not None and frame.map is not None:
                shown.append(RememberedFrame(frame.map, steps))
        return shown

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
