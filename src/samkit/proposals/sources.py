"""Image sources that are read window by window, for images of any size."""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from samkit.errors import ImageError
from samkit.formats import MAX_PIXELS, read_image
from samkit.proposals.grid import Box

Pixels = npt.NDArray[Any]

# First bytes of TIFF and BigTIFF files in either byte order.
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_COLOURS = {"MINISBLACK", "RGB"}


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
    """Windows of a TIFF file's first page; only the strips or tiles they touch are decoded."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read a file's structure; the file is opened again for each window.

        Raises:
            ImageError: the file is damaged, or does not hold interleaved gray or RGB pixels.
        """
        import tifffile

        self.path = path
        try:
            with tifffile.TiffFile(path) as file:
                self.page = file.pages.first
                self.jpegtables = self.page.jpegtables
        except FileNotFoundError as error:
            raise ImageError(f"no such file: {path}") from error
        # Damaged files raise struct.error, IndexError, TiffFileError, ...
        except Exception as error:
            raise ImageError(f"{path} cannot be read: {_reason(error)}") from error
        colours = tifffile.PHOTOMETRIC(self.page.photometric).name
        planes = tifffile.PLANARCONFIG(self.page.planarconfig).name
        if colours not in TIFF_COLOURS or planes != "CONTIG" or self.page.ndim not in (2, 3):
            raise ImageError(
                f"{path} must be a TIFF of interleaved gray or RGB pixels to be read in parts;"
                f" got {colours}, {planes}, {self.page.shape}"
            )
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
        samples = self.page.samplesperpixel
        window = np.zeros((y1 - y0, x1 - x0, samples), self.page.dtype)
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
        return window

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


def open_source(source: SourceLike) -> TileSource:
    """Open an image for reading in windows.

    Args:
        source: an array or memory map; a `.npy` file, which is mapped; a TIFF file of any size
            (large ones need the package tifffile); any other image file of a size that `read_image`
            accepts; or a `TileSource`.
            which the package tifffile is needed if it is large; any other image file of a size that
            `read_image` takes; or an object that is a `TileSource` already.

    Raises:
        ImageError: the image is missing, damaged or too large.
    """
    if isinstance(source, np.ndarray):
        return ArrayTiles(source)
    if not isinstance(source, (str, os.PathLike)):
        if isinstance(source, TileSource):
            return source
        kind = type(source).__name__
        raise ImageError(f"a source is a path, an array or has size_hw and read(); got {kind}")
    path = Path(os.fsdecode(source))
    if path.suffix == ".npy":
        return ArrayTiles(_map_npy(path))
    try:
        return ArrayTiles(read_image(path))
    except ImageError as error:
        if not _is_tiff(path):
            raise
        return _open_tiff(path, error)


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
            return file.read(4) in TIFF_MAGIC
    except OSError:
        return False


def _open_tiff(path: Path, refusal: ImageError) -> TiffTiles:
    """Open a TIFF file that `read_image` refused, most likely for its size."""
    try:
        return TiffTiles(path)
    except ImportError as error:
        raise ImageError(
            f"{refusal} (pip install tifffile: large TIFF files are read in parts)"
        ) from error
