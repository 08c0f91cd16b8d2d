"""Synthetic scenes: textured objects that occlude each other, with parts in them, and masks."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from samkit.arrays import BoolArray, FloatImage, RgbImage
from samkit.datasets.sample import UNLIMITED, Sample, check_settings
from samkit.datasets.synthetic.shapes import KINDS, Patch, cover, draw_shape
from samkit.datasets.synthetic.textures import draw_color, mottled, paint
from samkit.geometry import encode_rle

MIN_SIZE = 16
MIN_THINGS = 3
RADIUS = (0.07, 0.32)  # of the image's side
LINE_RADIUS = (0.12, 0.3)
LINE_PROBABILITY = 0.2
MIN_STROKE_PX = 1.2  # a line that covers half of no pixel would have no mask
PARTS_PROBABILITY = 0.5  # that an object has parts
# Fraction of an object's area that must be visible: a smaller rest could be anything.
MIN_VISIBLE = 0.25
MIN_AREA = 0.0006  # of the image: 10 pixels of 128 x 128
SHADOW = 0.45  # how much darker the background is below an object
STRIPES = 0.07  # of the image's side, for one of them and its gap
LIMITS = {
    "count": (1, UNLIMITED),
    "size": (MIN_SIZE, UNLIMITED),
    "seed": (0, UNLIMITED),
    "things": (MIN_THINGS, 100),
}


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Generated images: sample i of a seed and size is always the same, whatever the count.

    Each has 3 or more objects: discs, boxes, polygons, stars, blobs, rings and thin lines, plain or
    patterned, small ones in front of large ones, with shadows. Masks are the visible areas of
    objects, and of parts in them (a disc on a box), which have masks of their own.

    Attributes:
        count: number of images.
        size: side of the square images in pixels.
        seed: images of different seeds have nothing in common.
        things: maximum number of objects in an image; fewer occlude each other less.
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
    """The visible area of an object or part.

    Attributes:
        mask: (size, size).
        area: in pixels, with what is occluded.
        thing: number of the object that this is, or is a part of.
    """

    mask: BoolArray
    area: int
    thing: int
    is_part: bool


class _Painter:
    """Paints one scene, from back to front."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.canvas = self._background()
        self.layers: list[_Layer] = []

    def paint_all(self, max_things: int) -> None:
        """Paint 3 to `max_things` objects, the large ones first."""
        count = int(self.rng.integers(MIN_THINGS, max_things + 1))
        low, high = np.log(RADIUS)
        radii = np.exp(self.rng.uniform(low, high, count))  # as many small as large ones
        for number, radius in enumerate(sorted(radii * self.size, reverse=True)):
            self._thing(number, radius)

    def image(self) -> RgbImage:
        """The image with camera noise, uint8 (size, size, 3)."""
        noise = self.rng.standard_normal(self.canvas.shape, np.float32) * self.rng.uniform(0, 5)
        return np.asarray((self.canvas + noise).clip(0, 255) + 0.5, np.uint8)

    def masks(self) -> list[BoolArray]:
        """Masks of objects and parts of which enough is visible."""
        min_area = MIN_AREA * self.size**2
        seen = [(one, int(one.mask.sum())) for one in self.layers]
        return [one.mask for one, area in seen if area >= max(1, min_area, MIN_VISIBLE * one.area)]

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
        is_line = rng.uniform() < LINE_PROBABILITY
        if is_line:
            radius = rng.uniform(*LINE_RADIUS) * self.size
            line = draw_shape(rng, "line")
            shape = replace(line, stroke=max(line.stroke, MIN_STROKE_PX / radius))
        else:
            shape = draw_shape(rng, str(rng.choice(list(KINDS))))
        patch = cover(shape, center_xy, radius, self.size)
        if patch is None:
            return
        self._shadow(patch, radius)
        # A line of short dashes would look like many objects.
        stripes = radius if is_line else STRIPES * self.size
        self._lay(patch, number, is_part=False, stripes=stripes)
        if is_line or len(shape.rings) > 1 or rng.uniform() > PARTS_PROBABILITY:
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
        """Coverage of a part, cut off at its object's edge."""
        canvas = np.zeros((self.size, self.size), np.float32)
        canvas[thing.place] = thing.coverage
        return np.minimum(part.coverage, canvas[part.place])

    def _shadow(self, patch: Patch, radius: float) -> None:
        """Darken what lies below an object and to its lower right."""
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
        """Paint an object or part, which occludes what is below it."""
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
            is_own_object = is_part and other.thing == thing and not other.is_part
            if not is_own_object:
                other.mask[patch.place] &= ~inside
        mask = np.zeros((self.size, self.size), bool)
        mask[patch.place] = inside
        self.layers.append(_Layer(mask=mask, area=int(inside.sum()), thing=thing, is_part=is_part))
