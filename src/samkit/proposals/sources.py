"""Image sources that are read window by window, for images of any size.

Windows of images of more than 8 bits are converted by limits of the full image, so that all windows
have the same black and white.
"""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from samkit.errors import ImageError
from samkit.formats import (
    MAX_PIXELS,
    RangeLike,
    TiffBands,
    ValueRange,
    is_tiff,
    open_tiff,
    picture_pages,
    read_image,
    split_page,
    tiff_bands,
    to_uint8,
)
from samkit.proposals.grid import Box

Pixels = npt.NDArray[Any]

CONTIGUOUS = 1  # of the tag PlanarConfiguration
# Values from which the limits of a large image are chosen, and rows that are read at once.
SAMPLED_VALUES = 2**24
ROWS_AT_ONCE = 256


@runtime_checkable
class TileSource(Protocol):
    """An image that can be read window by window."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        ...

    def read(self, box_xyxy: Box) -> Pixels:
        """Read a window inside the image, as any array that `read_image` accepts."""
        ...


SourceLike: TypeAlias = "str | os.PathLike[str] | Pixels | TileSource"


class ArrayTiles:
    """Windows of an array (H, W) or (H, W, C); a memory map is read window by window."""

    def __init__(self, array: Pixels) -> None:
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise ImageError(f"an image array must be (H, W) or (H, W, C); got {array.shape}")
        self.array = array

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]

    def read(self, box_xyxy: Box) -> Pixels:
        x0, y0, x1, y1 = box_xyxy
        return np.asarray(self.array[y0:y1, x0:x1])


class TiffTiles:
    """Windows of a page of a TIFF file; only the strips or tiles they touch are decoded.

    Attributes:
        bands: which of its bands are colours.
    """

    def __init__(self, path: str | os.PathLike[str], *, page: int = 1) -> None:
        """Read a file's structure; the file is opened again for each window.

        Raises:
            ImageError: the file is damaged, or does not hold interleaved gray or RGB pixels.
        """
        self.path = path
        try:
            with open(path, "rb") as file, open_tiff(file, os.fsdecode(path)) as tiff:
                self.page = _picture(tiff, page, path)
                self.jpegtables = self.page.jpegtables
        except FileNotFoundError as error:
            raise ImageError(f"no such file: {path}") from error
        bands = tiff_bands(self.page)
        if bands is None or self.page.planarconfig != CONTIGUOUS or self.page.dtype is None:
            raise ImageError(
                f"{path} must be a TIFF of interleaved gray or RGB pixels to be read in parts;"
                f" got {self.page.photometric!s}, {self.page.planarconfig!s}, {self.page.shape}"
            )
        self.bands: TiffBands = bands
        bands.notify(os.fsdecode(path))
        height, width = self.size_hw
        self.part_hw = (self.page.rowsperstrip or height, width)
        if self.page.is_tiled:
            self.part_hw = (self.page.tilelength, self.page.tilewidth)
        if math.prod(self.part_hw) > MAX_PIXELS:
            raise ImageError(
                f"{path} is stored in strips of {self.part_hw[1]} x {self.part_hw[0]} pixels, too"
                f" large to decode: the limit is {MAX_PIXELS:,} (store it in tiles)"
            )

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.page.imagelength, self.page.imagewidth

    def read(self, box_xyxy: Box) -> Pixels:
        x0, y0, x1, y1 = box_xyxy
        part_h, part_w = self.part_hw
        window = np.zeros((y1 - y0, x1 - x0, self.bands.count), self.page.dtype)
        parts_across = math.ceil(self.size_hw[1] / part_w)
        with open(self.path, "rb") as file:
            for row in range(y0 // part_h, math.ceil(y1 / part_h)):
                for column in range(x0 // part_w, math.ceil(x1 / part_w)):
                    part = self._decode_part(file, row * parts_across + column)
                    if part is None:  # a part that was never written is zero
                        continue
                    top, left = row * part_h, column * part_w
                    cut = part[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
                    y, x = max(0, top - y0), max(0, left - x0)
                    window[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
        return self.bands.pick(window)

    def _decode_part(self, file: BinaryIO, number: int) -> Pixels | None:
        """Decode one strip or tile (h, w, C), cropped to the image."""
        file.seek(self.page.dataoffsets[number])
        data = file.read(self.page.databytecounts[number])
        try:
            part, _, shape = self.page.decode(data, number, jpegtables=self.jpegtables)
        # The decoder of each compression has its own errors.
        except Exception as error:
            raise ImageError(f"{self.path} cannot be read: {_reason(error)}") from error
        return None if part is None else np.asarray(part[0, : shape[1], : shape[2]])


class StretchedTiles:
    """Windows of another source, whose values are converted by the same limits to 0..255."""

    def __init__(self, source: TileSource, limits: tuple[float, float]) -> None:
        self.source = source
        self.limits = limits

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.source.size_hw

    def read(self, box_xyxy: Box) -> Pixels:
        window = self.source.read(box_xyxy)
        if window.ndim < 3 or window.shape[2] != 4:
            return to_uint8(window, self.limits)
        opaque = to_uint8(window[..., 3:], ValueRange("full").limits(window[..., 3:], ""))
        return np.concatenate([to_uint8(window[..., :3], self.limits), opaque], axis=2)


def open_source(source: SourceLike, *, value_range: RangeLike = "auto") -> TileSource:
    """Open an image for reading in windows.

    Args:
        source: an array or memory map; a `.npy` file, which is mapped; a TIFF file of any size; any
            other image file of a size that `read_image` accepts; or a `TileSource`.
        value_range: which values become black and white, in images of more than 8 bits; see
            `ValueRange`. For images too large for memory, percentiles are of values at regular
            distances.

    Returns:
        a source of windows of uint8 or booleans.

    Raises:
        ImageError: the image is missing, damaged or too large.
        ConfigError: value_range is not valid.
    """
    chosen = ValueRange.of(value_range)
    if not isinstance(source, (np.ndarray, str, os.PathLike)):
        if isinstance(source, TileSource):
            return _stretched(source, chosen, "")
        kind = type(source).__name__
        raise ImageError(f"a source is a path, an array or has size_hw and read(); got {kind}")
    if isinstance(source, np.ndarray):
        return _stretched(ArrayTiles(source), chosen, "")
    name, page = split_page(os.fsdecode(source))
    if Path(name).suffix == ".npy":
        return _stretched(ArrayTiles(_map_npy(Path(name))), chosen, name)
    try:
        return ArrayTiles(read_image(source, value_range=chosen))
    except ImageError:
        if not _is_tiff(Path(name)):
            raise
        return _stretched(TiffTiles(name, page=page or 1), chosen, name)


def _stretched(source: TileSource, value_range: ValueRange, name: str) -> TileSource:
    """Convert a source's values to 0..255 by limits of the full image; 8 bits stay as they are."""
    if source.read((0, 0, 1, 1)).dtype in (np.uint8, np.bool_):
        return source
    limits = value_range.limits(_sampled_values(source), name)
    return source if limits is None else StretchedTiles(source, limits)


def _sampled_values(source: TileSource) -> Pixels:
    """Colours of every n-th pixel across and down, of all pixels where they are few."""
    height, width = source.size_hw
    step = math.ceil(math.sqrt(height * width / SAMPLED_VALUES))
    rows = ROWS_AT_ONCE * step
    found = []
    for y in range(0, height, rows):
        window = source.read((0, y, width, min(y + rows, height)))[::step, ::step]
        found.append(window[..., :3] if window.ndim == 3 else window)
    return np.concatenate(found)


def _picture(tiff: Any, page: int, path: object) -> Any:
    pages = picture_pages(tiff)
    if page > len(pages):
        raise ImageError(f"{path} has {len(pages)} pages: there is no page {page}")
    return pages[page - 1]


def _reason(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _map_npy(path: Path) -> Pixels:
    try:
        array: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise ImageError(f"no such file: {path}") from error
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"{path} is not an array that can be mapped: {error}") from error
    return array


def _is_tiff(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return is_tiff(file)
    except OSError:
        return False
