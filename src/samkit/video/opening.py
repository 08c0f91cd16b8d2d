"""Opening a video of any kind as a source of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.errors import VideoError
from samkit.formats import RangeLike
from samkit.video.camera import Camera
from samkit.video.frames import FrameFolder, FrameList, FrameSource, Stream
from samkit.video.stack import STACK_SUFFIXES, StackFrames
from samkit.video.video_file import FrameTimes, VideoFile

# Of files that are videos whatever else is in a folder.
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
# A file, a folder, a camera's number, frames (T, H, W, 3), a list of them, or any iterator.
VideoLike: TypeAlias = (
    "str | os.PathLike[str] | int | npt.NDArray[Any] | Sequence[npt.NDArray[Any]] | Iterable[Any]"
)


def open_frames(video: VideoLike) -> FrameSource:
    """Open the frames of a video.

    Args:
        video: a video file; a stack of pages (TIFF); a folder of images, which are frames in the
            order of their names (numbers count as numbers); an array (T, H, W, 3) or a list of
            images; any iterator of images, which is read only once; or a camera's number.

    Raises:
        VideoError: it is missing, empty, damaged, without pictures, or nothing that has frames.
    """
    if isinstance(video, bool):
        raise VideoError(f"a video is a file, a folder, frames or a camera's number; got {video}")
    if isinstance(video, int | np.integer):
        return Stream(Camera(int(video)), name=f"camera {int(video)}")
    if isinstance(video, str | os.PathLike):
        return open_path(Path(video))
    if isinstance(video, np.ndarray):
        if video.ndim != 4:
            raise VideoError(f"frames must be (T, H, W, 3); got {video.shape}")
        return FrameList(video)
    if isinstance(video, Sequence):
        return FrameList(video)
    if isinstance(video, Iterable):
        return Stream(video)
    raise VideoError(
        f"a video is a file, a folder, frames or a camera's number; got {type(video).__name__}"
    )


def open_path(
    path: Path, *, value_range: RangeLike = "auto", times: FrameTimes | None = None
) -> FrameSource:
    """Open a folder of frames, a stack or a video file.

    Args:
        value_range: which values of a stack are black and white.
        times: `VideoFile.times` of an earlier opening, so that the file is not read through.

    Raises:
        VideoError: it is missing, empty, damaged, or no video.
    """
    if path.is_dir():
        return FrameFolder(path)
    if not path.exists():
        raise VideoError(f"no such file: {path}")
    if path.suffix.lower() in STACK_SUFFIXES:
        return StackFrames(path, value_range)
    return VideoFile(path, times)
