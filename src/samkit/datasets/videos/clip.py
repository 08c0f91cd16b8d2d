"""Clips, and the interface of data sets that they are drawn from.

Shape legend: O objects, F frames, H x W their size.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from samkit.arrays import BoolArray, RgbImage
from samkit.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoClip:
    """A few frames that follow one another, and the masks of some objects in them.

    Attributes:
        key: identifies the video within its data set.
        frames: F frames, uint8 RGB (H, W, 3).
        masks: (O, F, H, W); in the first frame none is empty, later an object may be gone.
    """

    key: str
    frames: tuple[RgbImage, ...]
    masks: BoolArray

    def __post_init__(self) -> None:
        shapes = {frame.shape for frame in self.frames}
        if len(shapes) != 1:
            raise DataError(f"{self.key}: all frames must have one size; got {sorted(shapes)}")
        expected = (len(self.frames), *self.frames[0].shape[:2])
        if self.masks.dtype != np.bool_ or self.masks.shape[1:] != expected:
            raise DataError(
                f"{self.key}: masks must be bool (objects, {', '.join(map(str, expected))}); got"
                f" {self.masks.dtype} {self.masks.shape}"
            )
        if not len(self.masks) or not self.masks[:, 0].any((1, 2)).all():
            raise DataError(f"{self.key}: objects must be there in the first frame")


class VideoSource(Protocol):
    """A data set of numbered videos."""

    def __len__(self) -> int:
        """Number of videos."""
        ...

    def key(self, index: int) -> str:
        """Key of a video, without reading it."""
        ...

    def draw(
        self, index: int, rng: np.random.Generator, *, num_frames: int, max_objects: int
    ) -> VideoClip:
        """Draw a clip of a video; the same for the same random numbers.

        Raises:
            DataError: this video cannot be used; the others are not affected.
            ImageError: one of its images cannot be read.
        """
        ...
