"""Outlines of synthetic objects, and their coverage of pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray, FloatImage

SUBPIXELS = 4  # per pixel and side, in which outlines are drawn before averaging by area
CURVE_POINTS = 48
ANGLES = np.arange(CURVE_POINTS) * (2 * np.pi / CURVE_POINTS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """An outline around (0, 0) whose radius is about 1.

    Attributes:
        rings: closed outlines (N, 2); points inside an even number of them are outside.
        stroke: 0 for a filled shape; else the first ring is an open line of this width.
    """

    rings: tuple[FloatArray, ...]
    stroke: float = 0.0

    def scaled(self, factor: float) -> "Shape":
        """The same shape at another size."""
        return Shape(rings=tuple(ring * factor for ring in self.rings), stroke=self.stroke * factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """How much of each pixel a shape covers, in the part of the image where it lies.

    Attributes:
        coverage: (h, w) from 0 to 1.
        x, y: the patch's first pixel in the image.
    """

    coverage: FloatImage
    x: int
    y: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in the image."""
        height, width = self.coverage.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def turn(points_xy: FloatArray, angle: float) -> FloatArray:
    """Turn points (N, 2) around (0, 0)."""
    sine, cosine = np.sin(angle), np.cos(angle)
    turned: FloatArray = points_xy @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


def draw_shape(rng: np.random.Generator, kind: str) -> Shape:
    """Draw a random shape of a kind, which is one of `KINDS` or "line"."""
    if kind == "line":
        return Shape(
            rings=(turn(_curve(rng), rng.uniform(0, np.pi)),), stroke=rng.uniform(0.03, 0.1)
        )
    outline = KINDS[kind](rng)
    angle = rng.uniform(0, 2 * np.pi)
    rings = [turn(outline, angle)]
    if kind == "ring":
        rings.append(rings[0] * rng.uniform(0.5, 0.75))
    return Shape(rings=tuple(rings))


def cover(shape: Shape, center_xy: FloatArray, radius: float, size: int) -> Patch | None:
    """Coverage of a shape in a square image of a size; None if the shape lies outside."""
    rings = [ring * radius + center_xy for ring in shape.rings]
    margin = 1 + shape.stroke * radius / 2
    low = np.floor(np.min([ring.min(axis=0) for ring in rings], axis=0) - margin).clip(0, size)
    high = np.ceil(np.max([ring.max(axis=0) for ring in rings], axis=0) + margin).clip(0, size)
    (x, y), (width, height) = low.astype(int).tolist(), (high - low).astype(int).tolist()
    if width == 0 or height == 0:
        return None
    fine = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)
    drawn = [((ring - low) * SUBPIXELS).round().astype(np.int32) for ring in rings]
    if shape.stroke:
        # OpenCV fills every subpixel that an edge touches: half a subpixel more on either side.
        width_fine = max(0.0, shape.stroke * radius * SUBPIXELS - 1)
        for piece in _pieces((rings[0] - low) * SUBPIXELS, width_fine):
            cv2.fillConvexPoly(fine, piece, 255)
    else:
        cv2.fillPoly(fine, drawn, 255)
    coverage = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return Patch(coverage=np.asarray(coverage / np.float32(255), np.float32), x=x, y=y)


def _pieces(line_xy: FloatArray, width: float) -> list[npt.NDArray[np.int32]]:
    """Quadrilaterals (4, 2) along a line (N, 2), each starting where the previous one ends."""
    along = np.gradient(line_xy, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    aside = np.stack([-along[:, 1], along[:, 0]], axis=-1) * (width / 2)
    left, right = (line_xy + aside).round(), (line_xy - aside).round()
    pieces = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    return list(pieces.astype(np.int32))


def _circle(radii: FloatArray | float) -> FloatArray:
    around = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)
    return np.asarray(around * np.reshape(radii, (-1, 1)), np.float64)


def _disc(rng: np.random.Generator) -> FloatArray:
    return _circle(1.0) * (1, rng.uniform(0.6, 1))


def _box(rng: np.random.Generator) -> FloatArray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    return corners * (0.9, rng.uniform(0.35, 0.9))


def _polygon(rng: np.random.Generator) -> FloatArray:
    count = int(rng.integers(3, 8))
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1) * rng.uniform(0.75, 1.1, (count, 1))


def _star(rng: np.random.Generator) -> FloatArray:
    count = int(rng.integers(4, 8))
    angles = np.arange(2 * count) * (np.pi / count)
    radii = np.where(np.arange(2 * count) % 2, rng.uniform(0.4, 0.65), 1.1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radii[:, None]


def _blob(rng: np.random.Generator) -> FloatArray:
    radii = np.ones(CURVE_POINTS)
    for waves in range(2, 6):
        radii += rng.uniform(0, 0.35 / waves) * np.cos(waves * ANGLES + rng.uniform(0, 2 * np.pi))
    return _circle(radii)


def _curve(rng: np.random.Generator) -> FloatArray:
    """Draw a cubic Bezier curve (N, 2) from left to right."""
    ends = np.array([[-2.0, 0.0], [-0.8, 0.0], [0.8, 0.0], [2.0, 0.0]])
    a, b, c, d = ends + rng.uniform(-0.9, 0.9, (4, 2))
    t = np.linspace(0, 1, CURVE_POINTS)[:, None]
    return np.asarray(
        (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d, np.float64
    )


KINDS = {
    "disc": _disc,
    "box": _box,
    "polygon": _polygon,
    "star": _star,
    "blob": _blob,
    "ring": _disc,
}


def _regular(corners: int) -> FloatArray:
    """A regular polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _five_star() -> FloatArray:
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    return _regular(10) * radii[:, None]


def _cross() -> FloatArray:
    arm = 0.32
    corner = np.array([[1, -arm], [1, arm], [arm, arm]], np.float64)
    return np.concatenate([turn(corner, quarter * np.pi / 2) for quarter in range(4)])


# Shapes with common names; the radius of each is 1.
NAMED = {
    "circle": _regular(CURVE_POINTS),
    "square": _regular(4),
    "triangle": _regular(3),
    "star": _five_star(),
    "ring": _regular(CURVE_POINTS),
    "cross": _cross(),
}
RING_HOLE = 0.55


def named_shape(rng: np.random.Generator, name: str) -> Shape:
    """A shape of `NAMED` at a random angle."""
    outline = turn(NAMED[name], rng.uniform(0, 2 * np.pi))
    rings = (outline, outline * RING_HOLE) if name == "ring" else (outline,)
    return Shape(rings=rings)
