"""Pyramids of tiles of images too large to decode whole: made once, then read tile by tile.

libvips streams an image's rows through all levels at once, so that memory does not grow with the
image. A pyramid is one zip file in DeepZoom's layout, of JPEG tiles that are stored as they are.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.files import replacing
from samkit.formats.value_range import RangeLike, ValueRange
from samkit.formats.vips_source import VipsSource, vips_errors

TILE_SIDE = 512
QUALITY = 90
TILE_NAME = re.compile(r"(?:.*/)?(\d+)/(\d+)_(\d+)\.(?:jpe?g|tif)")

Box = tuple[int, int, int, int]


class TileFile:
    """An image in tiles of `TILE_SIDE` pixels, on levels that each have half of the size before.

    Attributes:
        sizes_wh: width and height of each level; level 0 has the image's own size.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file of tiles.

        Raises:
            ImageError: there is none, or it is damaged.
        """
        try:
            self._zip = zipfile.ZipFile(path)
            names = self._zip.namelist()
            described = next(name for name in names if name.endswith(".dzi"))
            text = self._zip.read(described).decode()
            width, height = (
                int(re.findall(rf'{side}="(\d+)"', text)[0]) for side in ("Width", "Height")
            )
        except (OSError, zipfile.BadZipFile, StopIteration, LookupError, ValueError) as error:
            raise ImageError(f"{path} is no pyramid of tiles: {error}") from error
        matches = [match for match in map(TILE_NAME.fullmatch, names) if match]
        top = max(int(match[1]) for match in matches)
        self._names = {
            (top - int(match[1]), int(match[2]), int(match[3])): match[0] for match in matches
        }
        self.sizes_wh = [(width, height)]
        for _ in range(max(level for level, _, _ in self._names)):
            width, height = (width + 1) // 2, (height + 1) // 2
            self.sizes_wh.append((width, height))
        self._lock = threading.Lock()

    def tile(self, level: int, x: int, y: int) -> bytes | None:
        """The file of a tile; None if the level has no such tile."""
        name = self._names.get((level, x, y))
        return None if name is None else self._member(name)

    def has(self, level: int, x: int, y: int) -> bool:
        """Whether there is a tile in a column and row of a level."""
        return (level, x, y) in self._names

    def level_of(self, max_side: int, size_wh: tuple[int, int] | None = None) -> int:
        """The finest level at which a part of the image is at most `max_side` pixels long.

        Args:
            size_wh: of the part, in pixels of the image; None for the image.
        """
        return finest_level(max_side, size_wh or self.sizes_wh[0], len(self.sizes_wh))

    def _member(self, name: str) -> bytes:
        """Read a file within the file, which several threads may do."""
        with self._lock:
            return self._zip.read(name)


class Pyramid(TileFile):
    """An image in JPEG tiles, as `make_pyramid` has written it."""

    def read(self, level: int, box_xyxy: Box) -> RgbImage:
        """Read a part of a level, uint8 RGB (h, w, 3)."""

        def pixels_of(x: int, y: int) -> RgbImage:
            content = self.tile(level, x, y)
            if content is None:
                raise ImageError(f"a tile is missing at level {level}: {x}, {y}")
            with Image.open(io.BytesIO(content)) as opened:
                return np.asarray(opened.convert("RGB"))

        return read_part(pixels_of, box_xyxy)


def read_part(pixels_of: Callable[[int, int], npt.NDArray[Any]], box_xyxy: Box) -> npt.NDArray[Any]:
    """Put a part (h, w, C) of a level together from its tiles.

    Args:
        pixels_of: returns the pixels (h, w, C) of the tile in a column and row.

    Raises:
        ImageError: the part is empty.
    """
    x0, y0, x1, y1 = box_xyxy
    found: npt.NDArray[Any] | None = None
    for row in range(y0 // TILE_SIDE, math.ceil(y1 / TILE_SIDE)):
        for column in range(x0 // TILE_SIDE, math.ceil(x1 / TILE_SIDE)):
            tile = pixels_of(column, row)
            if found is None:
                found = np.zeros((y1 - y0, x1 - x0, tile.shape[2]), tile.dtype)
            left, top = column * TILE_SIDE, row * TILE_SIDE
            part = tile[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
            x, y = max(0, left - x0), max(0, top - y0)
            found[y : y + part.shape[0], x : x + part.shape[1]] = part
    if found is None:
        raise ImageError(f"a part of an image needs at least one pixel; got {box_xyxy}")
    return found


def finest_level(max_side: int, size_wh: tuple[int, int], num_levels: int) -> int:
    """The finest of a pyramid's levels at which a part of a size is at most `max_side` long."""
    return min(max(0, math.ceil(math.log2(max(size_wh) / max_side))), num_levels - 1)


def make_pyramid(
    file: IO[bytes],
    name: str,
    path: str | os.PathLike[str],
    *,
    page: int = 1,
    value_range: RangeLike = "auto",
) -> None:
    """Write an image's pyramid, whole or not at all.

    Args:
        file: JPEG, PNG or TIFF, opened for reading bytes, with seek.
        name: names the file in errors.
        path: the pyramid's file.
        page: page of the file, from 1.
        value_range: which values become black and white; percentiles are of pixels at regular
            distances. See `ValueRange`.

    Raises:
        ConfigError: libvips is not installed.
        ImageError: damaged, too large, or of a kind that cannot be read in parts.
        OutputError: the pyramid cannot be written.
    """
    source = VipsSource(file, name, page)
    with replacing(path) as temporary, vips_errors(name, path):
        limits = None
        if source.is_deep:
            samples = source.samples().values
            limits = ValueRange.of(value_range).limits(samples, name, source.nodata)
        picture = source.seen(source.open(), limits)
        source.check_size(picture)
        save_tiles(picture, temporary, suffix=f".jpg[Q={QUALITY}]")


def save_tiles(picture: Any, path: Path, *, suffix: str, region_shrink: str = "mean") -> None:
    """Write libvips's image as a file of tiles.

    Args:
        suffix: of the tiles, with options of their format.
        region_shrink: what becomes of four pixels in the next level, as libvips names it.
    """
    target = path.with_name(f"{path.name}.zip")  # libvips wants the suffix
    try:
        picture.dzsave(
            str(target),
            container="zip",
            compression=0,
            layout="dz",
            depth="onetile",
            tile_size=TILE_SIDE,
            overlap=0,
            suffix=suffix,
            region_shrink=region_shrink,
        )
        target.replace(path)
    finally:
        target.unlink(missing_ok=True)
