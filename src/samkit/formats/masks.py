"""Masks and pictures as PNG files."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.files import replacing


def write_png(
    path: str | os.PathLike[str], image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
) -> Path:
    """Write an array (H, W) or (H, W, 3), the first also of 16 bits, as PNG; return its path."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return Path(path)


def write_mask_png(path: str | os.PathLike[str], mask: npt.NDArray[np.bool_]) -> Path:
    """Write a mask (H, W) as a PNG of 0 and 255; return its path."""
    return write_png(path, mask.astype(np.uint8) * 255)
