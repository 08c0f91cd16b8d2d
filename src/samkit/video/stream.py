"""VideoStream: one frame in, one answer out."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from samkit.arrays import RgbImage
from samkit.errors import VideoError
from samkit.formats import ImageLike
from samkit.video.answer import VideoAnswer
from samkit.video.frames import SameSize, read_frame
from samkit.video.interface import Tracker
from samkit.video.video import Video


class PushedFrames:
    """A source of the frame that was pushed last."""

    name = "the stream"
    rate: float | None = None

    def __init__(self) -> None:
        self.index = -1
        self._same = SameSize(self.name)
        self._latest: RgbImage | None = None

    @property
    def count(self) -> int | None:
        return None

    def push(self, frame: ImageLike) -> None:
        """Take the next frame."""
        index = self.index + 1
        self._latest = self._same.check(index, read_frame(frame, index, self.name))
        self.index = index

    def has(self, index: int) -> bool:
        return 0 <= index <= self.index

    def read(self, index: int) -> RgbImage:
        if self._latest is None:
            raise VideoError("the stream has no frame yet: call track(frame) first")
        if index not in (0, self.index):
            raise VideoError(f"the stream is at frame {self.index}; frame {index} is not there")
        return self._latest

    def close(self) -> None:
        """Nothing is open."""


class VideoStream:
    """Objects followed in frames that come one by one, such as a camera's.

        stream = samkit.VideoPredictor.load().stream()
        stream.track(frame)                                  # no objects yet
        stream.prompt(object_id=1, points=[[500, 375]])      # in this frame
        answer = stream.track(next_frame)

    The answers are those of `Video.propagate` on the same frames. Only the latest frame is in
    memory, and the results of the latest frame alone.
    """

    def __init__(self, tracker: Tracker, *, non_overlapping: bool = False) -> None:
        self._source = PushedFrames()
        self._video = Video(tracker, self._source, non_overlapping=non_overlapping)

    @property
    def index(self) -> int:
        """Index of the latest frame; -1 before the first one."""
        return self._source.index

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects, in the order in which they were first prompted."""
        return self._video.object_ids

    def track(self, frame: ImageLike) -> VideoAnswer:
        """Follow all objects into the next frame.

        Args:
            frame: path, PIL image or array; see `samkit.read_image`.

        Raises:
            VideoError: it is no image, or has another size than the frames before.
        """
        self._source.push(frame)
        answer = self._video.step(self.index)
        self._video.forget_results(before=self.index)
        return answer

    def prompt(
        self,
        *,
        object_id: int = 1,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> VideoAnswer:
        """Show where an object is in the latest frame, or correct it; see `Video.prompt`."""
        parts: dict[str, Any] = {"points": points, "labels": labels, "boxes": boxes, "mask": mask}
        return self._video.prompt(max(0, self.index), object_id=object_id, **parts)

    def remove(self, object_id: int) -> None:
        """Remove an object; see `Video.remove`."""
        self._video.remove(object_id)
