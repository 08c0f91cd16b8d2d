"""Pictures for browsers: upright, and scaled to the requested size."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from PIL import ExifTags, Image, UnidentifiedImageError

from samkit.arrays import RgbImage
from samkit.errors import ImageError
from samkit.formats import Pyramid, SeenValues, read_image, read_image_file, read_image_size

JPEG, PNG = "image/jpeg", "image/png"
# Files that browsers show as they are, if their mode needs no conversion.
PLAIN = {"JPEG": (JPEG, ("RGB", "L")), "PNG": (PNG, ("RGB", "L"))}
JPEGS = ("JPEG", "MPO")
LOSSY = (*JPEGS, "WEBP")
SIXTEEN_BITS = ";16"  # in what Pillow says of a PNG's pixels, whose mode is RGB all the same
QUALITY = 90
SMALL_QUALITY = 80
SMALL_SIDE = 512
UPRIGHT = 1


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An encoded picture for a browser."""

    content: bytes
    media_type: str


def show(
    file: IO[bytes],
    name: str,
    *,
    page: int = 1,
    value_range: str = "auto",
    max_side: int | None,
    max_pixels: int,
) -> Picture:
    """Make a picture from an image file.

    Args:
        file: opened for reading bytes, with seek.
        name: the file's name, for errors.
        page: page of the file, from 1.
        value_range: which values become black and white; see `samkit.formats.ValueRange`.
        max_side: limit of the longest side in pixels; None for full size.
        max_pixels: larger images are refused before decoding.

    Raises:
        ImageError: damaged or too large.
    """
    size_hw = read_image_size(file, name, page=page, max_pixels=max_pixels)
    scale = 1.0 if max_side is None else min(1.0, max_side / max(size_hw))
    height, width = (max(1, round(side * scale)) for side in size_hw)
    kind = ""
    file.seek(0)
    with suppress(UnidentifiedImageError), Image.open(file) as opened:
        kind = opened.format or ""
        media_type, modes = PLAIN.get(kind, ("", ()))
        if scale == 1.0 and page == 1 and opened.mode in modes and _is_plain(opened):
            file.seek(0)
            return Picture(content=file.read(), media_type=media_type)
        if kind in JPEGS and scale < 1.0:  # decode no larger than needed
            side = max(height, width)
            opened.draft("RGB", (side, side))
            pixels = _read_jpeg(opened, name, max_pixels)
    if kind not in JPEGS or scale == 1.0:
        pixels = read_image_file(
            file, name, page=page, value_range=value_range, max_pixels=max_pixels
        )
    picture = Image.fromarray(pixels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if max_side is None and kind not in LOSSY:
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
        return Picture(content=out.getvalue(), media_type=PNG)
    return _as_jpeg(picture)


def show_tiles(pyramid: Pyramid | SeenValues, max_side: int) -> Picture:
    """Make a picture of an image by tiles, whose longest side is at most `max_side` pixels."""
    level = pyramid.level_of(max_side)
    if max_side > SMALL_SIDE:
        return _as_jpeg(_level(pyramid, level))
    picture = _level(pyramid, max(0, level - 1))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return _as_jpeg(picture)


def _level(pyramid: Pyramid | SeenValues, level: int) -> Image.Image:
    width, height = pyramid.sizes_wh[level]
    return Image.fromarray(pyramid.read(level, (0, 0, width, height)))


def _as_jpeg(picture: Image.Image) -> Picture:
    out = io.BytesIO()
    quality = SMALL_QUALITY if max(picture.size) <= SMALL_SIDE else QUALITY
    picture.save(out, "JPEG", quality=quality)
    return Picture(content=out.getvalue(), media_type=JPEG)


def _read_jpeg(opened: Image.Image, name: str, max_pixels: int) -> RgbImage:
    try:
        return read_image(opened, max_pixels=max_pixels)
    except ImageError as error:
        raise ImageError(str(error).replace("the image", name, 1)) from error


def _is_plain(opened: Image.Image) -> bool:
    """Whether a browser shows the same pixels that the encoder sees."""
    if getattr(opened, "is_animated", False) or SIXTEEN_BITS in str(getattr(opened, "tile", "")):
        return False
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001 - damaged EXIF; `read_image` knows what to do
        return False
    return orientation == UPRIGHT and not opened.has_transparency_data
