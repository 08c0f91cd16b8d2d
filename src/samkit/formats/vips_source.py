"""Large image files as libvips reads them: row by row, one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from samkit.errors import ImageError, OutputError
from samkit.extras import require_packages
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
from samkit.formats.value_range import is_missing

Values = npt.NDArray[Any]

# Run lengths of masks are signed 32-bit numbers in browsers: 46,340 pixels square.
MAX_TILED_PIXELS = 2**31 - 1
KINDS = ("JPEG", "PNG", "TIFF")
# Progressive JPEG, interlaced PNG and TIFF in one strip are decoded whole, with two bytes or more
# for each value.
MAX_AT_ONCE_PIXELS = 2**28
SAMPLES_SIDE = 2048  # of the pixels from which black and white are chosen, across and down
ROWS_AT_ONCE = 64
EIGHT_BITS = ("uchar", "notset")  # of libvips's names for types
DTYPES = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
}
DISK_FULL = "No space left"


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Values of an image at regular distances, and the limits of all.

    Attributes:
        values: (h, w, C).
        lowest, highest: of all that are finite and not missing; both 0 without any.
    """

    values: Values
    lowest: float
    highest: float


class VipsSource:
    """An image file as libvips reads it.

    Attributes:
        bands: of a TIFF page, which of them are colours; None for other kinds.
        nodata: the value of missing pixels, if the file states it.
    """

    def __init__(self, file: IO[bytes], name: str, page: int) -> None:
        """Look at a file's header.

        Args:
            file: JPEG, PNG or TIFF, opened for reading bytes, with seek.
            name: names the file in errors.
            page: page of the file, from 1.

        Raises:
            ConfigError: libvips is not installed.
            ImageError: damaged, too large, or of a kind that cannot be read in parts.
        """
        require_packages("An image by tiles", ("pyvips",), "engine")
        self.name = name
        self.size_hw, orientation = read_size_and_orientation(
            file, name, page=page, max_pixels=MAX_TILED_PIXELS
        )
        self._file = file
        # A turned image is needed in another order than it is stored in: libvips decodes it to a
        # temporary file first.
        self._access = "random" if orientation != UPRIGHT else "sequential"
        self._options: dict[str, Any] = {}
        self.bands: TiffBands | None = None
        self.nodata: float | None = None
        with image_errors(name, MAX_TILED_PIXELS):
            kind, at_once = _kind_of(file)
        if kind not in KINDS:
            raise ImageError(
                f"{name} is too large to be shown whole, and {kind} cannot be read in parts: save"
                " it as JPEG, PNG or TIFF"
            )
        if kind == "TIFF":
            at_once = self._look_into_tiff(name, page)
        if at_once > MAX_AT_ONCE_PIXELS:
            height, width = self.size_hw
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

    @property
    def is_deep(self) -> bool:
        """Whether values are of more than 8 bits, so that a range decides what is seen of them."""
        return self.open().format not in EIGHT_BITS

    def samples(self) -> Samples:
        """Look at all values once.

        Raises:
            ImageError: the file is damaged.
        """
        import pyvips

        picture = self.open()
        colours = self.colours(picture)
        step = max(1, max(picture.width, picture.height) // SAMPLES_SIDE)
        rows = step * max(1, ROWS_AT_ONCE // step)
        region = pyvips.Region.new(colours)
        found: list[Values] = []
        lowest, highest = math.inf, -math.inf
        for top in range(0, picture.height, rows):
            count = min(rows, picture.height - top)
            content = region.fetch(0, top, picture.width, count)
            values = np.frombuffer(content, DTYPES[colours.format])
            values = values.reshape(count, picture.width, colours.bands)
            found.append(values[::step, ::step].copy())
            known = values[~is_missing(values, self.nodata)] if self.nodata is not None else values
            if values.dtype.kind == "f":
                known = known[np.isfinite(known)]
            if known.size:
                lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
        if lowest > highest:
            lowest = highest = 0.0
        return Samples(values=np.concatenate(found), lowest=lowest, highest=highest)

    def check_size(self, picture: Any) -> None:
        """Check that an upright picture has the size that the file's header says.

        Raises:
            ImageError: it has another one.
        """
        if (picture.height, picture.width) != self.size_hw:
            raise ImageError(
                f"{self.name} has another size than its header says: {picture.width} x"
                f" {picture.height}"
            )

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
        alpha = self.alpha(picture)
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

    def alpha(self, picture: Any) -> Any:
        """Transparency from 0 to 255; None without."""
        if self.bands is not None:
            alpha = None if self.bands.alpha is None else picture[self.bands.alpha]
        else:
            alpha = picture[picture.bands - 1] if picture.hasalpha() else None
        if alpha is None or alpha.format == "uchar":
            return alpha
        most = {"ushort": 65535}.get(alpha.format, 1)
        return (alpha * (255 / most)).rint().cast("uchar")


def _kind_of(file: IO[bytes]) -> tuple[str | None, int]:
    """The format of a file, and how many pixels are decoded at once if that is known by it."""
    try:
        with open_unchecked(file) as opened:
            at_once = opened.info.get("progressive") or opened.info.get("interlace")
            return opened.format, math.prod(opened.size) if at_once else 0
    except UnidentifiedImageError:
        if is_tiff(file):  # of a kind that Pillow does not read, such as colours of floats
            return "TIFF", 0
        raise


@contextmanager
def vips_errors(name: str, path: object) -> Iterator[None]:
    """Turn what libvips raises while it reads `name` and writes `path` into this project's errors.

    Raises:
        ImageError: the image is damaged.
        OutputError: the disk is full.
    """
    import pyvips

    try:
        yield
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        if DISK_FULL in reason:
            raise OutputError(f"cannot write {path}: the disk is full; free some space") from error
        raise ImageError(f"{name} cannot be read: {reason:.200}") from error
