"""Values of images too large to decode whole, in tiles: what a window and the pointer are shown by.

A file of tiles as a `Pyramid` is, but of the image's own values, in TIFF tiles without loss: any
values can become black and white, tile by tile, without the image.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.files import replacing
from samkit.formats.pixels import PAGE_COLOR
from samkit.formats.pyramid import QUALITY, Box, TileFile, read_part, save_tiles
from samkit.formats.value_range import Limits, RangeLike, ValueRange, is_missing, to_uint8
from samkit.formats.vips_source import Samples, VipsSource, vips_errors

Values = npt.NDArray[Any]

FACTS, SAMPLES = "values.json", "samples.npy"  # within the file
LIMITS_CACHED = 32  # of ranges of percentiles


class ValuePyramid(TileFile):
    """The values of an image in tiles, as `make_value_pyramid` has written them.

    Attributes:
        dtype: such as "uint16".
        num_channels: one or three.
        lowest, highest: of all values that are finite and not missing; both 0 without any.
        nodata: the value of missing pixels, if the file states it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        try:
            facts = json.loads(self._member(FACTS))
            self.dtype: str = facts["dtype"]
            self.num_channels: int = facts["num_channels"]
            self.lowest: float = facts["lowest"]
            self.highest: float = facts["highest"]
            self.nodata: float | None = facts["nodata"]
            self._name: str = facts["name"]
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ImageError(f"{path} is no pyramid of values: {error}") from error
        self._limits_of = lru_cache(maxsize=LIMITS_CACHED)(self._find_limits)

    def limits(self, value_range: RangeLike) -> Limits:
        """The values that a range makes black and white, as in the pyramid of pixels.

        Raises:
            ConfigError: it is no range.
            ImageError: it does not suit the values.
        """
        return self._limits_of(ValueRange.of(value_range))

    def values(self, level: int, x: int, y: int) -> Values:
        """The values (h, w, C) of a tile, with transparency from 0 to 255 as a last channel.

        Raises:
            ImageError: the level has no such tile.
        """
        import pyvips

        content = self.tile(level, x, y)
        if content is None:
            raise ImageError(f"there is no tile {x}, {y} at level {level}")
        values = pyvips.Image.new_from_buffer(content, "").numpy()
        return np.asarray(values).reshape(*values.shape[:2], -1)

    def block(self, box_xyxy: Box, values_of: Callable[[int, int], Values]) -> Values:
        """Values (h, w, C) of a part of the image, without transparency; empty beyond its edges.

        Args:
            values_of: returns the values of the tile in a column and row of level 0, such as
                `values`, or from a cache.
        """
        width, height = self.sizes_wh[0]
        x0, y0, x1, y1 = box_xyxy
        x1, y1 = min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return np.zeros((0, 0, self.num_channels), self.dtype)
        return read_part(values_of, (x0, y0, x1, y1))[..., : self.num_channels]

    def picture(self, values: Values, limits: Limits) -> Image.Image:
        """What is seen of values of a tile: gray or RGB, over white where it is transparent.

        Args:
            limits: the values that become black and white.
        """
        colours, alpha = values[..., : self.num_channels], values[..., self.num_channels :]
        pixels = to_uint8(colours, limits)
        if self.nodata is not None:
            pixels[is_missing(colours, self.nodata)] = 0
        if alpha.shape[2]:
            share = alpha.clip(0, 255) / 255
            page = np.array(PAGE_COLOR[: self.num_channels])
            pixels = np.rint(page + (pixels - page) * share).astype(np.uint8)
        return Image.fromarray(pixels[..., 0] if self.num_channels == 1 else pixels)

    def shown_tile(self, values: Values, limits: Limits) -> bytes:
        """The JPEG file of what is seen of a tile's values."""
        out = io.BytesIO()
        self.picture(values, limits).save(out, "JPEG", quality=QUALITY)
        return out.getvalue()

    def seen(self, limits: Limits) -> SeenValues:
        """The image as it is seen when these values become black and white."""
        return SeenValues(self, limits)

    def _find_limits(self, value_range: ValueRange) -> Limits:
        samples = np.load(io.BytesIO(self._member(SAMPLES)), allow_pickle=False)
        return value_range.limits(samples, self._name, self.nodata) or (0.0, 255.0)


class SeenValues:
    """An image by the values that become black and white; read as a `Pyramid` is.

    Attributes:
        sizes_wh: width and height of each level.
    """

    def __init__(self, pyramid: ValuePyramid, limits: Limits) -> None:
        self._pyramid, self._limits = pyramid, limits
        self.sizes_wh = pyramid.sizes_wh

    def level_of(self, max_side: int) -> int:
        """The finest level at which the image is at most `max_side` pixels long."""
        return self._pyramid.level_of(max_side)

    def read(self, level: int, box_xyxy: Box) -> RgbImage:
        """Read a part of a level, uint8 RGB (h, w, 3)."""

        def pixels_of(x: int, y: int) -> RgbImage:
            values = self._pyramid.values(level, x, y)
            return np.asarray(self._pyramid.picture(values, self._limits).convert("RGB"))

        return read_part(pixels_of, box_xyxy)


def is_deep(file: IO[bytes], name: str, *, page: int = 1) -> bool:
    """Whether a large image has values of more than 8 bits, by its header.

    Raises:
        ConfigError: libvips is not installed.
        ImageError: damaged, too large, or of a kind that cannot be read in parts.
    """
    source = VipsSource(file, name, page)
    with vips_errors(name, name):
        return source.is_deep


def make_value_pyramid(
    file: IO[bytes], name: str, path: str | os.PathLike[str], *, page: int = 1
) -> None:
    """Write the pyramid of an image's values, whole or not at all.

    Each level has the means of four values of the one before. Where the file states a value of
    missing pixels, it is one of the four instead, so that no value lies between that and others.

    Args:
        file: JPEG, PNG or TIFF, opened for reading bytes, with seek.
        name: names the file in errors.
        path: the pyramid's file.
        page: page of the file, from 1.

    Raises:
        ConfigError: libvips is not installed.
        ImageError: damaged, too large, or of a kind that cannot be read in parts.
        OutputError: the pyramid cannot be written.
    """
    source = VipsSource(file, name, page)
    with replacing(path) as temporary, vips_errors(name, path):
        samples = source.samples()
        picture = source.open()
        values = source.colours(picture)
        num_channels = values.bands
        alpha = source.alpha(picture)
        if alpha is not None:
            values = values.bandjoin(alpha)
        # Not as colours: libvips would convert these for the file's format.
        values = values.autorot().copy(interpretation="multiband")
        source.check_size(values)
        is_float = values.format in ("float", "double")
        predictor = "float" if is_float else "horizontal"
        save_tiles(
            values.cast("float") if is_float else values,
            temporary,
            suffix=f".tif[compression=deflate,predictor={predictor}]",
            region_shrink="mean" if source.nodata is None else "median",
        )
        _add_facts(temporary, name, samples, num_channels, source.nodata)


def _add_facts(
    path: Path, name: str, samples: Samples, num_channels: int, nodata: float | None
) -> None:
    """Add to a file of tiles what is known of all values."""
    facts = {
        "name": name,
        "dtype": str(samples.values.dtype),
        "num_channels": num_channels,
        "lowest": samples.lowest,
        "highest": samples.highest,
        "nodata": nodata,
    }
    content = io.BytesIO()
    np.save(content, samples.values)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FACTS, json.dumps(facts))
        archive.writestr(SAMPLES, content.getvalue(), compress_type=zipfile.ZIP_DEFLATED)
