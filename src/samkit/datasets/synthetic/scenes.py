"""Synthetic scenes: textured things that hide each other, with parts in them, and their masks."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from samkit.datasets.sample import ANY, Sample, check_settings
from samkit.datasets.synthetic.shapes import KINDS, Patch, cover, draw_shape
from samkit.datasets.synthetic.textures import draw_color, mottled, paint
from samkit.geometry import encode_rle

FloatImage = npt.NDArray[np.float32]
BoolMask = npt.NDArray[np.bool_]

SMALLEST_SIZE = 16
FEWEST_THINGS = 3
RADIUS = (0.07, 0.32)  # of the picture's side
LINE_RADIUS = (0.12, 0.3)
LINE_CHANCE = 0.2
THINNEST_PX = 1.2  # a line that covers half of no pixel would have no mask
PARTS_CHANCE = 0.5  # that a thing has parts in it
# Of a thing's area, what must be left uncovered: less looks like nothing in particular.
LEAST_VISIBLE = 0.25
LEAST_AREA = 0.0006  # of the picture: 10 pixels of 128 x 128
SHADOW = 0.45  # how much darker it is beneath a thing
STRIPES = 0.07  # of the picture's side, for one of them and its gap
LIMITS = {
    "count": (1, ANY),
    "size": (SMALLEST_SIZE, ANY),
    "seed": (0, ANY),
    "things": (FEWEST_THINGS, 100),
}


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Generated images: sample i of a seed and size is always the same, whatever the count.

    Each has 3 or more things: discs, boxes, polygons, stars, blobs, rings and thin lines, plain or
    patterned, the small ones before the large ones, with shadows. Masks are the visible parts of
    whole things, and parts within them (a disc on a box), which are masks of their own.

    Attributes:
        count: number of scenes.
        size: side of the square images in pixels.
        seed: scenes of different seeds have nothing in common.
        things: the most of them in a scene; fewer hide less of each other.
    """

    count: int = 1000
    size: int = 256
    seed: int = 0
    things: int = 8

    def __post_init__(self) -> None:
        check_settings("scenes", vars(self), LIMITS)

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        kind = "" if self.things == Scenes.things else f"-{self.things}"
        return f"scene-{self.seed}-{self.size}{kind}-{range(self.count)[index]}"

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        painter = _Painter(np.random.default_rng([self.seed, self.size, index]), self.size)
        painter.paint_all(self.things)
        rles = tuple(encode_rle(mask) for mask in painter.masks())
        return Sample(key=self.key(index), image=painter.image(), rles=rles)


@dataclass(kw_only=True, eq=False)
class _Layer:
    """What is visible of a thing or part.

    Attributes:
        mask: (size, size).
        area: of all of it, hidden or not.
        thing: number of the thing that it is or is a part of.
    """

    mask: BoolMask
    area: int
    thing: int
    is_part: bool


