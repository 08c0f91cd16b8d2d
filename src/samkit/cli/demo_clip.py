"""The clip of `samkit demo --video`: a view that moves over the demo image, and a bar before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from samkit.arrays import RgbImage

NUM_FRAMES = 12
RATE = 6.0  # frames per second
VIEW_WH = (480, 340)
BAR_WIDTH = 56
BAR_RGB = (52, 58, 64)


def demo_frames(image: RgbImage) -> Iterator[RgbImage]:
    """Frames (H, W, 3) of a clip, from an image that is larger than the view."""
    width, height = VIEW_WH
    room_y, room_x = image.shape[0] - height, image.shape[1] - width
    for number in range(NUM_FRAMES):
        share = number / (NUM_FRAMES - 1)
        x, y = round(share * room_x), round(room_y * np.sin(np.pi * share))
        frame = image[y : y + height, x : x + width].copy()
        bar = round(width - 1.6 * share * width)  # from the right to the left, faster than the view
        frame[:, max(0, bar) : max(0, bar + BAR_WIDTH)] = BAR_RGB
        yield frame
