"""Pages of image files: TIFF stacks, animations, and the one page of all other images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.formats.full_depth import full_depth
from samkit.formats.pixels import (
    PixelOptions,
    check_size,
    exif_orientation,
    from_array,
    from_pil,
    turn_upright,
    turn_values,
    values_from_pil,
)
from samkit.formats.tiff import (
    MINISBLACK,
    MINISWHITE,
    NODATA,
    ORIENTATION,
    RGB,
    TIFF_MAGIC,
    UNASSOCIATED,
    decode_page,
    is_tiff,
    nodata_value,
    open_tiff,
    picture_pages,
    suits_pillow,
    tiff_bands,
)

# Formats whose further pictures are an animation; those of others, such as MPO, are previews.
ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")
# Kinds of which Pillow opens images of any size, asked for by name.
LARGE_KINDS: dict[bytes, Callable[[IO[bytes]], Image.Image]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    **dict.fromkeys(TIFF_MAGIC, TiffImageFile),
}
# Tags of TIFF.
BITS, PHOTOMETRIC, SAMPLES, EXTRAS, SAMPLE_FORMAT = 258, 262, 277, 338, 339
UNSIGNED, FLOAT = 1, 3  # of SAMPLE_FORMAT


class Pages(Protocol):
    """The pages of an open image file."""

    @property
    def count(self) -> int:
        """Number of pages."""
        ...

    def size(self, page: int) -> tuple[int, int, Any]:
        """Width, height and EXIF orientation of a page, from 1."""
        ...

    def read(self, page: int, options: PixelOptions) -> RgbImage:
        """Read a page, from 1, as uint8 RGB (H, W, 3), upright."""
        ...

    def values(self, page: int, max_pixels: int) -> npt.NDArray[Any]:
        """Read the values of a page, from 1, upright; see `read_values`."""
        ...


@contextmanager
def open_pages(file: IO[bytes], name: str) -> Iterator[Pages]:
    """Open an image file.

    Args:
        file: opened for reading bytes.
        name: names the file in errors.

    Raises:
        ImageError: not an image. Damages raise whatever Pillow raises.
    """
    file.seek(0)
    try:
        opened = open_unchecked(file)
    except UnidentifiedImageError as error:
        if is_tiff(file):
            with open_tiff(file, name) as tiff:
                yield TiffPages(tiff, file, name)
            return
        if not file.read(1):
            raise ImageError(f"{name} is empty (0 bytes)") from error
        raise ImageError(f"{name} is not an image that can be read") from error
    with opened:
        if opened.format == "TIFF" and not _is_plain_tiff(opened):
            with open_tiff(file, name) as tiff:
                yield TiffPages(tiff, file, name)
        else:
            yield PillowPages(opened, file, name)


def open_unchecked(file: IO[bytes]) -> Image.Image:
    """Open an image by Pillow, however large: whoever decodes it checks its size before."""
    file.seek(0)
    try:
        return Image.open(file)
    except Image.DecompressionBombError:
        file.seek(0)
        begins = file.read(8)
        file.seek(0)
        for magic, kind in LARGE_KINDS.items():
            if begins.startswith(magic):
                return kind(file)
        raise


def _is_plain_tiff(opened: Any) -> bool:
    """Whether a TIFF file has one page, of a kind that Pillow reads as it is."""
    tags = opened.tag_v2
    photometric, samples = tags.get(PHOTOMETRIC), tags.get(SAMPLES, 1)
    bits, formats = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    if tags.next or (NODATA in tags and max(bits) > 8):  # another page, or missing values
        return False
    if photometric not in (MINISWHITE, MINISBLACK, RGB):
        return True
    if samples == 1 and photometric == MINISBLACK:
        known = {((16,), (UNSIGNED,)), ((32,), (FLOAT,))}
        if (tuple(bits), tuple(formats)) in known:
            return True
    if max(bits) > 8 or any(kind != UNSIGNED for kind in formats):
        return False
    if samples == 1:
        return True
    extras = tuple(tags.get(EXTRAS, ()))
    return photometric == RGB and (samples, extras) in ((3, ()), (4, ()), (4, (UNASSOCIATED,)))


class PillowPages:
    """The pages of a file that Pillow reads: one, or the pictures of an animation."""

    def __init__(self, opened: Image.Image, file: IO[bytes], name: str) -> None:
        self._opened, self._file, self._name = opened, file, name

    @property
    def count(self) -> int:
        if self._opened.format not in ANIMATED:
            return 1
        try:
            return int(getattr(self._opened, "n_frames", 1))
        except Exception:  # noqa: BLE001 - damaged behind the first picture, which may be good
            return 1

    def size(self, page: int) -> tuple[int, int, Any]:
        self._show(page)
        return (*self._opened.size, exif_orientation(self._opened))

    def read(self, page: int, options: PixelOptions) -> RgbImage:
        self._show(page)
        check_size(self._name, *self._opened.size, options.max_pixels)
        values = full_depth(self._opened, self._file) if page == 1 else None
        if values is None:
            return from_pil(self._opened, self._name, options)
        rgb = from_array(values, self._name, options)
        return _turned(rgb, exif_orientation(self._opened))

    def values(self, page: int, max_pixels: int) -> npt.NDArray[Any]:
        self._show(page)
        check_size(self._name, *self._opened.size, max_pixels)
        values = full_depth(self._opened, self._file) if page == 1 else None
        if values is None:
            return values_from_pil(self._opened)
        return turn_values(values, exif_orientation(self._opened))

    def _show(self, page: int) -> None:
        _check_page(self._name, page, self.count if page > 1 else 1)
        if page > 1:
            self._opened.seek(page - 1)


class TiffPages:
    """The pages of a TIFF file of several pages, or of values that Pillow does not read."""

    def __init__(self, tiff: Any, file: IO[bytes], name: str) -> None:
        self._tiff, self._file, self._name = tiff, file, name
        self._pages = picture_pages(tiff)

    @property
    def count(self) -> int:
        return len(self._pages)

    def size(self, page: int) -> tuple[int, int, Any]:
        found = self._page(page)
        return found.imagewidth, found.imagelength, found.tags.valueof(ORIENTATION, 1)

    def read(self, page: int, options: PixelOptions) -> RgbImage:
        found: Any = self._page(page)
        width, height, turn = self.size(page)
        check_size(self._name, width, height, options.max_pixels)
        bands = tiff_bands(found)
        if bands is not None:
            bands.notify(self._name)
            if not bands.is_inverted:
                options = replace(options, nodata=nodata_value(found))
        if bands is None or suits_pillow(found, bands):
            return self._read_by_pillow(found.index, options)
        values = decode_page(found, found.index, self._file, bands, self._name)
        return _turned(from_array(bands.pick(values), self._name, options), turn)

    def values(self, page: int, max_pixels: int) -> npt.NDArray[Any]:
        found: Any = self._page(page)
        width, height, turn = self.size(page)
        check_size(self._name, width, height, max_pixels)
        bands = tiff_bands(found)
        if bands is None or suits_pillow(found, bands):
            self._file.seek(0)
            with Image.open(self._file) as opened:
                opened.seek(found.index)
                return values_from_pil(opened)
        samples = decode_page(found, found.index, self._file, bands, self._name)
        return turn_values(bands.pick(samples), turn)

    def _read_by_pillow(self, number: int, options: PixelOptions) -> RgbImage:
        self._file.seek(0)
        with Image.open(self._file) as opened:
            opened.seek(number)
            return from_pil(opened, self._name, options)

    def _page(self, page: int) -> Any:
        _check_page(self._name, page, self.count)
        return self._pages[page - 1]


def _check_page(name: str, page: int, count: int) -> None:
    if not 1 <= page <= count:
        pages = "page" if count == 1 else "pages"
        raise ImageError(f"{name} has {count} {pages}: there is no page {page}")


def _turned(rgb: RgbImage, turn: object) -> RgbImage:
    return np.asarray(turn_upright(Image.fromarray(rgb), turn))
