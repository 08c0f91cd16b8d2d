"""An open video behind a `SAM2VideoPredictor`: objects by their names, and logits of frames.

A `Video` stores masks as run-length encodings, and programs for `sam2` want logits. Those of the
frame that was tracked last, and of prompted frames, are recorded on their way to the tracker; of
any other frame only signs are known.

Shape legend: O objects, H x W the frames' size.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from samkit.arrays import BoolArray, FloatArray, IntArray, Logits, RgbImage
from samkit.compat.sam2.errors import NoObjectError
from samkit.compat.sam2.utils.transforms import SAM2Transforms
from samkit.errors import NothingFoundError
from samkit.geometry import CoordMap, decode_rle, logits_to_original
from samkit.types import Prompts
from samkit.video import ObjectAnswer, Tracker, Video

NO_OBJECT_LOGIT = -1024.0  # of all pixels where an object is absent, as in the original
SURE = 10.0  # logits of masks that were given, or of which only the sign is known, likewise


@dataclass(kw_only=True, eq=False)
class RecordedMemory:
    """An object's memory with the answers that went into it.

    Attributes:
        memory: the tracker's own.
        latest: frame and answer that were tracked last.
        prompted: answers of prompted frames.
    """

    memory: Any
    latest: tuple[int, ObjectAnswer] | None = None
    prompted: dict[int, ObjectAnswer] = field(default_factory=dict)

    def answer(self, index: int, *, confirmed: bool) -> ObjectAnswer | None:
        """The answer in a frame, if it is recorded."""
        if confirmed:
            return self.prompted.get(index)
        return self.latest[1] if self.latest is not None and self.latest[0] == index else None


class RecordingTracker:
    """A tracker that also records answers; a `Tracker`."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.started: RecordedMemory | None = None  # the memory made last

    def describe(self) -> dict[str, Any]:
        return self._tracker.describe()

    def coords(self, size_hw: tuple[int, int]) -> CoordMap:
        return self._tracker.coords(size_hw)

    def encode(self, frame: RgbImage) -> Any:
        return self._tracker.encode(frame)

    def start(self) -> RecordedMemory:
        self.started = RecordedMemory(memory=self._tracker.start())
        return self.started

    def prompt(
        self,
        features: Any,
        memory: RecordedMemory,
        index: int,
        prompts: Prompts,
        previous: Logits | None,
    ) -> ObjectAnswer:
        return self._tracker.prompt(features, memory.memory, index, prompts, previous)

    def track(
        self, features: Any, memories: Sequence[RecordedMemory], index: int, *, reverse: bool
    ) -> list[ObjectAnswer]:
        own = [memory.memory for memory in memories]
        return self._tracker.track(features, own, index, reverse=reverse)

    def memorise(
        self,
        features: Any,
        memory: RecordedMemory,
        index: int,
        answer: ObjectAnswer,
        *,
        prompted: bool,
        reverse: bool,
    ) -> None:
        self._tracker.memorise(
            features, memory.memory, index, answer, prompted=prompted, reverse=reverse
        )
        if prompted:
            memory.prompted[index] = answer
        else:
            memory.latest = (index, answer)

    def release(self, memory: RecordedMemory, index: int | None = None) -> None:
        self._tracker.release(memory.memory, index)
        if index is not None:
            memory.prompted.pop(index, None)


@dataclass(kw_only=True, eq=False)
class VideoObject:
    """An object, which may be one of which nothing was found yet.

    Attributes:
        number: its name in the `Video`.
        memory: with recorded answers; None as long as nothing is found.
        found: frames with prompts at which it was found.
        missed: frames with prompts at which nothing was found.
    """

    number: int
    memory: RecordedMemory | None = None
    found: set[int] = field(default_factory=set)
    missed: set[int] = field(default_factory=set)


