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
from typing import IO, Any

import numpy as np
from PIL import Image

from samkit.arrays import RgbImage
from samkit.errors import ImageError, OutputError
from samkit.extras import require_packages
from samkit.files import replacing
from samkit.formats.image import image_errors, read_size_and_orientation
from samkit.formats.pages import open_unchecked
from samkit.formats.pixels import PAGE_COLOR, UPRIGHT, too_large
from samkit.formats.tiff import (
    TiffBands,
    is_tiff,
    nodata_value,
    open_tiff,
    picture_pages,
    tiff_bands,
)
from samkit.formats.value_range import RangeLike, ValueRange

# Run lengths of masks are signed 32-bit numbers in browsers: 46,340 pixels square.
MAX_TILED_PIXELS = 2**31 - 1
TILE_SIDE = 512
QUALITY = 90
KINDS = ("JPEG", "PNG", "TIFF")
# Progressive JPEG, interlaced PNG and TIFF in one strip are decoded whole, with two bytes or more
# for each value.
MAX_AT_ONCE_PIXELS = 2**28
SAMPLES_SIDE = 2048  # of the pixels from which black and white are chosen, across and down
LEVEL_FOLDER = re.compile(r"(?:.*/)?(\d+)/(\d+)_(\d+)\.jpe?g")
DISK_FULL = "No space left"


