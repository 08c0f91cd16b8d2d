"""Stacks of pages as videos: microscopy in depth or in time, animations."""

from __future__ import annotations

from pathlib import Path

from samkit.arrays import RgbImage
from samkit.errors import ImageError, VideoError
from samkit.formats import MAX_PIXELS, RangeLike, ValueRange, num_pages, read_image, read_values
from samkit.video.frames import SameSize, check_index

STACK_SUFFIXES = (".tif", ".tiff")


class StackFrames:
    """The pages of an image file as frames, all seen in one range of values.

    Attributes:
        value_range: which values are black and white; of "auto" and percentiles what the middle
            page says, since ranges of their own would make pages flicker.
    """

    rate: float | None = None

    def __init__(self, path: Path, value_range: RangeLike = "auto") -> None:
        """Open a stack.

        Raises:
            VideoError: it is no image.
            ConfigError: value_range is not valid.
        """
        self.name = str(path)
        self._path, self._same = path, SameSize(self.name)
        try:
            self._count = num_pages(path)
            self.value_range = self._range_for_all(ValueRange.of(value_range))
        except ImageError as error:
            raise VideoError(str(error)) from error

    @property
    def count(self) -> int:
        return self._count

    def has(self, index: int) -> bool:
        return 0 <= index < self._count

    def read(self, index: int) -> RgbImage:
        check_index(self.name, index, self._count)
        try:
            page = read_image(self._path, page=index + 1, value_range=self.value_range)
        except ImageError as error:
            raise VideoError(f"{self.name}: frame {index}: {error}") from error
        return self._same.check(index, page)

    def close(self) -> None:
        """Nothing is open."""

    def _range_for_all(self, wanted: ValueRange) -> ValueRange:
        middle = self._count // 2 + 1
        with self._path.open("rb") as file:
            values = read_values(file, self.name, page=middle, max_pixels=MAX_PIXELS)
        limits = wanted.limits(values, self.name)
        return wanted if limits is None else ValueRange.of(limits)
