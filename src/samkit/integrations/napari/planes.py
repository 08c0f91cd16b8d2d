"""The slice of an image layer that a viewer shows, as an image of its own.

Pixel centres are whole numbers in napari, and halves in samkit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import RgbImage
from samkit.errors import ConfigError
from samkit.formats import RangeLike, read_image

HALF_PIXEL = 0.5  # from napari's coordinates to samkit's


@dataclass(frozen=True)
class Plane:
    """A slice of an array.

    Attributes:
        numbers: for each axis the number of the slice; None for the two that are shown.
        is_transposed: whether the later axis goes down, and the earlier to the right.
    """

    numbers: tuple[int | None, ...]
    is_transposed: bool = False

    @property
    def axes(self) -> tuple[int, int]:
        """The axes that go down and to the right."""
        first, second = (axis for axis, number in enumerate(self.numbers) if number is None)
        return (second, first) if self.is_transposed else (first, second)

    def of(self, array: Any) -> Any:
        """The slice of an array, (H, W) or (H, W, C); of a NumPy array a view that can be set."""
        part = array[tuple(slice(None) if n is None else n for n in self.numbers)]
        return part.swapaxes(0, 1) if self.is_transposed else part

    def contains(self, places: npt.NDArray[Any]) -> bool:
        """Whether places (N, axes) lie in this slice."""
        return all(
            number is None or bool((np.rint(places[:, axis]) == number).all())
            for axis, number in enumerate(self.numbers)
        )

    def to_xy(self, places: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Places (N, axes) as points (N, 2), xy in pixels of the slice."""
        down, right = self.axes
        return np.asarray(places[:, [right, down]], np.float64) + HALF_PIXEL


def shown_plane(layer: Any, dims: Any) -> Plane:
    """The slice of an image layer that a viewer with these `dims` shows.

    Raises:
        ConfigError: the viewer shows a volume, axes that the layer lacks, or a slice beyond it.
    """
    if dims.ndisplay != 2:
        raise ConfigError("prompts are for slices: switch the viewer to 2D")
    lacking = dims.ndim - layer.ndim  # a layer has the viewer's last axes
    shown = [axis - lacking for axis in dims.displayed]
    if min(shown) < 0:
        raise ConfigError(f"layer {layer.name!r} has no axis {min(dims.displayed)}, which is shown")
    place = layer.world_to_data(np.asarray(dims.point, float)[lacking:])
    shape = level_of_full_size(layer).shape
    numbers: list[int | None] = []
    for axis in range(layer.ndim):
        number = None if axis in shown else int(np.rint(place[axis]))
        if number is not None and not 0 <= number < shape[axis]:
            raise ConfigError(
                f"layer {layer.name!r} has {shape[axis]} slices along axis {axis}; number {number}"
                " is shown"
            )
        numbers.append(number)
    return Plane(tuple(numbers), is_transposed=shown[0] > shown[1])


def level_of_full_size(layer: Any) -> Any:
    """The array of a layer; of a pyramid the largest."""
    return layer.data[0] if layer.multiscale else layer.data


def value_range(layer: Any) -> RangeLike:
    """Which values become black and white: what the viewer shows; 8 bits and colours as they are.

    Attention: an image that is read again after its contrast was changed is another image.
    """
    if layer.rgb:
        return "auto"
    low, high = layer.contrast_limits
    return float(low), float(high)


def read_plane(layer: Any, plane: Plane, limits: RangeLike) -> RgbImage:
    """Read the pixels (H, W, 3) of a slice.

    Raises:
        ImageError: they are no image.
    """
    return read_image(np.asarray(plane.of(level_of_full_size(layer))), value_range=limits)


def to_image_places(layer: Any, image: Any, places: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Places (N, axes) of a layer in coordinates of an image's array, by way of the world's."""
    return np.array([image.world_to_data(layer.data_to_world(place)) for place in places]).reshape(
        -1, image.ndim
    )
