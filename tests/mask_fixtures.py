"""Realistic masks: nested, with holes and parts, with all columns."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from samkit.types import Masks

SIZE_HW = (60, 90)


def disc(x, y, radius):
    rows, cols = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    return (cols - x) ** 2 + (rows - y) ** 2 < radius**2


@pytest.fixture
def arrays():
    """A small disc, a large one around it, a ring, two parts, a single pixel."""
    parts = disc(15, 12, 8) | disc(40, 10, 6)
    pixel = np.zeros(SIZE_HW, bool)
    pixel[59, 89] = True
    ring = disc(70, 30, 15) & ~disc(70, 30, 7)
    return np.stack([disc(30, 35, 6), disc(30, 35, 20), ring, parts, pixel])


@pytest.fixture
def masks(arrays):
    count = len(arrays)
    crops = np.tile([0, 0, SIZE_HW[1], SIZE_HW[0]], (count, 1))
    crops[1] = 5, 10, 60, 60
    return replace(
        Masks.from_arrays(arrays, np.linspace(0.9, 1.02, count)),
        stability=np.linspace(0.951, 0.987, count, dtype=np.float32),
        points_xy=np.array([[30, 35], [25.5, 40.25], [60, 30], [15, 12], [89, 59]]),
        crops_xyxy=crops,
    )


@pytest.fixture
def named(masks):
    """The same masks, of two classes and one without."""
    return replace(
        masks,
        phrases=("car", "tree", "", "car", "tree"),
        phrase_scores=np.array([0.9, 0.8, 0.1, 0.7, 0.6], np.float32),
    )


@pytest.fixture
def no_masks():
    return Masks.from_arrays(np.zeros((0, *SIZE_HW), bool), [])


@pytest.fixture
def outlines():
    """Draws a polygon of pixel coordinates as Ultralytics does: cut to whole pixels, with rim."""

    def draw(points_xy, size_hw):
        filled = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(filled, [np.asarray(points_xy).astype(np.int32)], 1)
        return filled > 0

    return draw
