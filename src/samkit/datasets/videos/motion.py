"""Motion of pictures: smooth paths, turns and growth, and smooth deformation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray, FloatImage

# Largest values, which few motions have: most are slow. Lengths are fractions of the frame's side,
# times are frames.
SPEED = 0.06
SWING, SWING_SPEED = 0.12, 0.6  # to and fro, and its angle per frame
TURN = math.radians(8)
GROWTH = 0.05  # of the logarithm of the scale
SCALE = 0.25  # at the start, likewise
SHEAR = 0.2
RIPPLE, RIPPLE_SPEED = 0.08, 0.5  # of a picture's side, and its angle per frame
RIPPLE_CELLS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """How a picture moves through a frame of height and width 1.

    Attributes:
        start_xy: of its centre.
        velocity_xy: per frame.
        swing_xy: reach of its to and fro.
        swing_speed, phase: angle of the to and fro per frame, and at the start.
        angle, turn: at the start, and per frame.
        log_scale, growth: at the start, and per frame.
        shear: of x by y.
        ripple: (2, 2, R, R) x and y of two displacements, between which it goes round.
        ripple_speed: angle per frame.
    """

    start_xy: tuple[float, float]
    velocity_xy: tuple[float, float]
    swing_xy: tuple[float, float]
    swing_speed: float
    phase: float
    angle: float
    turn: float
    log_scale: float
    growth: float
    shear: float
    ripple: npt.NDArray[np.float32]
    ripple_speed: float

    def matrix(
        self, time: float, patch_hw: tuple[int, int], frame_hw: tuple[int, int]
    ) -> FloatArray:
        """Affine map (2, 3) from pixels of a picture to those of a frame, at a time."""
        swing = math.sin(self.swing_speed * time + self.phase) - math.sin(self.phase)
        center = [
            side * (start + speed * time + reach * swing)
            for side, start, speed, reach in zip(
                frame_hw[::-1], self.start_xy, self.velocity_xy, self.swing_xy, strict=True
            )
        ]
        angle, scale = self.angle + self.turn * time, math.exp(self.log_scale + self.growth * time)
        turned = scale * np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        turned = turned @ np.array([[1.0, self.shear], [0.0, 1.0]])
        middle = (np.array(patch_hw[::-1], float) - 1) / 2
        return np.column_stack([turned, np.array(center) - 0.5 - turned @ middle])

    def displacement(self, time: float, patch_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Where each pixel of a picture is taken from, at a time: (2, H, W), x and y."""
        height, width = patch_hw
        angle = self.ripple_speed * time
        cells = math.cos(angle) * self.ripple[0] + math.sin(angle) * self.ripple[1]
        x, y = (
            cv2.resize(axis, (width, height), interpolation=cv2.INTER_CUBIC) * side
            for axis, side in zip(cells, (width, height), strict=True)
        )
        columns, rows = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        return np.stack([columns + x, rows + y]).astype(np.float32)


def draw_motion(rng: np.random.Generator, *, pace: float = 1.0) -> Motion:
    """Draw a motion that begins somewhere within the frame; `pace` scales all speeds."""

    def slow(most: float) -> float:
        """A number up to `most` in size, mostly far smaller."""
        return float(most * pace * rng.uniform(-1, 1) * rng.uniform())

    return Motion(
        start_xy=(float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.15, 0.85))),
        velocity_xy=(float(SPEED * pace * rng.uniform(-1, 1)), slow(SPEED)),
        swing_xy=(slow(SWING), slow(SWING)),
        swing_speed=float(rng.uniform(0.1, SWING_SPEED)),
        phase=float(rng.uniform(0, 2 * math.pi)),
        angle=float(rng.uniform(-math.pi, math.pi)),
        turn=slow(TURN),
        log_scale=float(rng.uniform(-SCALE, SCALE)),
        growth=slow(GROWTH),
        shear=float(rng.uniform(-SHEAR, SHEAR)),
        ripple=draw_ripple(rng),
        ripple_speed=float(rng.uniform(0.1, RIPPLE_SPEED)),
    )


def draw_ripple(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw displacements (2, 2, R, R) at the cells of a grid, as fractions of the side."""
    size = RIPPLE * rng.uniform()
    return (size * rng.uniform(-1, 1, (2, 2, RIPPLE_CELLS, RIPPLE_CELLS))).astype(np.float32)


def render(patch: FloatImage, motion: Motion, time: float, frame_hw: tuple[int, int]) -> FloatImage:
    """A picture (h, w, C) where it is at a time, in a frame (H, W, C) that is 0 elsewhere."""
    x, y = motion.displacement(time, patch.shape[:2])
    rippled = cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    matrix = motion.matrix(time, patch.shape[:2], frame_hw)
    return np.asarray(cv2.warpAffine(rippled, matrix, frame_hw[::-1], flags=cv2.INTER_LINEAR))
