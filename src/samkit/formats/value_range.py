"""Which values of an image become black and white: 12 bits in 16, signed numbers, floats.

Images of 8 bits are never changed. For others the type alone does not say which values are black
and white: a microscope's 12 bits in a 16-bit file are black to the eye, and to a network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from samkit.errors import ConfigError, ImageError
from samkit.formats.notices import notify

Values: TypeAlias = npt.NDArray[Any]
Limits: TypeAlias = tuple[float, float]  # black and white

# What `auto` cuts off at either end: dead and hot pixels. Of 24 megapixels it is 24,000 pixels.
AUTO_PERCENTS = (0.1, 99.9)
# 16-bit images whose values span less do not use their range: 14 bits, the most that cameras and
# microscopes write into 16.
NARROW_SPAN = 2**14
# Larger floats stand for missing values: 9.97e36 of netCDF, 3.4e38 of float32.
HUGE = 1e30
BLOCK = 2**22  # values that are converted or counted at once
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
PAIR = re.compile(rf"\s*({NUMBER})\s*(%?)\s*,\s*({NUMBER})\s*(%?)\s*")
CHOICES = "full, LOW,HIGH or LOW%,HIGH%"


@dataclass(frozen=True)
class ValueRange:
    """Which values of an image become black and white; images of 8 bits are never changed.

    - `auto`: 16-bit images, unless 99.8% of their values span less than 14 bits, and floats in
      [0, 1] use the full range. All others are stretched from their 0.1% to their 99.9%
      percentile, which is told.
    - `full`: the full range of the type; floats must lie in [0, 1].
    - `LOW,HIGH`, such as `0,4095`: these values, the same for all images.
    - `LOW%,HIGH%`, such as `1%,99%`: these percentiles of each image.

    Percentiles are of all colours together, and are values that occur. Values that a file states to
    be missing are left out of them, and are black. `auto` also leaves out a lone negative smallest
    value, such as -9999, and the type's largest (65535), farther from all others than those span.

    Attributes:
        kind: "auto", "full", "values" or "percentiles".
        low: the value or percentile that becomes black.
        high: the value or percentile that becomes white.
    """

    kind: Literal["auto", "full", "values", "percentiles"] = "auto"
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in ("auto", "full"):
            return
        top = 100 if self.kind == "percentiles" else np.inf
        bottom = 0 if self.kind == "percentiles" else -np.inf
        finite = np.isfinite(self.low) and np.isfinite(self.high)
        if not (finite and bottom <= self.low < self.high <= top):
            raise ConfigError(f"a range of values needs low < high; got {self}")

    @classmethod
    def of(cls, choice: RangeLike) -> ValueRange:
        """Make a range of a text such as "0,4095" or "1%,99%", or of two numbers.

        Raises:
            ConfigError: it is no range.
        """
        if isinstance(choice, ValueRange):
            return choice
        if isinstance(choice, str):
            return cls._parse(choice)
        try:
            low, high = (float(value) for value in choice)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"a range of values is auto, {CHOICES}; got {choice!r}") from error
        return cls("values", low, high)

    @classmethod
    def _parse(cls, text: str) -> ValueRange:
        if text == "auto":
            return cls("auto")
        if text == "full":
            return cls("full")
        match = PAIR.fullmatch(text)
        if match is None or match[2] != match[4]:
            raise ConfigError(f"a range of values is auto, {CHOICES}; got {text!r}")
        kind: Literal["values", "percentiles"] = "percentiles" if match[2] else "values"
        return cls(kind, float(match[1]), float(match[3]))

    def __str__(self) -> str:
        if self.kind in ("auto", "full"):
            return self.kind
        sign = "%" if self.kind == "percentiles" else ""
        return f"{self.low!r}{sign},{self.high!r}{sign}"

    def limits(self, values: Values, name: str, nodata: float | None = None) -> Limits | None:
        """Choose the values that become black and white in one image.

        Args:
            values: the image's values of any shape, without transparency; of an image too large
                for memory a part of them.
            name: names the file in errors and notices; "" for an array.
            nodata: the value of missing pixels, if the file states it.

        Returns:
            black and white; None if nothing is to be changed, in images of 8 bits.

        Raises:
            ImageError: the values are no numbers, or floats outside of [0, 1] with `full`.
        """
        kind = values.dtype.kind
        if values.dtype == np.uint8 or kind == "b":
            return None
        if kind not in "iuf":
            who = name or "an image array"
            raise ImageError(
                f"{who} must have whole numbers, floats or booleans; got {values.dtype}"
            )
        missing = is_missing(values, nodata)
        left_out = ""
        if missing.any():
            values = values[~missing]
            left_out = f"{nodata:g}, by its tag GDAL_NODATA, is left out and black"
        if not values.size:
            _tell_left_out(name, f"no pixel has data: {left_out}")
            return 0.0, 1.0
        if kind == "f":
            values = _finite(values, name)
        if self.kind == "auto":
            return _auto_limits(values, name, left_out)
        _tell_left_out(name, left_out)
        if self.kind == "values":
            return self.low, self.high
        if self.kind == "percentiles":
            return _widened(percentiles(values, (self.low, self.high)))
        return _full_range(values, name)


RangeLike: TypeAlias = ValueRange | str | tuple[float, float]


def _full_range(values: Values, name: str) -> Limits:
    if values.dtype.kind != "f":
        info = np.iinfo(values.dtype)
        return float(info.min), float(info.max)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise ImageError(
            f"{name or 'the array'}: floats of the full range lie in [0, 1]; got {low:g} to"
            f" {high:g} (choose a range of values: auto, LOW,HIGH or LOW%,HIGH%)"
        )
    return 0.0, 1.0


def _auto_limits(values: Values, name: str, left_out: str) -> Limits:
    is_uint16 = values.dtype.kind == "u" and values.itemsize == 2
    stated = left_out
    lone = None if _is_of_0_to_1(values) else _lone_value(values)
    if lone is not None:
        values = values[values != lone]
        far = f"{float(lone):g}, far from all others, is left out"
        left_out = f"{left_out}; {far}" if left_out else far
    if _is_of_0_to_1(values):
        _tell_left_out(name, left_out)
        return 0.0, 1.0
    lowest, low, high, highest = percentiles(values, (0, *AUTO_PERCENTS, 100))
    if is_uint16 and high - low >= NARROW_SPAN:
        _tell_left_out(name, stated)
        return _full_range(values, name)
    which = f"its {AUTO_PERCENTS[0]:g}% and {AUTO_PERCENTS[1]:g}% percentiles"
    if low == high:  # nearly all values are equal: what differs is what there is to see
        low, high, which = lowest, highest, "the smallest and the largest"
    if low == high:  # nothing to see
        _tell_left_out(name, stated)
        return _full_range(values, name) if is_uint16 else _widened((low, high))
    bits = f"{values.itemsize * 8}-bit "
    type_name = bits + {"u": "numbers", "i": "signed numbers", "f": "floats"}[values.dtype.kind]
    notify(
        "stretched",
        name,
        f"{type_name} from {lowest:g} to {highest:g}: {low:g} is taken for black and {high:g}"
        f" for white ({which}){left_out and '; '}{left_out}; choose by --range,"
        f" in Python value_range: {CHOICES}",
    )
    return low, high


def _is_of_0_to_1(values: Values) -> bool:
    return values.dtype.kind == "f" and bool(values.min() >= 0 and values.max() <= 1)


def _lone_value(values: Values) -> Any:
    """A value that stands for missing ones, as its gap to all others exceeds their span; or None.

    It is the smallest, if negative, or the largest of the type: 0 is black anyway, and other large
    values are light that is seen.
    """
    lowest, highest = values.min(), values.max()
    if lowest < 0:
        second = float(values.min(where=values != lowest, initial=highest))
        if second - float(lowest) > float(highest) - second > 0:
            return lowest
    largest = HUGE if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    if float(highest) >= largest:
        second = float(values.max(where=values != highest, initial=lowest))
        if float(highest) - second > second - float(lowest) > 0:
            return highest
    return None


def _tell_left_out(name: str, left_out: str) -> None:
    if left_out:
        notify("without values everywhere", name, left_out)


def is_missing(values: Values, nodata: float | None) -> npt.NDArray[np.bool_]:
    """Which pixels (...) of values (..., C) are missing: all colours have the value of no data."""
    dtype = values.dtype
    value: Any = nodata
    if nodata is not None and dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)  # as it is stored
    elif nodata is not None:
        info = np.iinfo(dtype)
        value = int(nodata) if nodata.is_integer() and info.min <= nodata <= info.max else None
    if value is None:
        return np.zeros(values.shape[:-1], bool)
    return np.asarray((values == value).all(axis=-1))


def _widened(limits: Sequence[float]) -> Limits:
    low, high = limits
    return (low, high) if low < high else (low, low + 1)


def _finite(values: Values, name: str) -> Values:
    """Return the values that are numbers, in one axis.

    Raises:
        ImageError: there are none.
    """
    finite = np.isfinite(values)
    if finite.all():
        return values
    if not finite.any():
        raise ImageError(
            f"{name or 'the array'} has no value that is a number: NaN or infinity only"
        )
    missing = values.size - int(finite.sum())
    notify(
        "not finite everywhere",
        name,
        f"{missing:,} values are NaN or infinite; NaN is taken for black",
    )
    return values[finite]


def percentiles(values: Values, percents: Sequence[float]) -> tuple[float, ...]:
    """Percentiles of values, each a value that occurs: the smallest with that share at or below.

    Numbers of up to 16 bits are counted in one pass, which takes a tenth of sorting them.
    """
    flat = values.reshape(-1)
    if values.dtype.kind not in "iu" or values.itemsize > 2:
        found = np.percentile(flat, percents, method="inverted_cdf")
        return tuple(float(value) for value in found)
    lowest = int(np.iinfo(values.dtype).min)
    counts = np.zeros(2 ** (8 * values.itemsize), np.int64)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK].astype(np.intp) - lowest
        counts += np.bincount(block, minlength=len(counts))
    ends = np.cumsum(counts)
    # One value at least; -1e-9 against shares that are a rounding error above a whole number.
    wanted = [max(1, int(np.ceil(flat.size * percent / 100 - 1e-9))) for percent in percents]
    return tuple(float(index + lowest) for index in np.searchsorted(ends, wanted))


def to_uint8(values: Values, limits: Limits | None) -> npt.NDArray[np.uint8]:
    """Convert values (H, ...) to 0..255, rounded.

    Values beyond the limits become 0 or 255, and NaN 0.

    Args:
        values: whole numbers, floats or booleans.
        limits: the values that become 0 and 255; None for uint8 and booleans, which stay.
    """
    if limits is None:
        return values if values.dtype == np.uint8 else values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind in "iu" and values.itemsize == 2:
        native = values.dtype.newbyteorder("=")
        table = _scaled(np.arange(2**16, dtype=np.uint16).view(native), limits)
        return table[values.astype(native, copy=False).view(np.uint16)]
    out = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        out[start : start + rows] = _scaled(values[start : start + rows], limits)
    return out


def _scaled(values: Values, limits: Limits) -> npt.NDArray[np.uint8]:
    low, high = limits
    is_float32 = values.dtype.kind == "f" and values.itemsize <= 4
    precision: Any = np.float32 if is_float32 else np.float64
    with np.errstate(over="ignore"):  # -3.4e38 of missing values
        scaled = (values.astype(precision) - precision(low)) * precision(255 / (high - low))
    bounded = np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).clip(0, 255)
    return np.asarray(np.rint(bounded), np.uint8)
