"""Values of images for the page: what is under the pointer, and what a window may be set to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.formats import ValueRange

MAX_BYTES = 256 * 2**20  # of decoded images
Values = npt.NDArray[Any]


class ValueCache:
    """The images that were decoded last, by the key of their pixels."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._images: OrderedDict[str, Values] = OrderedDict()

    def get(self, key: str, read: Callable[[], Values]) -> Values:
        """Return an image's values, decoded by `read` if they are not cached."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        values = read()
        with self._lock:
            self._images[key] = values
            while len(self._images) > 1 and self._num_bytes() > self._max_bytes:
                self._images.popitem(last=False)
            if self._num_bytes() > self._max_bytes:
                self._images.clear()
        return values

    def _num_bytes(self) -> int:
        return sum(one.nbytes for one in self._images.values())


@dataclass(frozen=True, kw_only=True)
class ValueFacts:
    """What values an image has, and which of them are seen as black and white.

    Attributes:
        dtype: such as "uint16".
        lowest, highest: the smallest and the largest finite value; both 0 without any.
        low, high: the values that are black and white by the project's range.
        is_deep: whether there are more values than can be seen at once.
    """

    dtype: str
    num_channels: int
    lowest: float
    highest: float
    low: float
    high: float
    is_deep: bool


def value_facts(values: Values, name: str, value_range: str) -> ValueFacts:
    """Measure an image.

    Args:
        values: (H, W, C).
        name: names the file in errors.
        value_range: the project's; see `ValueRange`.

    Raises:
        ImageError: the range does not suit the values.
    """
    limits = ValueRange.of(value_range).limits(values, name)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (0.0, 255.0) if limits is None else limits
    return ValueFacts(
        dtype=str(values.dtype),
        num_channels=values.shape[2],
        lowest=float(finite.min()) if finite.size else 0.0,
        highest=float(finite.max()) if finite.size else 0.0,
        low=low,
        high=high,
        is_deep=limits is not None,
    )


def block_of(values: Values, x: int, y: int, side: int) -> list[list[list[float | None]]]:
    """Values of a block of at most `side` pixels each way: rows of pixels of channels.

    What is not a number is None.
    """
    block = values[y : y + side, x : x + side]
    if block.dtype.kind != "f":
        found: list[list[list[float | None]]] = block.astype(np.int64).tolist()
        return found
    rows = block.astype(np.float64)
    return [
        [[one if np.isfinite(one) else None for one in pixel] for pixel in row]
        for row in rows.tolist()
    ]
