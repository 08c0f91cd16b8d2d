"""Synthetic scenes of things with names: "a striped red star". For text prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from samkit.datasets.sample import ANY, Sample, check_settings
from samkit.datasets.synthetic.shapes import Shape, cover, named_shape
from samkit.datasets.synthetic.textures import draw_color, mottled, named_surface
from samkit.geometry import encode_rle

FloatImage = npt.NDArray[np.float32]

# RGB, far enough apart to be told apart in any light.
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
RADIUS = (0.11, 0.2)  # of the picture's side
COLOR_NOISE = 14.0  # of a colour's red, green and blue, of 255
TWIN_CHANCE = 0.7  # that a thing after the first differs in one word only from one before it
TRIES = 20  # to find a free place
GAP = 1.08  # of two radii: how far apart centres are
SMALLEST_SIZE = 32
LIMITS = {
    "count": (1, ANY),
    "size": (SMALLEST_SIZE, ANY),
    "seed": (0, ANY),
    "things": (1, 6),
}


@dataclass(frozen=True, kw_only=True)
class Name:
    """What a thing is called."""

    color: str
    shape: str
    surface: str

    def __str__(self) -> str:
        surface = "" if self.surface == SURFACES[0] else f"{self.surface} "
        return f"a {surface}{self.color} {self.shape}"

    def differences(self, other: "Name") -> int:
        """How many of colour, shape and surface differ."""
        return (
            (self.color != other.color)
            + (self.shape != other.shape)
            + (self.surface != other.surface)
        )


def all_names() -> list[Name]:
    """Every name that a thing may have."""
    return [
        Name(color=color, shape=shape, surface=surface)
        for color in COLORS
        for shape in SHAPES
        for surface in SURFACES
    ]


@dataclass(frozen=True, kw_only=True)
class NamedScenes:
    """Generated images whose things have names, no two of a scene the same.

    Things do not touch each other. Most differ from another one in a single word, so that "a red
    circle" must be told from "a red square". Sample i of a seed and size is always the same.

    Attributes:
        count: number of scenes.
        size: side of the square images in pixels.
        seed: scenes of different seeds have nothing in common.
        things: in a scene, at most; at least 2, where there is room.
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
        for x, y, radius in _places(rng, self.size, self.things):
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
    """A mottled ground of little colour."""
    first = draw_color(rng, saturation=(0.0, 0.18), value=(0.35, 0.75))
    second = draw_color(rng, saturation=(0.0, 0.18), value=(0.35, 0.75))
    share = mottled(rng, (side, side), int(rng.integers(3, 8)))[..., None]
    return np.asarray(first + share * (second - first), np.float32)


def _places(rng: np.random.Generator, side: int, most: int) -> list[tuple[float, float, float]]:
    """Centres and radii of circles that do not touch."""
    places: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(min(2, most), most + 1))):
        radius = rng.uniform(*RADIUS) * side
        for _ in range(TRIES):
            x, y = rng.uniform(radius, side - radius, 2)
            if all(np.hypot(x - u, y - v) > GAP * (radius + r) for u, v, r in places):
                places.append((x, y, radius))
                break
    return places


def _draw_name(rng: np.random.Generator, others: Sequence[Name]) -> Name:
    """A name that none of the others has, often one word off from one of them."""
    free = [name for name in all_names() if name not in others]
    if others and rng.uniform() < TWIN_CHANCE:
        other = others[int(rng.integers(len(others)))]
        free = [name for name in free if name.differences(other) == 1]
    return free[int(rng.integers(len(free)))]


def _paint(
    rng: np.random.Generator,
    canvas: FloatImage,
    name: Name,
    center_xy: tuple[float, float],
    radius: float,
) -> npt.NDArray[np.bool_]:
    """Paint a thing; its mask (size, size)."""
    shape: Shape = named_shape(rng, name.shape)
    side = len(canvas)
    patch = cover(shape, np.array(center_xy), radius, side)
    assert patch is not None  # its centre is in the picture
    color = np.array(COLORS[name.color], np.float32)
    color = (color + rng.normal(0, COLOR_NOISE, 3)).clip(0, 255).astype(np.float32)
    # Stripes and dots are of the same hue, so that a thing has one colour.
    second = color * 0.45 if color.mean() > 90 else color + 85
    surface = named_surface(
        rng, name.surface, patch.coverage.shape, (color, second), unit=0.5 * radius
    )
    below = canvas[patch.place]
    below += patch.coverage[..., None] * (surface - below)
    mask = np.zeros((side, side), bool)
    mask[patch.place] = patch.coverage >= 0.5
    return mask
