"""Sources of a video's frames, read when needed: folders, lists, streams; see also `video_file`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from samkit.arrays import RgbImage
from samkit.errors import ImageError, VideoError
from samkit.formats import has_image_suffix, is_hidden, read_image


class FrameSource(Protocol):
    """Frames by index, uint8 RGB (H, W, 3), upright and all of one size.

    Attributes:
        name: names the source in messages.
        count: number of frames; None for a stream that has not ended yet.
        rate: frames per second; None if there is no clock.
    """

    name: str

    @property
    def count(self) -> int | None: ...

    @property
    def rate(self) -> float | None: ...

    def has(self, index: int) -> bool:
        """Whether there is such a frame; waits for it if it is the next one of a stream."""
        ...

    def read(self, index: int) -> RgbImage:
        """Read a frame.

        Raises:
            VideoError: there is no such frame, it cannot be read, or it has another size.
        """
        ...

    def close(self) -> None:
        """Close files and cameras."""
        ...


class SameSize:
    """Checks that all frames have the size of the first one that was read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._first: tuple[int, tuple[int, int]] | None = None

    def check(self, index: int, frame: RgbImage) -> RgbImage:
        """Return the frame.

        Raises:
            VideoError: its size is another one.
        """
        size = (frame.shape[0], frame.shape[1])
        if self._first is None:
            self._first = (index, size)
        other, expected = self._first
        if size != expected:
            raise VideoError(
                f"{self.name}: frame {index} is {size[1]} x {size[0]}, frame {other} is"
                f" {expected[1]} x {expected[0]}: give frames of one size"
            )
        return frame


def check_index(name: str, index: int, count: int) -> None:
    """Check that a video of `count` frames has this one.

    Raises:
        VideoError: it has not.
    """
    if not 0 <= index < count:
        raise VideoError(f"{name} has frames 0 to {count - 1}; got {index}")


class FrameList:
    """Frames in memory, or images' paths: anything with a length that `read_image` takes."""

    def __init__(self, frames: Sequence[Any] | npt.NDArray[Any], name: str = "the video") -> None:
        if len(frames) == 0:
            raise VideoError(f"{name} has no frames")
        self.name, self.rate = name, None
        self._frames, self._same = frames, SameSize(name)

    @property
    def count(self) -> int:
        return len(self._frames)

    def has(self, index: int) -> bool:
        return 0 <= index < len(self._frames)

    def read(self, index: int) -> RgbImage:
        check_index(self.name, index, len(self._frames))
        return self._same.check(index, read_frame(self._frames[index], index, self.name))

    def close(self) -> None:
        """Nothing is open."""


class FrameFolder(FrameList):
    """A folder of images, one for each frame."""

    def __init__(self, folder: Path) -> None:
        names = [
            path.name
            for path in folder.iterdir()
            if has_image_suffix(path.name) and not is_hidden(path.name) and path.is_file()
        ]
        if not names:
            raise VideoError(f"{folder} has no images: give a folder of frames, or a video file")
        self.names = sorted(names, key=natural_order)
        super().__init__([folder / name for name in self.names], str(folder))


class EveryNth:
    """Each N-th frame of another source, from its first one."""

    def __init__(self, source: FrameSource, every: int) -> None:
        self.name = source.name
        self._source, self._every = source, every

    @property
    def count(self) -> int | None:
        count = self._source.count
        return None if count is None else -(-count // self._every)

    @property
    def rate(self) -> float | None:
        rate = self._source.rate
        return None if rate is None else rate / self._every

    def has(self, index: int) -> bool:
        return self._source.has(index * self._every)

    def read(self, index: int) -> RgbImage:
        return self._source.read(index * self._every)

    def close(self) -> None:
        self._source.close()


class Stream:
    """Frames of an iterator, each read once; only the latest can be read again."""

    def __init__(self, frames: Iterable[Any], name: str = "the stream") -> None:
        self.name = name
        self.rate: float | None = getattr(frames, "rate", None)
        self._frames: Iterator[Any] = iter(frames)
        self._close = getattr(frames, "close", None)
        self._same = SameSize(name)
        self._latest: RgbImage | None = None
        self._index, self._ended = -1, False

    @property
    def count(self) -> int | None:
        return self._index + 1 if self._ended else None

    def has(self, index: int) -> bool:
        while index > self._index and not self._ended:
            self._advance()
        return 0 <= index <= self._index

    def read(self, index: int) -> RgbImage:
        if not self.has(index):
            check_index(self.name, index, self._index + 1)
        if index < self._index or self._latest is None:
            raise VideoError(
                f"{self.name} is at frame {self._index}, and frame {index} is gone: prompt frames"
                " as they come, or give a file"
            )
        return self._latest

    def close(self) -> None:
        if self._close is not None:
            self._close()

    def _advance(self) -> None:
        frame = next(self._frames, None)
        if frame is None:
            self._ended = True
            if self._index < 0:
                raise VideoError(f"{self.name} has no frames")
            return
        index = self._index + 1
        self._latest = self._same.check(index, read_frame(frame, index, self.name))
        self._index = index


def read_frame(frame: Any, index: int, name: str) -> RgbImage:
    """Read an image as a frame; values are taken as they are, since ranges would flicker.

    Raises:
        VideoError: it is no image.
    """
    try:
        return read_image(frame, value_range="full")
    except ImageError as error:
        raise VideoError(f"{name}: frame {index}: {error}") from error


def natural_order(name: str) -> list[tuple[int, str]]:
    """Key to sort names by, in which numbers count as numbers: frame2 before frame10."""
    parts = re.split(r"(\d+)", name)
    return [
        (int(digits or -1), text)
        for text, digits in itertools.zip_longest(parts[::2], parts[1::2], fillvalue="")
    ]
