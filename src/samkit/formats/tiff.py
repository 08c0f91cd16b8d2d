"""TIFF files: which of their pages are pictures, and which of their bands are colours.

Pillow reads plain pages of 8 bits. It drops the lower half of 16-bit colours, and cannot open many
kinds of scientific files at all: these are read by tifffile, or by OpenCV where the compression
needs it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.errors import ImageError
from samkit.formats.notices import notify

if TYPE_CHECKING:
    import tifffile

Values = npt.NDArray[Any]

# Both log lines about odd tags that do not matter here, and errors about what the other one reads;
# what cannot be read is an exception.
for reader in ("PIL.TiffImagePlugin", "tifffile"):
    logging.getLogger(reader).setLevel(logging.CRITICAL)

# First bytes of TIFF and BigTIFF files in either byte order.
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Of the tag NewSubfileType: thumbnails and pyramid levels, and masks of another page. Of the older
# SubfileType: 2 is a reduced image.
REDUCED, MASK, OLD_REDUCED = 1, 4, 2
SUBFILE_TYPE = 255
ORIENTATION = 274
NODATA = 42113  # GDAL_NODATA, a number as text
# Of the tag PhotometricInterpretation; other kinds are left to Pillow.
MINISWHITE, MINISBLACK, RGB = 0, 1, 2
# Of the tag ExtraSamples.
ASSOCIATED, UNASSOCIATED = 1, 2
CHANNELS_OF_OPENCV = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class TiffBands:
    """Which bands of a page are its colours, and which its transparency.

    The first three of the bands that are not transparency are red, green and blue; of one or two
    the first is gray. Transparency is what the file says is: a fourth band that it calls
    "unspecified" is a colour like infrared, which is left out.

    Attributes:
        count: number of bands, with transparency.
        colours: positions of red, green and blue, or of gray.
        alpha: position of transparency; None without.
        is_premultiplied: whether the colours were multiplied by it ("associated").
        is_inverted: whether 0 is white.
    """

    count: int
    colours: tuple[int, ...]
    alpha: int | None
    is_premultiplied: bool = False
    is_inverted: bool = False

    @classmethod
    def of(cls, photometric: int, count: int, extras: Sequence[int]) -> TiffBands:
        """Read them from the tags PhotometricInterpretation, SamplesPerPixel and ExtraSamples."""
        main = 3 if photometric == RGB else 1
        kinds = [int(kind) for kind in extras]
        if not kinds and photometric == RGB and count == 4:
            kinds = [UNASSOCIATED]  # the tag is missing; Pillow takes it so too
        kinds = [0] * (count - main - len(kinds)) + kinds
        opacity = (ASSOCIATED, UNASSOCIATED)
        found = next((i for i, kind in enumerate(kinds) if kind in opacity), None)
        alpha = None if found is None else main + found
        others = [band for band in range(count) if band != alpha]
        return cls(
            count=count,
            colours=tuple(others[:3] if len(others) >= 3 else others[:1]),
            alpha=alpha,
            is_premultiplied=found is not None and kinds[found] == ASSOCIATED,
            is_inverted=photometric == MINISWHITE,
        )

    def notify(self, name: str) -> None:
        """Say so if bands are left out."""
        used = len(self.colours)
        if used + (self.alpha is not None) == self.count:
            return
        which = "the first three, as red, green and blue" if used == 3 else "the first, as gray"
        notify(
            "used without some of their bands",
            name,
            f"{self.count} bands, of which {which}, are used (for others, write them to a file of"
            " three bands, as gdal_translate -b does, or give an array (H, W, 3))",
        )

    def pick(self, samples: Values) -> Values:
        """Take the colours of all bands (H, W, count): (H, W, 1), (H, W, 3) or RGBA (H, W, 4)."""
        first, last = self.colours[0], self.colours[-1] + 1
        colours = samples[..., first:last]  # without a copy, where they lie side by side
        if last - first != len(self.colours):
            colours = samples[..., list(self.colours)]
        if self.is_inverted:
            colours = 1 - colours if colours.dtype.kind == "f" else ~colours
        if self.alpha is None:
            return colours
        alpha = samples[..., self.alpha, None]
        if self.is_premultiplied:
            colours = _divided(colours, alpha)
        return np.concatenate([np.broadcast_to(colours, (*alpha.shape[:-1], 3)), alpha], axis=-1)


def _divided(colours: Values, alpha: Values) -> Values:
    """Divide premultiplied colours by their transparency; what cannot be seen becomes black."""
    dtype = colours.dtype
    most = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    exact = colours.astype(np.float64) * most / np.maximum(alpha.astype(np.float64), most / 2**32)
    exact = np.where(alpha > 0, exact, 0).clip(None, most)
    return exact.astype(dtype) if dtype.kind == "f" else np.rint(exact).astype(dtype)


def is_tiff(file: IO[bytes]) -> bool:
    """Whether a file begins as a TIFF; it is left at its beginning."""
    file.seek(0)
    begins = file.read(4) in TIFF_MAGIC
    file.seek(0)
    return begins


def picture_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Pages that are pictures of their own: no thumbnails, pyramid levels or masks of others."""
    pages: list[Any] = [tiff.pages[number] for number in range(len(tiff.pages))]
    return [page for page in pages if not _belongs_to_another(page)] or pages


