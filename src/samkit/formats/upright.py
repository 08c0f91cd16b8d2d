"""Copies of images for programs that do not know EXIF orientations."""

import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, JpegImagePlugin

from samkit.files import replacing
from samkit.formats.image import image_errors
from samkit.formats.pixels import (
    MAX_PIXELS,
    SIDEWAYS,
    TO_UPRIGHT,
    exif_orientation,
    turn_upright,
)

COPIED_INFO = ("icc_profile", "transparency")
JPEG = ("JPEG", "MPO")  # MPO: JPEG files of phones with a second picture, such as a preview
# Pillow's numbers of JPEG's chroma subsampling. Turned sideways, 4:2:2 becomes 4:4:0, which Pillow
# does not write.
FULL_CHROMA, HALF_CHROMA = 0, 2
OPTIONS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}


def copy_upright(source: IO[bytes], path: Path, name: str) -> bool:
    """Copy an image's file; one that EXIF turns is written upright, without its metadata.

    Files that are upright are copied byte by byte. A turned JPEG file keeps its quantization
    tables, so that its pixels change by rounding only, and an AVIF file is written in its best
    quality; others lose nothing.

    Args:
        source: the file, opened for reading bytes, at its beginning.
        path: the copy.
        name: names the image in errors.

    Returns:
        whether the image was turned.

    Raises:
        ImageError: not an image, or one that must be turned and is damaged.
        OutputError: the copy cannot be written.
    """
    with image_errors(name, MAX_PIXELS), Image.open(source) as opened:
        orientation = exif_orientation(opened)
        if orientation not in TO_UPRIGHT:
            upright = None
        else:
            options = _options(opened, sideways=orientation in SIDEWAYS)
            opened.load()  # Pillow turns TIFF files itself, and then forgets the orientation
            upright = turn_upright(opened, exif_orientation(opened))
            # Else Pillow may write the orientation again, which XMP has too.
            upright.info = {key: opened.info[key] for key in COPIED_INFO if key in opened.info}
    with replacing(path) as temporary:
        if upright is not None:
            upright.save(temporary, **options)
            return True
        source.seek(0)
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file)
    return False


def _options(image: Image.Image, *, sideways: bool) -> dict[str, Any]:
    """What Pillow is to save a turned image with."""
    if image.format not in JPEG:
        return {"format": image.format, **OPTIONS.get(image.format or "", {})}
    tables = [
        np.reshape(table, (8, 8))
        for _, table in sorted(image.quantization.items())  # type: ignore[attr-defined]
    ]
    chroma = JpegImagePlugin.get_sampling(image)
    return {
        "format": "JPEG",
        "qtables": [(one.T if sideways else one).ravel().tolist() for one in tables],
        "subsampling": HALF_CHROMA if chroma == HALF_CHROMA else FULL_CHROMA,
    }