class _Painter:
    """Paints one scene, from back to front."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.canvas = self._background()
        self.layers: list[_Layer] = []

    def paint_all(self, most: int) -> None:
        """3 to `most` things, the large ones first."""
        count = int(self.rng.integers(FEWEST_THINGS, most + 1))
        low, high = np.log(RADIUS)
        radii = np.exp(self.rng.uniform(low, high, count))  # as many small as large ones
        for number, radius in enumerate(sorted(radii * self.size, reverse=True)):
            self._thing(number, radius)

    def image(self) -> npt.NDArray[np.uint8]:
        """The scene with a camera's noise, uint8 (size, size, 3)."""
        noise = self.rng.standard_normal(self.canvas.shape, np.float32) * self.rng.uniform(0, 5)
        return np.asarray((self.canvas + noise).clip(0, 255) + 0.5, np.uint8)

    def masks(self) -> list[BoolMask]:
        """Of things and parts of which enough is visible."""
        least = LEAST_AREA * self.size**2
        visible = [(one.mask, int(one.mask.sum()), one.area) for one in self.layers]
        return [mask for mask, seen, area in visible if seen >= max(1, least, LEAST_VISIBLE * area)]

    def _background(self) -> FloatImage:
        rng, side = self.rng, self.size
        first = draw_color(rng, saturation=(0.05, 0.5), value=(0.25, 0.9))
        second = draw_color(rng, saturation=(0.05, 0.5), value=(0.25, 0.9))
        ground = paint(rng, (side, side), (first, 0.7 * first + 0.3 * second), 2 * STRIPES * side)
        cloud = mottled(rng, (side, side), int(rng.integers(3, 7)))
        return ground + 0.35 * cloud[..., None] * (second - ground)

    def _thing(self, number: int, radius: float) -> None:
        rng = self.rng
        center_xy = rng.uniform(0.08, 0.92, 2) * self.size
        is_line = rng.uniform() < LINE_CHANCE
        if is_line:
            radius = rng.uniform(*LINE_RADIUS) * self.size
            line = draw_shape(rng, "line")
            shape = replace(line, stroke=max(line.stroke, THINNEST_PX / radius))
        else:
            shape = draw_shape(rng, str(rng.choice(list(KINDS))))
        patch = cover(shape, center_xy, radius, self.size)
        if patch is None:
            return
        self._shadow(patch, radius)
        # A line of short dashes would be many things.
        stripes = radius if is_line else STRIPES * self.size
        self._lay(patch, number, is_part=False, stripes=stripes)
        if is_line or len(shape.rings) > 1 or rng.uniform() > PARTS_CHANCE:
            return
        if rng.uniform() < 0.4:  # the same shape again, smaller
            inner = [(shape.scaled(rng.uniform(0.4, 0.65)), np.zeros(2), radius)]
        else:
            count = int(rng.integers(1, 4))
            kinds = [str(rng.choice(list(KINDS))) for _ in range(count)]
            places = rng.uniform(-0.5, 0.5, (count, 2)) * radius
            sizes = rng.uniform(0.15, 0.35, count) * radius
            inner = [
                (draw_shape(rng, kind), place, float(part_radius))
                for kind, place, part_radius in zip(kinds, places, sizes, strict=True)
            ]
        for part_shape, place, part_radius in inner:
            part = cover(part_shape, center_xy + place, part_radius, self.size)
            if part is not None:
                within = self._within(patch, part)
                part = Patch(coverage=within, x=part.x, y=part.y)
                self._lay(part, number, is_part=True, stripes=STRIPES * self.size)

    def _within(self, thing: Patch, part: Patch) -> FloatImage:
        """Coverage of a part that does not go over its thing's edge."""
        whole = np.zeros((self.size, self.size), np.float32)
        whole[thing.place] = thing.coverage
        return np.minimum(part.coverage, whole[part.place])

    def _shadow(self, patch: Patch, radius: float) -> None:
        """Darken what lies beneath and beside a thing, to the lower right."""
        depth = max(1.0, 0.06 * radius)
        reach = int(3 * depth) + 1
        shade = cv2.GaussianBlur(np.pad(patch.coverage, reach), (0, 0), depth)
        shift = round(depth)
        y, x = patch.y - reach + shift, patch.x - reach + shift
        rows = slice(max(0, y), max(0, min(self.size, y + shade.shape[0])))
        cols = slice(max(0, x), max(0, min(self.size, x + shade.shape[1])))
        inside = shade[rows.start - y : rows.stop - y, cols.start - x : cols.stop - x]
        self.canvas[rows, cols] *= 1 - SHADOW * np.asarray(inside, np.float32)[..., None]

    def _lay(self, patch: Patch, thing: int, *, is_part: bool, stripes: float) -> None:
        """Paint a thing or part, which hides what is beneath it."""
        rng = self.rng
        colors = (
            draw_color(rng, saturation=(0.3, 0.95), value=(0.35, 1)),
            draw_color(rng, saturation=(0.1, 0.9), value=(0.2, 1)),
        )
        height, width = patch.coverage.shape
        surface = paint(rng, (height, width), colors, stripes)
        below = self.canvas[patch.place]
        below += patch.coverage[..., None] * (surface - below)
        inside = patch.coverage >= 0.5
        for other in self.layers:
            if not (is_part and other.thing == thing and not other.is_part):  # not of its own thing
                other.mask[patch.place] &= ~inside
        mask = np.zeros((self.size, self.size), bool)
        mask[patch.place] = inside
        self.layers.append(_Layer(mask=mask, area=int(inside.sum()), thing=thing, is_part=is_part))
