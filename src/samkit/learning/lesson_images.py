"""Images that teach a model: whole images, regions of large ones, and frames of videos."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from samkit.dataengine import (
    OpenVideos,
    Store,
    StoredImage,
    StoredVideo,
    VerifiedFrame,
    get_image,
    get_video,
    open_pyramid,
    pyramid_file,
    read_stored_image,
    trim_pyramids,
)
from samkit.errors import MissingError
from samkit.formats import Pyramid, Region
from samkit.types import Click, GivenPrompts

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.geometry import Rle


MAX_OPEN = 4  # pyramids
MAX_PYRAMID_BYTES = 10 * 2**30  # in the folder, as by the server's own default


class Lesson(NamedTuple):
    """What is to be learned from an image: masks, the prompts of each, and rejected masks."""

    rles: tuple[Rle, ...]
    given: tuple[GivenPrompts, ...]
    rejected: tuple[Rle, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Lesson:
        """Make it of its fields as JSON; earlier releases had only the first clicks."""
        if "given" in content:
            given = [_read_prompts(*one) for one in content["given"]]
        else:
            first = content["clicks"]
            given = [_read_prompts([] if math.isnan(x) else [(x, y, 1)]) for x, y in first]
        return cls(tuple(content["rles"]), tuple(given), tuple(content["rejected"]))


def _read_prompts(
    clicks: Sequence[Click], box_xyxy: tuple[float, float, float, float] | None = None
) -> GivenPrompts:
    """Prompts of which JSON made lists."""
    own = tuple((x, y, label) for x, y, label in clicks)
    if box_xyxy is None:
        return GivenPrompts(own)
    x0, y0, x1, y1 = box_xyxy
    return GivenPrompts(own, (x0, y0, x1, y1))


class LessonFiles:
    """Reads what lessons are about. Files stay open until `close`; reading opens them again."""

    def __init__(self, store: Store, *, max_pixels: int, pyramids: Path) -> None:
        """Open nothing yet.

        Args:
            max_pixels: the most that is decoded at once; larger images are seen by regions.
            pyramids: the server's folder of large images in tiles.
        """
        self.store, self.max_pixels = store, max_pixels
        self.videos = OpenVideos(store)
        self._folder = pyramids
        self._pyramids: OrderedDict[str, Pyramid] = OrderedDict()

    def pyramid(self, image: StoredImage) -> Pyramid:
        """The pyramid of a large image, which is made if there is none; see `open_pyramid`."""
        key = image.pixels_key
        if key not in self._pyramids:
            path = pyramid_file(self._folder, image)
            is_new = not path.exists()
            self._pyramids[key] = open_pyramid(self.store, image, self._folder)
            if is_new:
                trim_pyramids(self._folder, MAX_PYRAMID_BYTES, newest=path)
        self._pyramids.move_to_end(key)
        while len(self._pyramids) > MAX_OPEN:
            self._pyramids.popitem(last=False)
        return self._pyramids[key]

    def close(self) -> None:
        """Close all files."""
        self.videos.close()
        self._pyramids.clear()


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
class FullImage:
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
class ImageRegion:
    """A region of a large image."""

    image: StoredImage
    region: Region

    @property
    def key(self) -> str:
        return f"{self.image.path} {self.region.key}"

    @property
    def pixels_key(self) -> str:
        return hashlib.sha256(f"{self.image.pixels_key} {self.region.key}".encode()).hexdigest()

    @property
    def group(self) -> str:
        return self.image.sha256

    def read(self, files: LessonFiles) -> RgbImage:
        return files.pyramid(self.image).read(self.region.level, self.region.box_xyxy)

    def content(self) -> dict[str, Any]:
        region = [self.region.level, *self.region.box_xyxy]
        return {"image": self.image.id, "region": region, "pixels_key": self.pixels_key}


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
        elif "region" in content:
            level, *(x0, y0, x1, y1) = content["region"]
            region = Region(level=level, box_xyxy=(x0, y0, x1, y1))
            found = ImageRegion(get_image(store, content["image"]), region)
        else:
            found = FullImage(get_image(store, content["image"]))
    except MissingError:
        return None
    return found if found.pixels_key == content["pixels_key"] else None
