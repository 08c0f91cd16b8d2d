"""Shapes of Label Studio's regions: brush strokes, polygons, rectangles and ellipses.

All coordinates are in percent of the image's sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samkit.annotations.model import Drawn, Shape
from samkit.annotations.numbers import coordinate
from samkit.annotations.shapes import BOX_FAULT, ellipse_shape, polygon_shape, turn
from samkit.annotations.spaces import resize_rle
from samkit.arrays import BoolArray
from samkit.errors import DataError
from samkit.formats import BrushCode
from samkit.geometry import encode_rle

# Fields of a region that say where it is.
GEOMETRY = ("rle", "points", "vertices", "x", "y", "width", "height", "radiusX", "radiusY")
MIN_POINTS = 3


@dataclass(frozen=True)
class Brush:
    """Painted pixels, as a run-length code of the four channels of all pixels, row by row.

    See `samkit.formats.BrushCode`.
    """

    code: bytes

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        return Drawn(resize_rle(encode_rle(decode_brush(self.code, space_hw)), size_hw))


def decode_brush(code: bytes, size_hw: tuple[int, int]) -> BoolArray:
    """Decode brush strokes to a mask (H, W).

    Raises:
        DataError: malformed, or of another size.
    """
    bits = _Bits(code)
    num_values, word = bits.read(BrushCode.COUNT_FIELD), bits.read(BrushCode.VALUE_FIELD) + 1
    lengths = [bits.read(BrushCode.LENGTH_FIELD) + 1 for _ in range(BrushCode.NUM_LENGTHS)]
    height, width = size_hw
    if num_values != BrushCode.CHANNELS * height * width or word != BrushCode.VALUE_BITS:
        raise DataError(
            f"brush strokes must have {BrushCode.CHANNELS} x {width} x {height} values of"
            f" {BrushCode.VALUE_BITS} bits; got {num_values} of {word}"
        )
    runs, painted, place = [], [], 0
    while place < num_values:
        is_run = bits.read(1)
        count = bits.read(lengths[bits.read(2)]) + 1
        if is_run:
            painted.append(np.array([bits.read(BrushCode.VALUE_BITS) > 0]))
            runs.append(np.array([_alphas(place, place + count)]))
        else:
            painted.append(bits.read_bytes(count) > 0)
            stops = np.arange(place, place + count + 1) // BrushCode.CHANNELS
            runs.append(np.diff(stops))
        place += count
    if place != num_values:
        raise DataError(f"brush strokes have {place} values instead of {num_values}")
    flat = np.repeat(np.concatenate(painted), np.concatenate(runs))
    mask: BoolArray = flat.reshape(height, width)
    return mask


def _alphas(start: int, stop: int) -> int:
    """Number of alpha values, every fourth, from one place to another."""
    return stop // BrushCode.CHANNELS - start // BrushCode.CHANNELS


class _Bits:
    """Bits of a code, the highest of each byte first."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._place = 0

    def read(self, count: int) -> int:
        """Read a number of at most 32 bits."""
        start, self._place = self._place, self._place + count
        self._check()
        first, last = start // 8, (self._place + 7) // 8
        number = int.from_bytes(self._code[first:last], "big") >> (8 * last - self._place)
        return number & ((1 << count) - 1)

    def read_bytes(self, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Read numbers of 8 bits."""
        start, self._place = self._place, self._place + BrushCode.VALUE_BITS * count
        self._check()
        part = self._code[start // 8 : (self._place + 7) // 8]
        bits = np.unpackbits(np.frombuffer(part, np.uint8))[start % 8 :]
        return np.packbits(bits[: BrushCode.VALUE_BITS * count])

    def _check(self) -> None:
        if self._place > 8 * len(self._code):
            raise DataError("brush strokes end too early")


def has_shape(value: dict[str, Any]) -> bool:
    """Whether a region's value says where it is."""
    return any(one in value for one in GEOMETRY)


def region_shape(value: dict[str, Any], size_hw: tuple[int, int], *, boxes: bool) -> Shape:
    """The shape of a region.

    Args:
        value: its `value`.
        size_hw: the image's size as the region states it.
        boxes: whether rectangles are masks.

    Raises:
        DataError: it is no mask, such as a key point.
        ValueError, TypeError, KeyError: malformed.
    """
    if "rle" in value:
        return Brush(bytes(value["rle"]))
    scale_xy = np.array(size_hw[::-1]) / 100
    if "points" in value:
        points = [(coordinate(x), coordinate(y)) for x, y in value["points"]]
        if len(points) < MIN_POINTS:
            raise DataError(f"a polygon of {len(points)} points is not a mask")
        return polygon_shape(np.array(points) * scale_xy)
    rotation = coordinate(value.get("rotation") or 0)
    if "radiusX" in value:
        x, y, radius_x, radius_y = _scaled(value, ("x", "y", "radiusX", "radiusY"), scale_xy)
        return ellipse_shape(x, y, radius_x, radius_y, rotation=rotation)
    if "height" not in value:
        raise DataError("it is not a mask")
    if not boxes:
        raise DataError(BOX_FAULT)
    x, y, width, height = _scaled(value, ("x", "y", "width", "height"), scale_xy)
    corners_xy = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    return polygon_shape(turn(corners_xy, (x, y), rotation))  # about its top left corner


def _scaled(
    value: dict[str, Any], names: Sequence[str], scale_xy: np.ndarray[Any, np.dtype[np.float64]]
) -> list[float]:
    """Values of fields, of which every other one goes along y."""
    return [
        float(coordinate(value[name]) * scale_xy[index % 2]) for index, name in enumerate(names)
    ]
