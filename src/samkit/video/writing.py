"""Writing a video file: frames in, H.264 out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from samkit.arrays import RgbImage
from samkit.errors import OutputError
from samkit.files import replacing

if TYPE_CHECKING:  # PyAV takes a tenth of a second to import
    from av import VideoStream

DEFAULT_RATE = 25.0
CODECS = ("libx264", "mpeg4")  # the first that PyAV's build has


def write_video(
    path: str | os.PathLike[str], frames: Iterable[RgbImage], *, rate: float | None = None
) -> None:
    """Write frames (H, W, 3) of one size to an MP4 file, complete or not at all.

    Args:
        path: the file.
        frames: of which one at a time is in memory.
        rate: frames per second; default: 25.

    Raises:
        OutputError: the file cannot be written.
    """
    import av

    codec = next(name for name in CODECS if name in av.codecs_available)
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                speed = Fraction(rate or DEFAULT_RATE).limit_denominator(1000)
                stream = cast("VideoStream", container.add_stream(codec, rate=speed))
                stream.pix_fmt = "yuv420p"
                for number, image in enumerate(frames):
                    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
                    if number == 0:
                        stream.height, stream.width = even.shape[:2]
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(f"cannot write {path}: {error}") from error
