"""Colours of 16 bits, of which Pillow drops the lower half: PNG, PPM and JPEG 2000."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.formats.tiff import in_rgb_order

COLOURS = ("RGB", "RGBA", "LA")
MAX_UINT8, MAX_UINT16 = 255, 65535
# The marker SIZ of a JPEG 2000 codestream: the depth of the first component follows 40 bytes later.
SIZ, DEPTH_OFFSET, DEPTH_BITS = b"\xff\x4f\xff\x51", 42, 0x7F


def full_depth(opened: Image.Image, file: IO[bytes]) -> npt.NDArray[Any] | None:
    """Values of an opened image whose colours have more than 8 bits; None for all others.

    Args:
        opened: the image, not yet decoded.
        file: its file.

    Returns:
        uint16 (H, W, 3), or (H, W, 4) with transparency, of the full range: 65535 is the largest
        value that the format can hold.
    """
    if opened.mode not in COLOURS:
        return None
    find_maximum = MAXIMA.get(opened.format or "")
    maximum = MAX_UINT8 if find_maximum is None else find_maximum(opened, file)
    if maximum <= MAX_UINT8:
        return None
    import cv2

    file.seek(0)
    values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return None
    values = in_rgb_order(values)
    if maximum < MAX_UINT16:
        scaled = values.astype(np.uint32) * MAX_UINT16 + maximum // 2
        values = np.minimum(scaled // maximum, MAX_UINT16).astype(np.uint16)
    return np.asarray(values)


def _png_maximum(opened: Any, _file: IO[bytes]) -> int:
    return MAX_UINT16 if ";16" in str(opened.tile[0].args) else MAX_UINT8


def _ppm_maximum(opened: Any, _file: IO[bytes]) -> int:
    args = opened.tile[0].args
    return int(args[-1]) if isinstance(args, tuple) and isinstance(args[-1], int) else MAX_UINT8


def _jpeg2000_maximum(_opened: Any, file: IO[bytes]) -> int:
    file.seek(0)
    head = file.read(2**16)
    start = head.find(SIZ)
    if start < 0 or start + DEPTH_OFFSET >= len(head):
        return MAX_UINT8
    return int(2 ** ((head[start + DEPTH_OFFSET] & DEPTH_BITS) + 1) - 1)


# The largest value that a file of each format can hold.
MAXIMA: dict[str, Callable[[Any, IO[bytes]], int]] = {
    "JPEG2000": _jpeg2000_maximum,
    "PNG": _png_maximum,
    "PPM": _ppm_maximum,
}