class Pyramid:
    """An image in tiles of `TILE_SIDE` pixels, on levels that each have half of the size before.

    Attributes:
        sizes_wh: width and height of each level; level 0 has the image's own size.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a pyramid that `make_pyramid` has written.

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
        matches = [match for match in map(LEVEL_FOLDER.fullmatch, names) if match]
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
        """The JPEG file of a tile; None if the level has no such tile."""
        name = self._names.get((level, x, y))
        if name is None:
            return None
        with self._lock:
            return self._zip.read(name)

    def level_of(self, max_side: int, size_wh: tuple[int, int] | None = None) -> int:
        """The finest level at which a part of the image is at most `max_side` pixels long.

        Args:
            size_wh: of the part, in pixels of the image; None for the image.
        """
        return finest_level(max_side, size_wh or self.sizes_wh[0], len(self.sizes_wh))

    def read(self, level: int, box_xyxy: tuple[int, int, int, int]) -> RgbImage:
        """Read a part of a level, uint8 RGB (h, w, 3)."""
        x0, y0, x1, y1 = box_xyxy
        found = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        for row in range(y0 // TILE_SIDE, math.ceil(y1 / TILE_SIDE)):
            for column in range(x0 // TILE_SIDE, math.ceil(x1 / TILE_SIDE)):
                content = self.tile(level, column, row)
                if content is None:
                    raise ImageError(f"a tile is missing at level {level}: {column}, {row}")
                with Image.open(io.BytesIO(content)) as opened:
                    tile = np.asarray(opened.convert("RGB"))
                left, top = column * TILE_SIDE, row * TILE_SIDE
                part = tile[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
                x, y = max(0, left - x0), max(0, top - y0)
                found[y : y + part.shape[0], x : x + part.shape[1]] = part
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
    require_packages("An image by tiles", ("pyvips",), "engine")
    import pyvips

    size_hw, orientation = read_size_and_orientation(
        file, name, page=page, max_pixels=MAX_TILED_PIXELS
    )
    source = _Source(file, name, page, is_turned=orientation != UPRIGHT)
    try:
        with replacing(path) as temporary:
            picture = source.open()
            limits = None
            if picture.format not in ("uchar", "notset"):
                step = max(1, max(picture.width, picture.height) // SAMPLES_SIDE)
                samples = source.colours(picture.subsample(step, step)).numpy()
                samples = samples.reshape(*samples.shape[:2], -1)
                limits = ValueRange.of(value_range).limits(samples, name, source.nodata)
                picture = source.open()
            picture = source.seen(picture, limits)
            if (picture.height, picture.width) != size_hw:
                raise ImageError(
                    f"{name} has another size than its header says: {picture.width} x"
                    f" {picture.height}"
                )
            target = temporary.with_name(f"{temporary.name}.zip")  # libvips wants the suffix
            try:
                picture.dzsave(
                    str(target),
                    container="zip",
                    compression=0,
                    layout="dz",
                    depth="onetile",
                    tile_size=TILE_SIDE,
                    overlap=0,
                    suffix=f".jpg[Q={QUALITY}]",
                )
                target.replace(temporary)
            finally:
                target.unlink(missing_ok=True)
    except pyvips.Error as error:
        said = " ".join(str(error).split())
        if DISK_FULL in said:
            raise OutputError(f"cannot write {path}: the disk is full; free some space") from error
        raise ImageError(f"{name} cannot be read: {said:.200}") from error


class _Source:
    """An image file as libvips reads it."""

    def __init__(self, file: IO[bytes], name: str, page: int, *, is_turned: bool) -> None:
        self._file = file
        # A turned image is needed in another order than it is stored in: libvips decodes it to a
        # temporary file first.
        self._access = "random" if is_turned else "sequential"
        self._options: dict[str, Any] = {}
        self.bands: TiffBands | None = None
        self.nodata: float | None = None
        with image_errors(name, MAX_TILED_PIXELS), open_unchecked(file) as opened:
            kind, (width, height) = opened.format, opened.size
            info = opened.info
        if kind not in KINDS:
            raise ImageError(
                f"{name} is too large to be shown whole, and {kind} cannot be read in parts: save"
                " it as JPEG, PNG or TIFF"
            )
        at_once = 0
        if info.get("progressive") or info.get("interlace"):
            at_once = width * height
        if kind == "TIFF":
            at_once = self._look_into_tiff(name, page)
        if at_once > MAX_AT_ONCE_PIXELS:
            size = f"{width} x {height} pixels that must be decoded at once"
            raise ImageError(
                too_large(name, size, MAX_AT_ONCE_PIXELS)
                + "; or save it not progressive or interlaced, TIFF in tiles"
            )

    def _look_into_tiff(self, name: str, page: int) -> int:
        """Learn about the page; return the number of pixels of its strips or tiles."""
        assert is_tiff(self._file)
        with open_tiff(self._file, name) as tiff:
            found: Any = picture_pages(tiff)[page - 1]
            self._options["page"] = found.index
            self.bands = tiff_bands(found)
            self.nodata = nodata_value(found)
            if found.is_tiled:
                return int(found.tilelength) * int(found.tilewidth)
            rows = min(found.rowsperstrip or found.imagelength, found.imagelength)
            return int(rows) * int(found.imagewidth)

    def open(self) -> Any:
        """The image from its first row."""
        import pyvips

        self._file.seek(0)
        source = pyvips.SourceCustom()
        source.on_read(self._file.read)
        source.on_seek(self._seek)
        return pyvips.Image.new_from_source(
            source, "", access=self._access, fail_on="error", **self._options
        )

    def _seek(self, offset: int, whence: int) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def colours(self, picture: Any) -> Any:
        """The bands that are colours: one or three."""
        if self.bands is not None:
            chosen = [picture[band] for band in self.bands.colours]
            return chosen[0].bandjoin(chosen[1:]) if len(chosen) > 1 else chosen[0]
        if picture.hasalpha():
            picture = picture[: picture.bands - 1]
        if picture.interpretation == "cmyk":
            # As Pillow converts it: without a profile.
            inks = 255 - picture
            return (inks[:3] * inks[3] / 255).rint().cast("uchar").copy(interpretation="srgb")
        return picture[:3] if picture.bands > 3 else picture

    def seen(self, picture: Any, limits: tuple[float, float] | None) -> Any:
        """The image as uint8, upright, over white where it is transparent."""
        alpha = self._alpha(picture)
        colours = self.colours(picture)
        if limits is not None:
            low, high = limits
            missing = None if self.nodata is None else (colours == self.nodata).bandand()
            colours = ((colours - low) * (255 / (high - low))).rint().cast("uchar")
            if missing is not None:
                colours = missing.ifthenelse(0, colours)
        if alpha is not None:
            opaque = colours.bandjoin(alpha)
            interpretation = "srgb" if colours.bands == 3 else "b-w"
            colours = opaque.copy(interpretation=interpretation).flatten(
                background=list(PAGE_COLOR[: colours.bands])
            )
        return colours.autorot()

    def _alpha(self, picture: Any) -> Any:
        """Transparency from 0 to 255; None without."""
        if self.bands is not None:
            alpha = None if self.bands.alpha is None else picture[self.bands.alpha]
        else:
            alpha = picture[picture.bands - 1] if picture.hasalpha() else None
        if alpha is None or alpha.format == "uchar":
            return alpha
        most = {"ushort": 65535}.get(alpha.format, 1)
        return (alpha * (255 / most)).rint().cast("uchar")