def _belongs_to_another(page: Any) -> bool:
    if int(page.subfiletype) & (REDUCED | MASK):
        return True
    return bool(page.tags.valueof(SUBFILE_TYPE, 0) == OLD_REDUCED)


def tiff_bands(page: Any) -> TiffBands | None:
    """The bands of a tifffile page; None for kinds of colours that are left to Pillow."""
    if int(page.photometric) not in (MINISWHITE, MINISBLACK, RGB):
        return None
    return TiffBands.of(int(page.photometric), page.samplesperpixel, page.extrasamples)


def nodata_value(page: Any) -> float | None:
    """The value of missing pixels that a tifffile page states; None without, and for NaN."""
    text = str(page.tags.valueof(NODATA, "")).strip("\0 ")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def suits_pillow(page: Any, bands: TiffBands | None) -> bool:
    """Whether Pillow reads a page's values as they are, and the right bands."""
    if bands is None:
        return True
    if page.dtype is None or int(page.sampleformat) not in (1, 3):
        return False
    if bands.count == 1 and not bands.is_inverted:
        return str(page.dtype) in ("bool", "uint8", "uint16", "float32")
    if page.dtype not in (np.uint8, np.bool_):
        return False
    if bands.count == 1:
        return True
    usual = bands.colours == (0, 1, 2) and bands.alpha in (None, 3) and not bands.is_premultiplied
    return usual and int(page.photometric) == RGB and bands.count <= 4


def decode_page(page: Any, number: int, file: IO[bytes], bands: TiffBands, name: str) -> Values:
    """Decode a page's bands, (H, W, count).

    Args:
        page: of tifffile.
        number: position of the page in the file, among pages of any kind.

    Raises:
        ImageError: the file is damaged, or compressed in a way that needs another package.
    """
    try:
        values = page.asarray()
    # Damaged files raise struct.error, IndexError, TiffFileError, ...; ValueError, besides
    # damages, that there is no decoder for the compression.
    except Exception as error:
        decoded = _decode_by_opencv(file, number) if bands.count in CHANNELS_OF_OPENCV else None
        if decoded is None:
            raise ImageError(f"{name} cannot be read: {_advice(error)}") from error
        return decoded
    height, width = page.imagelength, page.imagewidth
    if values.shape == (bands.count, height, width) and bands.count > 1:
        values = values.transpose(1, 2, 0)  # bands stored one after another
    if values.size != height * width * bands.count:
        raise ImageError(f"{name} is a volume of shape {values.shape}: store its planes as pages")
    return np.asarray(values).reshape(height, width, bands.count)


def _advice(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} (pip install imagecodecs)" if "imagecodecs" in text else text


def _decode_by_opencv(file: IO[bytes], number: int) -> Values | None:
    """Decode a page by OpenCV, which has decoders of its own; None if it cannot."""
    import cv2

    file.seek(0)
    content = np.frombuffer(file.read(), np.uint8)
    level = cv2.utils.logging.setLogLevel(0)  # it would print its errors
    try:
        with suppress(cv2.error):
            found, pages = cv2.imdecodemulti(
                content, cv2.IMREAD_UNCHANGED, range=(number, number + 1)
            )
            if found and len(pages) == 1:
                return in_rgb_order(pages[0])
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None


def in_rgb_order(values: Values) -> Values:
    """Turn OpenCV's channels, blue first, into (H, W, C) with red first."""
    import cv2

    if values.ndim == 2:
        return values[..., None]
    code = cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    if values.dtype in (np.uint8, np.uint16, np.float32):
        return np.asarray(cv2.cvtColor(values, code))
    return values[..., [2, 1, 0, 3][: values.shape[2]]]


def open_tiff(file: IO[bytes], name: str | os.PathLike[str]) -> tifffile.TiffFile:
    """Read the structure of a TIFF file.

    Raises:
        ImageError: it is damaged.
    """
    import tifffile

    file.seek(0)
    try:
        return tifffile.TiffFile(file, name="")
    except Exception as error:  # struct.error, IndexError, TiffFileError, ...
        raise ImageError(f"{name} cannot be read: {_advice(error)}") from error
