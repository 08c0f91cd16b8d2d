"""Images that teach a model: whole images, and frames of videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from samkit.dataengine import (
    OpenVideos,
    Store,
    StoredImage,
    StoredVideo,
    VerifiedFrame,
    get_image,
    get_video,
    read_stored_image,
)
from samkit.errors import MissingError

if TYPE_CHECKING:
    from samkit.arrays import RgbImage


class LessonFiles:
    """Reads what lessons are about. Videos stay open until `close`; reading opens them again."""

    def __init__(self, store: Store, *, max_pixels: int) -> None:
        """Open nothing yet; `max_pixels` is the most that is decoded at once."""
        self.store, self.max_pixels = store, max_pixels
        self.videos = OpenVideos(store)

    def close(self) -> None:
        """Close the videos."""
        self.videos.close()


class LessonImage(Protocol):
    """An image with masks to learn from."""

    @property
    def key(self) -> str:
        """Names it among a project's."""

    @property
    def pixels_key(self) -> str:
        """Identifies its pixels: the key of its embedding in the server's cache."""

    @property
    def group(self) -> str:
        """Checksum of its file: images of the same file are alike, and on one side of a split."""

    def read(self, files: LessonFiles) -> RgbImage:
        """Read its pixels (H, W, 3).

        Raises:
            ImageError, StoreError, VideoError: it cannot be read, or has changed.
        """

    def content(self) -> dict[str, Any]:
        """As JSON, for `remembered_image`."""


@dataclass(frozen=True)
class WholeImage:
    """An image as it is."""

    image: StoredImage

    @property
    def key(self) -> str:
        return self.image.path

    @property
    def pixels_key(self) -> str:
        return self.image.pixels_key

    @property
    def group(self) -> str:
        return self.image.sha256

    def read(self, files: LessonFiles) -> RgbImage:
        return read_stored_image(files.store, self.image, max_pixels=files.max_pixels)

    def content(self) -> dict[str, Any]:
        return {"image": self.image.id, "pixels_key": self.pixels_key}


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video."""

    video: StoredVideo
    frame: int

    @property
    def key(self) -> str:
        return f"{self.video.path} {self.frame}"

    @property
    def pixels_key(self) -> str:
        return VerifiedFrame(video=self.video, frame=self.frame, masks=()).pixels_key

    @property
    def group(self) -> str:
        return self.video.fingerprint

    def read(self, files: LessonFiles) -> RgbImage:
        return files.videos.read(self.video, self.frame)

    def content(self) -> dict[str, Any]:
        return {"video": self.video.id, "frame": self.frame, "pixels_key": self.pixels_key}


def remembered_image(store: Store, content: Mapping[str, Any]) -> LessonImage | None:
    """An image by its content; None if it is not there any more, or has other pixels."""
    found: LessonImage
    try:
        if "video" in content:
            found = VideoFrame(get_video(store, content["video"]), content["frame"])
        else:
            found = WholeImage(get_image(store, content["image"]))
    except MissingError:
        return None
    return found if found.pixels_key == content["pixels_key"] else None