class VideoSession:
    """Objects of any names in a `Video`, and their logits."""

    def __init__(self, video: Video, tracker: RecordingTracker) -> None:
        self.video, self._tracker = video, tracker
        self.objects: dict[Hashable, VideoObject] = {}
        self._last_number = 0

    @property
    def prompted_frames(self) -> set[int]:
        """All frames with prompts."""
        return {index for one in self.objects.values() for index in (*one.found, *one.missed)}

    def prompt(
        self,
        index: int,
        name: Hashable,
        *,
        points: FloatArray | None = None,
        labels: IntArray | None = None,
        box: FloatArray | None = None,
        mask: BoolArray | None = None,
        add: bool = False,
    ) -> None:
        """Prompt an object; see `Video.prompt`. Where nothing is found, it is absent."""
        known = self.objects.get(name)
        if known is None:
            known = VideoObject(number=self._last_number + 1)
        parts: dict[str, Any] = {"points": points, "labels": labels, "boxes": box, "mask": mask}
        if self._finds(index, known, parts, add=add):
            known.missed.discard(index)
            known.found.add(index)
            if known.memory is None:
                known.memory = self._tracker.started
        elif index not in known.found:
            known.missed.add(index)
        self.objects[name] = known
        self._last_number = max(self._last_number, known.number)

    def _finds(self, index: int, known: VideoObject, parts: dict[str, Any], *, add: bool) -> bool:
        """Prompt an object; whether anything is found."""
        if parts["mask"] is not None and not parts["mask"].any():
            return False
        try:
            self.video.prompt(index, object_id=known.number, add=add, **parts)
        except NothingFoundError:
            return False
        return True

    def clear(self, index: int, name: Hashable) -> None:
        """Take back an object's prompts of a frame, if it has any; the object stays.

        Raises:
            NoObjectError: there is no such object.
        """
        known = self._known(name)
        known.missed.discard(index)
        if index in known.found:
            known.found.remove(index)
            self.video.clear(index, object_id=known.number)
        if not known.found:
            known.memory = None  # the video has forgotten the object

    def remove(self, name: Hashable) -> set[int]:
        """Remove an object; return the frames in which it was prompted.

        Raises:
            NoObjectError: there is no such object.
        """
        known = self._known(name)
        if known.found:
            self.video.remove(known.number)
        del self.objects[name]
        return known.found | known.missed

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        """Logits (O, 1, H, W) of all objects in a frame; above 0 is inside."""
        answer = self.video.answer(index)
        shape = (len(self.objects), 1, *answer.size_hw)
        logits = np.full(shape, NO_OBJECT_LOGIT, np.float32)
        for row, known in zip(logits, self.objects.values(), strict=True):
            if known.number in answer.object_ids:
                result = answer.of(known.number)
                recorded = None
                if known.memory is not None:
                    recorded = known.memory.answer(index, confirmed=result.confirmed)
                row[0] = logits_of(decode_rle(result.rle), recorded)
        return logits

    def _known(self, name: Hashable) -> VideoObject:
        if name not in self.objects:
            listed = ", ".join(map(repr, self.objects)) or "none"
            raise NoObjectError(f"there is no object {name!r}; there are {listed}")
        return self.objects[name]


def logits_of(mask: BoolArray, recorded: ObjectAnswer | None) -> npt.NDArray[np.float32]:
    """Logits (H, W) whose signs are a mask's: those that were recorded, where they agree with it.

    They do not where other objects took pixels.
    """
    if not mask.any():
        return np.full(mask.shape, NO_OBJECT_LOGIT, np.float32)
    signs = np.where(mask, SURE, -SURE).astype(np.float32)
    if recorded is None or recorded.exact is not None:
        return signs
    logits = logits_to_original(recorded.logits, recorded.coords)
    return np.where((logits > 0) == mask, logits, signs)


class StateImages(Sequence[Tensor]):
    """Frames as the model's input (3, S, S), each read when it is asked for."""

    def __init__(self, video: Video, transforms: SAM2Transforms, count: int) -> None:
        self._video, self._transforms, self._count = video, transforms, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(self._count)[index]]
        return self._transforms(self._video.read(range(self._count)[index]))
