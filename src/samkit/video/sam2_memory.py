"""What a SAM 2 remembers of one object, and which of it a frame is shown.

Source: arXiv:2408.00714, section 4 and appendix D. Shape legend: C channels, E channels of
memories, G side of the grid.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace

from torch import Tensor

from samkit.checks import check_number
from samkit.errors import ConfigError
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
        num_anchors: number of tracked frames that are shown for longer than the last few: those in
            which something like the object was beside it, and the object was told from it. If any,
            half of the memory is for them and for prompted frames, without time; the rest has the
            last frame and every fifth one before it, and frames without the object are not
            remembered.
        num_hypotheses: number of memories of one object that are followed side by side, each with
            other masks in it; see `HypothesisTracker`.
        pooled_cells: side of the blocks of cells that are pooled away from the object, in its maps
            and in the frame, while it is present; 1 pools nothing.
    """

    looks_ahead: bool = False
    forgets: bool = True
    corrections_stick: bool = True
    motion_weight: float = 0.0
    min_iou: float | None = None
    present_thresh: float = 0.0
    num_anchors: int = 0
    num_hypotheses: int = 1
    pooled_cells: int = 1

    def __post_init__(self) -> None:
        check_number("motion_weight", self.motion_weight, float, 0, 1)
        if self.min_iou is not None:
            check_number("min_iou", self.min_iou, float, 0, 1)
        check_number("num_anchors", self.num_anchors, int, 0, math.inf)
        if self.num_anchors and self.min_iou is not None:
            raise ConfigError("a memory policy has num_anchors or min_iou, not both")
        check_number("num_hypotheses", self.num_hypotheses, int, 1, math.inf)
        check_number("pooled_cells", self.pooled_cells, int, 1, math.inf)
        if self.num_hypotheses > 1 and (self.motion_weight > 0 or self.num_anchors):
            raise ConfigError(
                "a memory policy with several hypotheses chooses among them by predicted IoU alone:"
                " motion_weight and num_anchors must be 0"
            )


PLAIN = MemoryPolicy()
# For boxes of single objects that move: better on LaSOT, but worse for masks on MOSE and DAVIS.
# Source: arXiv:2411.11922. The authors take a weight of 0.15 for the large model.
SAMURAI = MemoryPolicy(motion_weight=0.25, min_iou=0.5, present_thresh=-1.0)
# As published: prompts given before tracking help all frames, nothing is ever forgotten, and
# corrections count no more than what was tracked.
PUBLISHED = MemoryPolicy(looks_ahead=True, forgets=False, corrections_stick=False)
# For videos with look-alikes. Source: DAM4SAM, arXiv:2411.17576.
DISTRACTOR_AWARE = MemoryPolicy(num_anchors=3)
# For accuracy at three times the cost, in long videos with occlusion. Source: arXiv:2410.16268.
HYPOTHESES = MemoryPolicy(num_hypotheses=3, min_iou=0.1)
# For many objects: away from an object one token stands for 4 x 4 cells, 64 x 64 pixels of 1024.
POOLED = MemoryPolicy(pooled_cells=4)
POLICIES = {
    "plain": PLAIN,
    "samurai": SAMURAI,
    "distractor_aware": DISTRACTOR_AWARE,
    "hypotheses": HYPOTHESES,
    "pooled": POOLED,
}
RECENT_STRIDE = 5  # of recent frames that are remembered beside anchors
ANCHOR_PAUSE = 5  # frames from an anchor to the next one
ANCHOR_MIN_IOU, ANCHOR_AREA_CHANGE = 0.8, 0.2  # of masks that make an anchor
AREAS_REMEMBERED = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryFrame:
    """An object in a frame.

    Attributes:
        map: (1, E, G, G), or (1, E, T) of a perceiver, in bfloat16, as in the original; None where
            only the pointer is within reach.
        pointer: (1, C).
        is_good: whether the frame is one to learn from, by the policy.
        near: (B, B) bool, blocks in which the object is; None where nothing is pooled.
    """

    map: Tensor | None
    pointer: Tensor
    is_good: bool = True
    near: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownMemory:
    """What a frame is shown of one object's memory."""

    frames: list[RememberedFrame]
    pointers: list[RememberedPointer]

    @property
    def kind(self) -> object:
        """Equal for objects whose memories may be put together."""
        return (
            tuple(frame.steps for frame in self.frames),
            tuple(pointer.distance for pointer in self.pointers),
        )


