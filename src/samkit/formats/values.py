"""Values of an image as its file has them, before any of them becomes black or white."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
import numpy.typing as npt

from samkit.formats.image import image_errors
from samkit.formats.pages import open_pages
from samkit.formats.pixels import MAX_PIXELS


def read_values(
    file: IO[bytes], name: str, *, page: int = 1, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[Any]:
    """Read the values of an image, upright: (H, W, 1) or (H, W, 3), without transparency.

    Numbers and floats are of the file's own type; palettes and other kinds of 8-bit images are
    uint8 RGB.

    Args:
        file: opened for reading bytes, with seek.
        name: names the file in errors.
        page: page of the file, from 1.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: damaged, too large, or not an image.
    """
    with image_errors(name, max_pixels), open_pages(file, name) as pages:
        values = pages.values(page, max_pixels)
    colours = values if values.ndim == 3 else values[..., None]
    return np.ascontiguousarray(colours[..., : 3 if colours.shape[2] > 2 else 1])
