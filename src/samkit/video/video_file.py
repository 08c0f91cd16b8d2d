"""Frames of a video file, by PyAV: by index, upright, at any frame rate."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samkit.arrays import IntArray, RgbImage
from samkit.errors import VideoError
from samkit.video.frames import SameSize, check_index

if TYPE_CHECKING:  # PyAV takes a tenth of a second to import
    from av import VideoFrame

logger = logging.getLogger(__name__)

# A frame at most this far ahead is reached by decoding on: keyframes are seldom closer.
DECODED_AHEAD = 48
# A video whose frames end earlier than it states, by more than this fraction, was cut off.
SHORT = 0.05
CONTAINER_TICKS_PER_S = 1_000_000  # av.time_base


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTimes:
    """When the frames of a file are shown; who has it need not read the whole file to open it.

    Attributes:
        stamps: (N,) in the file's own unit of time, ascending.
        is_timed: whether the file has time stamps; otherwise frames are counted.
    """

    stamps: IntArray
    is_timed: bool

    def to_bytes(self) -> bytes:
        """Pack it: some kilobytes for an hour."""
        steps = np.diff(self.stamps, prepend=0).astype("<i8").tobytes()
        return bytes([self.is_timed]) + zlib.compress(steps)

    @classmethod
    def from_bytes(cls, packed: bytes) -> FrameTimes:
        """The inverse of `to_bytes`."""
        steps = np.frombuffer(zlib.decompress(packed[1:]), "<i8")
        return cls(stamps=np.cumsum(steps, dtype=np.int64), is_timed=bool(packed[0]))


class VideoFile:
    """A video file, of which only the frame read last is in memory.

    The packets' time stamps, read once without decoding, number the frames in the order in which
    they are shown, and find a frame by its time whatever the frame rate does. Reading frame after
    frame only decodes; any other frame is reached from the last keyframe before it. A file whose
    packets have no time stamps is decoded from its start to go back.
    """

    def __init__(self, path: Path, times: FrameTimes | None = None) -> None:
        """Open a file.

        Args:
            times: `times` of this file when it was opened before; None reads it once.

        Raises:
            VideoError: it is no video, has no frames, or its codec cannot be read.
        """
        self.name = str(path)
        self._path = path
        self._same = SameSize(self.name)
        self._latest: tuple[int, RgbImage] | None = None
        with self._errors():
            self._open()
            self.times = self._scan() if times is None else times
            self._stamps, self._is_timed = self.times.stamps, self.times.is_timed
            if not len(self._stamps):
                raise VideoError(f"{self.name} has no frames: it is empty, or was cut off")
            if times is None:
                self._warn_if_short()
            self._go_to(0)

    @property
    def count(self) -> int:
        return len(self._stamps)

    @property
    def rate(self) -> float | None:
        """Mean frames per second."""
        first, last = self.time_s(0), self.time_s(self.count - 1)
        if first is not None and last is not None and last > first:
            return (self.count - 1) / (last - first)
        average = self._stream.average_rate
        return float(average) if average else None

    def time_s(self, index: int) -> float | None:
        """When a frame is shown, in seconds; None without time stamps."""
        base = self._stream.time_base
        return float(self._stamps[index] * base) if self._is_timed and base else None

    def has(self, index: int) -> bool:
        return 0 <= index < self.count

    def read(self, index: int) -> RgbImage:
        check_index(self.name, index, self.count)
        if self._latest is None or self._latest[0] != index:
            with self._errors(f"frame {index}: "):
                frame = upright(self._decode(index))
            self._latest = (index, self._same.check(index, frame))
        return self._latest[1]

    def close(self) -> None:
        self._container.close()

    def _open(self) -> None:
        import av

        self._container = av.open(str(self._path))
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{self.name} has no pictures, only sound or other data")
        self._stream = self._container.streams.video[0]
        if self._stream.codec_context is None:
            self._container.close()
            raise VideoError(
                f"{self.name} is in a codec that cannot be read here: convert it, such as by"
                f" ffmpeg -i {self._path.name} -c:v libx264 out.mp4"
            )

    def _scan(self) -> FrameTimes:
        """Read the time stamps of all frames."""
        packets = [
            packet.pts
            for packet in self._container.demux(self._stream)
            if packet.size and not packet.is_discard
        ]
        if any(stamp is None for stamp in packets):
            return FrameTimes(stamps=np.arange(len(packets), dtype=np.int64), is_timed=False)
        return FrameTimes(stamps=np.unique(np.array(packets, np.int64)), is_timed=True)

    def _warn_if_short(self) -> None:
        """Warn of a file that was cut off, of which the frames until then are read."""
        stream, last_s = self._stream, self.time_s(self.count - 1)
        if stream.duration is not None and stream.time_base is not None:
            lasts_s = float(stream.duration * stream.time_base)
        elif self._container.duration is not None and len(self._container.streams) == 1:
            lasts_s = self._container.duration / CONTAINER_TICKS_PER_S
        else:
            return
        if last_s is not None and last_s < lasts_s - max(1.0, SHORT * lasts_s):
            logger.warning(
                "%s was cut off: it has %d frames until second %.1f of %.1f",
                *(self.name, self.count, last_s, lasts_s),
            )

    def _go_to(self, index: int) -> None:
        """Go to the last keyframe at or before a frame."""
        if self._is_timed and index > 0:
            self._container.seek(int(self._stamps[index]), stream=self._stream)
        else:  # seeking to the start fails in some containers
            self._container.close()
            self._open()
        self._frames = self._container.decode(self._stream)
        self._at: int | None = None if index > 0 else -1  # of the frame decoded last, if known

    def _decode(self, index: int) -> VideoFrame:
        """Decode up to a frame."""
        if self._at is None or not 0 < index - self._at <= DECODED_AHEAD:
            self._go_to(index)
        for frame in self._frames:
            self._at = self._index_of(frame)
            if self._at == index:
                return frame
            if self._at > index:
                break
        self._at = None
        raise VideoError(f"{self.name}: frame {index} cannot be decoded: the file is damaged there")

    def _index_of(self, frame: VideoFrame) -> int:
        """The index of the frame that was decoded after the one at `_at`."""
        if self._is_timed and frame.pts is not None:
            return int(np.searchsorted(self._stamps, frame.pts))
        return (-1 if self._at is None else self._at) + 1

    @contextmanager
    def _errors(self, where: str = "") -> Iterator[None]:
        """Turn PyAV's errors into one line."""
        import av

        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(
                f"{self.name}: {where}not a video, or damaged or cut off: {reason}"
            ) from error


def upright(frame: VideoFrame) -> RgbImage:
    """A frame in RGB, turned as the file says that it is shown."""
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90)  # counterclockwise
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