@dataclass(kw_only=True, eq=False)
class ObjectMemory:
    """The memory of one object.

    Attributes:
        prompted: frames with prompts, by index, in the order of their prompts.
        tracked: other frames.
        reverse: direction in which it was tracked last.
        span: first and last frame between which it was tracked so far; None before.
        motion: of the box in the frames tracked last; None before.
        anchors: the policy's anchors among tracked frames.
        areas: of the object's masks in the frames tracked last, in cells.
    """

    prompted: dict[int, MemoryFrame] = field(default_factory=dict)
    tracked: dict[int, MemoryFrame] = field(default_factory=dict)
    reverse: bool = False
    span: tuple[int, int] | None = None
    motion: BoxMotion | None = None
    anchors: dict[int, MemoryFrame] = field(default_factory=dict)
    areas: list[int] = field(default_factory=list)

    def copy(self) -> ObjectMemory:
        """A memory of its own, with the same frames."""
        return replace(
            self,
            prompted=dict(self.prompted),
            tracked=dict(self.tracked),
            anchors=dict(self.anchors),
            areas=list(self.areas),
        )

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
        self.anchors.clear()
        self.areas.clear()
        self.motion = None

    def anchor(self, index: int, score: float, area: int, policy: MemoryPolicy) -> None:
        """Make a tracked frame an anchor if its mask is good, and as large as those before.

        Args:
            index: of the frame, in which something is like the object.
            score: predicted IoU.
            area: of the mask, in cells.
            policy: number of anchors; the oldest is forgotten.
        """
        last = next(reversed(self.anchors), None)
        is_too_soon = last is not None and abs(index - last) <= ANCHOR_PAUSE
        if score <= ANCHOR_MIN_IOU or not self.areas or is_too_soon:
            return
        usual = statistics.median(self.areas)
        if abs(area - usual) <= ANCHOR_AREA_CHANGE * usual:
            self.anchors[index] = self.tracked[index]
            if len(self.anchors) > policy.num_anchors:
                del self.anchors[next(iter(self.anchors))]

    def note_area(self, area: int) -> None:
        """Note the area of the object's mask, in cells."""
        self.areas = [*self.areas, area][-AREAS_REMEMBERED:]

    def _forget_far(self, index: int, config: MemoryConfig, policy: MemoryPolicy) -> None:
        """Forget what no frame from this one on is shown."""
        nearest = sorted(self.tracked, key=lambda at: abs(index - at))
        if policy.num_anchors:
            # The others are only shown to the frame right after them.
            spaced = [at for at in nearest if at % RECENT_STRIDE == 0]
            useful = {index, *spaced[: config.num_frames // 2]}
        elif policy.min_iou is None:
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
            RememberedFrame(frame.map, None if policy.num_anchors else 0, frame.near)
            for at, frame in (*self.prompted.items(), *self.anchors.items())
            if frame.map is not None and (policy.looks_ahead or self._lies_before(at, index))
        ]
        if policy.num_anchors:
            return shown + self._spaced(index, config.num_frames // 2)
        for steps in range(config.num_frames - 1, 0, -1):
            at = self._back(index, steps) if policy.min_iou is None else self._good(index, steps)
            frame = None if at is None else self.tracked.get(at)
            if frame is not None and frame.map is not None:
                shown.append(RememberedFrame(frame.map, steps, frame.near))
        return shown

    def _spaced(self, index: int, count: int) -> list[RememberedFrame]:
        """The last tracked frame and those at every fifth place before it, the oldest first."""
        before = [at for at in self.tracked if at != index and self._lies_before(at, index)]
        before.sort(key=lambda at: abs(index - at))
        near = [at for rank, at in enumerate(before) if rank == 0 or at % RECENT_STRIDE == 0]
        ranked = [(self.tracked[at], steps) for steps, at in enumerate(near[:count], 1)]
        return [
            RememberedFrame(frame.map, steps, frame.near)
            for frame, steps in reversed(ranked)
            if frame.map is not None
        ]

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

    def near_before(self, index: int) -> Tensor | None:
        """Blocks in which the object was in the frame before; None if it was not there."""
        at = self._back(index, 1)
        frame = self.tracked.get(at) or self.prompted.get(at)
        is_there = frame is not None and frame.near is not None and bool(frame.near.any())
        return frame.near if frame is not None and is_there else None

    def _lies_before(self, at: int, index: int) -> bool:
        """Whether a frame lies before another one, or is the same, in the direction of tracking."""
        return at >= index if self.reverse else at <= index

    def _back(self, index: int, steps: int) -> int:
        return index + steps if self.reverse else index - steps
