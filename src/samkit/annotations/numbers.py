"""Numbers of unknown files: compared by value, whatever their type."""

import math
from typing import Any

from samkit.errors import DataError

MAX_COORDINATE = 1e9  # in pixels, or percent


def id_text(value: Any) -> str:
    """An id as text, the same for 7, 7.0 and "7"."""
    try:
        number = to_integer(value)
    except (ValueError, OverflowError):
        return str(value)
    text = str(number)
    # "007" is a name of its own.
    return text if not isinstance(value, str) or value.strip() in (text, f"{text}.0") else value


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Size (height, width) from a file's fields: numbers, or text of them.

    Returns:
        None if they are missing, null or 0.

    Raises:
        DataError: they are something else.
    """
    if all(one is None or one in (0, "", "0") for one in (height, width)):
        return None
    try:
        size_hw = (to_integer(height), to_integer(width))
    except (ValueError, OverflowError):
        size_hw = (0, 0)
    if min(size_hw) < 1:
        raise DataError(f"{width!r:.20} x {height!r:.20} is not the size of an image")
    return size_hw


def to_integer(value: Any) -> int:
    """A whole number from 5, 5.0 or "5".

    Raises:
        ValueError: it is none.
        OverflowError: it is larger than any float.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = float(value) if isinstance(value, float | str) else math.nan
    if not number.is_integer():  # also NaN and infinity
        raise ValueError(f"not a whole number: {value!r:.40}")
    return int(number)


def number_or_none(value: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def coordinate(value: Any) -> float:
    """A coordinate, length or angle from a number or text of one.

    Raises:
        ValueError: it is none, or larger than any image could need.
    """
    number = math.nan if isinstance(value, bool) else float(value)
    if not abs(number) <= MAX_COORDINATE:  # also false for NaN
        raise ValueError(f"not a coordinate: {value!r:.40}")
    return number
