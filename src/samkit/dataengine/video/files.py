"""Files of a project's videos: found, recognised by a fingerprint, and opened at a frame.

The fingerprint is of a file's size and of blocks spread over it, so that hours of video take
milliseconds; of a folder of frames it is of the files' names, sizes and the blocks of some of them.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from samkit.arrays import RgbImage
from samkit.dataengine.database import Store
from samkit.dataengine.video.values import StoredVideo
from samkit.dataengine.work import ImageSource, get_project
from samkit.errors import ConflictError, StoreError, VideoError
from samkit.formats import has_image_suffix, is_hidden
from samkit.video import VIDEO_SUFFIXES, FrameFolder, FrameSource, FrameTimes, open_path

BLOCK_BYTES, NUM_BLOCKS = 2**16, 16  # that a fingerprint reads of a file
NUM_HASHED_FRAMES = 16  # of a folder


def video_folder(store: Store, project_id: int) -> Path:
    """The folder below which a project's videos are: its root.

    Raises:
        StoreError: the root is a URL, where frames cannot be sought.
    """
    folder = ImageSource(get_project(store, project_id).root).folder
    if folder is None:
        raise StoreError("the project's root is a URL: videos need a folder of this machine")
    return folder


def resolve_below(folder: Path, path: str) -> Path:
    """The real path of a video below a folder.

    Raises:
        StoreError: it is missing, or outside of the folder.
    """
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise StoreError(f"{path!r:.100} lies outside of the project's root")
    try:
        real = (folder / pure).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"no such file: {path!r:.100}") from error
    if not real.is_relative_to(folder):
        raise StoreError(f"{path!r:.100} lies outside of the project's root")
    return real


def find_videos(folder: Path) -> Iterator[str]:
    """Paths of all video files below a folder, in order of their paths.

    Stacks and folders of frames, whose images may be meant one by one, are not among them.
    """
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not is_hidden(one))
        below = Path(parent).relative_to(folder)
        for name in sorted(files):
            if not is_hidden(name) and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield (below / name).as_posix()


class BelowRoot:
    """A source of frames whose errors name its path below the project's root alone."""

    def __init__(self, source: FrameSource, folder: Path, path: str) -> None:
        self.name = path
        self._source, self._folder = source, folder

    @property
    def count(self) -> int | None:
        return self._source.count

    @property
    def rate(self) -> float | None:
        return self._source.rate

    def has(self, index: int) -> bool:
        return self._source.has(index)

    def read(self, index: int) -> RgbImage:
        with paths_below(self._folder):
            return self._source.read(index)

    def close(self) -> None:
        self._source.close()


@contextmanager
def paths_below(folder: Path) -> Iterator[None]:
    """Leave the folder out of errors about videos: not everybody shall know it."""
    try:
        yield
    except VideoError as error:
        raise VideoError(str(error).replace(f"{folder}{os.sep}", "")) from error


def open_video(store: Store, video: StoredVideo) -> FrameSource:
    """Open a stored video, after checking that it is the one that was added.

    Raises:
        ConflictError: its content has changed; its masks belong to the old frames.
        StoreError: it is missing.
        VideoError: it cannot be read.
    """
    folder = video_folder(store, video.project_id)
    path = resolve_below(folder, video.path)
    num_bytes, modified_ns = size_and_time(path)
    same = (num_bytes, modified_ns) == (video.num_bytes, video.modified_ns)
    if not same and fingerprint_of(path) != video.fingerprint:
        raise ConflictError(f"{video.path} has changed since it was added")
    with paths_below(folder):
        times = None if video.times is None else FrameTimes.from_bytes(video.times)
        source = open_path(path, value_range=video.value_range, times=times)
    return BelowRoot(source, folder, video.path)


def frame_names(store: Store, video: StoredVideo) -> list[str]:
    """A name for each frame: that of its file, or its number.

    Raises:
        StoreError: the video is missing.
    """
    path = resolve_below(video_folder(store, video.project_id), video.path)
    if path.is_dir():
        return FrameFolder(path).names
    return [f"{index:05d}.jpg" for index in range(video.num_frames)]


def size_and_time(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; of a folder those of its frames."""
    states = [one.stat() for one in (_frames(path) if path.is_dir() else [path])]
    sizes = sum(state.st_size for state in states)
    return sizes, max((state.st_mtime_ns for state in states), default=0)


def fingerprint_of(path: Path) -> str:
    """Checksum of what identifies a video."""
    digest = hashlib.sha256()
    if not path.is_dir():
        _hash_blocks(digest, path)
        return digest.hexdigest()
    frames = _frames(path)
    step = max(1, len(frames) // NUM_HASHED_FRAMES)
    for number, frame in enumerate(frames):
        digest.update(f"{frame.name} {frame.stat().st_size}\n".encode())
        if number % step == 0:
            _hash_blocks(digest, frame)
    return digest.hexdigest()


def _hash_blocks(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{size} ".encode())
    with path.open("rb") as file:
        if size <= NUM_BLOCKS * BLOCK_BYTES:
            digest.update(file.read())
            return
        for number in range(NUM_BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (NUM_BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))


def _frames(folder: Path) -> list[Path]:
    names = (one for one in folder.iterdir() if has_image_suffix(one.name))
    return sorted(one for one in names if not is_hidden(one.name) and one.is_file())
