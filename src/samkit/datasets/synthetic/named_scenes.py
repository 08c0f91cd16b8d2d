"""Synthetic scenes of objects with names, such as "a striped red star", for text prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samkit.arrays import BoolArray, FloatImage
from samkit.datasets.sample import UNLIMITED, Sample, check_settings
from samkit.datasets.synthetic.shapes import Shape, cover, named_shape
from samkit.datasets.synthetic.textures import draw_color, mottled, named_surface
from samkit.geometry import encode_rle

# RGB, distinct enough to be recognised in any light.
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (50, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 220, 50),
    "purple": (150, 60, 180),
    "orange": (245, 140, 40),
    "white": (240, 240, 240),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
SURFACES = ("plain", "striped", "dotted")
RADIUS = (0.11, 0.2)  # of the image's side
COLOR_NOISE = 14.0  # std of a colour's channels, on the scale 0..255
TWIN_PROBABILITY = 0.7  # that a name differs from an earlier one in one word only
MAX_TRIES = 20  # attempts to place an object
MIN_GAP = 1.08  # between two centres, of the sum of their radii
MIN_SIZE = 32
LIMITS = {
    "count": (1, UNLIMITED),
    "size": (MIN_SIZE, UNLIMITED),
    "seed": (0, UNLIMITED),
    "things": (1, 6),
}


@dataclass(frozen=True, kw_only=True)
class Name:
    """Name of an object."""

    color: str
    shape: str
    surface: str

    def __str__(self) -> str:
        surface = "" if self.surface == SURFACES[0] else f"{self.surface} "
        return f"a {surface}{self.color} {self.shape}"

    def differences(self, other: "Name") -> int:
        """Count how many of colour, shape and surface differ."""
        return (
            (self.color != other.color)
            + (self.shape != other.shape)
            + (self.surface != other.surface)
        )


def all_names() -> list[Name]:
    """Every name that an object can have."""
    return [
        Name(color=color, shape=shape, surface=surface)
        for color in COLORS
        for shape in SHAPES
        for surface in SURFACES
    ]


@dataclass(frozen=True, kw_only=True)
class NamedScenes:
    """Generated images of objects whose names differ within an image.

    Objects do not touch each other. Most differ from another one in a single word, so that a model
    has to distinguish "a red circle" from "a red square". Sample i of a seed, size and `things` is
    always the same.

    Attributes:
        count: number of images.
        size: side of the square images in pixels.
        seed: images of different seeds have nothing in common.
        things: maximum number of objects in an image; the minimum is 2, if there is room.
    """

    count: int = 1000
    size: int = 128
    seed: int = 0
    things: int = 5

    def __post_init__(self) -> None:
        check_settings("named scenes", vars(self), LIMITS)

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"named-{self.seed}-{self.size}-{self.things}-{range(self.count)[index]}"

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, self.size, self.things, index])
        canvas = _background(rng, self.size)
        names: list[Name] = []
        masks = []
        for x, y, radius in _draw_circles(rng, self.size, self.things):
            name = _draw_name(rng, names)
            names.append(name)
            masks.append(_paint(rng, canvas, name, (x, y), radius))
        noise = rng.standard_normal(canvas.shape, np.float32) * rng.uniform(0, 4)
        return Sample(
            key=self.key(index),
            image=np.asarray((canvas + noise).clip(0, 255) + 0.5, np.uint8),
            rles=tuple(encode_rle(mask) for mask in masks),
            phrases=tuple(str(name) for name in names),
        )


def _background(rng: np.random.Generator, side: int) -> FloatImage:
    """Draw a mottled background of low saturation."""
    first = draw_color(rng, saturation=(0.0, 0.18), value=(0.35, 0.75))
    second = draw_color(rng, saturation=(0.0, 0.18), value=(0.35, 0.75))
    blend = mottled(rng, (side, side), int(rng.integers(3, 8)))[..., None]
    return np.asarray(first + blend * (second - first), np.float32)


def _draw_circles(
    rng: np.random.Generator, side: int, max_count: int
) -> list[tuple[float, float, float]]:
    """Draw circles (x, y, radius) that do not touch each other."""
    circles: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(min(2, max_count), max_count + 1))):
        radius = rng.uniform(*RADIUS) * side
        for _ in range(MAX_TRIES):
            x, y = rng.uniform(radius, side - radius, 2)
            if all(np.hypot(x - u, y - v) > MIN_GAP * (radius + r) for u, v, r in circles):
                circles.append((x, y, radius))
                break
    return circles


def _draw_name(rng: np.random.Generator, others: Sequence[Name]) -> Name:
    """Draw a name that none of the others has, often one word away from one of them."""
    free = [name for name in all_names() if name not in others]
    if others and rng.uniform() < TWIN_PROBABILITY:
        other = others[int(rng.integers(len(others)))]
        free = [name for name in free if name.differences(other) == 1]
    return free[int(rng.integers(len(free)))]


def _paint(
    rng: np.random.Generator,
    canvas: FloatImage,
    name: Name,
    center_xy: tuple[float, float],
    radius: float,
) -> BoolArray:
    """Paint an object on the canvas and return its mask (size, size)."""
    shape: Shape = named_shape(rng, name.shape)
    side = len(canvas)
    patch = cover(shape, np.array(center_xy), radius, side)
    assert patch is not None  # its centre is in the image
    color = np.array(COLORS[name.color], np.float32)
    color = (color + rng.normal(0, COLOR_NOISE, 3)).clip(0, 255).astype(np.float32)
    # Stripes and dots have the same hue, so that an object has one colour.
    second = color * 0.45 if color.mean() > 90 else color + 85
    surface = named_surface(
        rng, name.surface, patch.coverage.shape, (color, second), unit=0.5 * radius
    )
    below = canvas[patch.place]
    below += patch.coverage[..., None] * (surface - below)
    mask = np.zeros((side, side), bool)
    mask[patch.place] = patch.coverage >= 0.5
    return mask
