"""Colours and surfaces of synthetic objects."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from samkit.arrays import FloatImage

SHARPNESS = 4.0  # of stripes' and checks' edges: a sine wave is multiplied by it and squashed
DOT_THRESH = 0.8  # of the sum of two crossing waves, which is at most 2


def draw_color(
    rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]
) -> FloatImage:
    """Draw a random RGB colour (3,) of any hue."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, np.float32) * 255


def paint(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    colors: tuple[FloatImage, FloatImage],
    unit: float,
) -> FloatImage:
    """Paint a random surface (H, W, 3) in two colours.

    Args:
        rng: draws the kind of surface and its directions.
        size_hw: the patch's size.
        colors: two RGB colours (3,).
        unit: width of a stripe and the gap beside it, in pixels.
    """
    kind = SURFACES[int(rng.integers(len(SURFACES)))]
    return _painted(rng, kind, size_hw, colors, unit)


def named_surface(
    rng: np.random.Generator,
    name: str,
    size_hw: tuple[int, int],
    colors: tuple[FloatImage, FloatImage],
    *,
    unit: float,
) -> FloatImage:
    """Paint a surface of `NAMED`; see `paint`."""
    return _painted(rng, NAMED[name], size_hw, colors, unit)


def _painted(
    rng: np.random.Generator,
    kind: "Callable[[_Plane], FloatImage]",
    size_hw: tuple[int, int],
    colors: tuple[FloatImage, FloatImage],
    unit: float,
) -> FloatImage:
    angle = rng.uniform(0, np.pi)
    height, width = size_hw
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    plane = _Plane(along=along, across=across, unit=unit * rng.uniform(0.7, 1.4), rng=rng)
    blend = kind(plane)
    first, second = colors
    painted = first + blend[..., None] * (second - first)
    # Light from one side, so that flat objects do not look cut out of paper.
    light = 1 + rng.uniform(0.05, 0.2) * (across / max(height, width))
    return np.asarray(painted * light[..., None], np.float32)


def mottled(rng: np.random.Generator, size_hw: tuple[int, int], cells: int) -> FloatImage:
    """Smooth noise (H, W) from 0 to 1."""
    coarse = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32).clip(0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plane:
    """Coordinates of a patch's pixels on a surface.

    Attributes:
        along: (H, W) pixels in a random direction.
        across: (H, W) pixels at right angles to it.
        unit: width of a stripe and a gap, in pixels.
        rng: for everything else that is random.
    """

    along: FloatImage
    across: FloatImage
    unit: float
    rng: np.random.Generator


def _plain(plane: _Plane) -> FloatImage:
    return np.zeros_like(plane.along)


def _gradient(plane: _Plane) -> FloatImage:
    low, high = plane.along.min(), plane.along.max()
    return np.asarray((plane.along - low) / max(1.0, float(high - low)), np.float32)


def _wave(pixels: FloatImage, unit: float) -> FloatImage:
    """From -1 to 1 and back in `unit` pixels."""
    return np.asarray(np.sin(pixels * np.float32(2 * np.pi / unit)), np.float32)


def _sharp(wave: FloatImage) -> FloatImage:
    """Squash a wave to values that are mostly 0 or 1."""
    return np.asarray(0.5 + 0.5 * np.tanh(SHARPNESS * wave), np.float32)


def _stripes(plane: _Plane) -> FloatImage:
    return _sharp(_wave(plane.along, plane.unit))


def _checks(plane: _Plane) -> FloatImage:
    return _sharp(_wave(plane.along, plane.unit) * _wave(plane.across, plane.unit))


def _dots(plane: _Plane) -> FloatImage:
    bumps = _wave(plane.along, plane.unit) + _wave(plane.across, plane.unit)
    return _sharp(bumps - DOT_THRESH)


def _mottled(plane: _Plane) -> FloatImage:
    height, width = plane.along.shape
    return mottled(plane.rng, (height, width), max(2, round(max(height, width) / plane.unit)))


SURFACES: tuple[Callable[[_Plane], FloatImage], ...] = (
    _plain,
    _gradient,
    _stripes,
    _checks,
    _dots,
    _mottled,
)
# Surfaces with common names.
NAMED: dict[str, Callable[[_Plane], FloatImage]] = {
    "plain": _plain,
    "striped": _stripes,
    "dotted": _dots,
}
