"""Where the outline of the last mask has gone, by the colours beside it.

Optical flow knows about where an outline has gone, and most of a tracker's errors are within a few
pixels of it. So a place there is not what flow carried to it: the places of the last frame around
that where it comes from vote with their masks, those of nearly its colour, and near by, the most.
Where no colour is like its own, nobody votes.

Source: a joint bilateral filter (Petschnigg et al., SIGGRAPH 2004) of the last mask, from one frame
to the next.

Shape legend: h x w cells of the logits space that the frame fills, N places.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, FloatImage, Logits
from samkit.video.motion import Flow

BAND = 8  # cells on both sides of the outline in which places vote
REACH, STEP = 10, 2  # cells around where a place comes from, and of these each second one
PLACE_WIDTH = 5.0  # of the Gaussian of distances, in cells
COLOUR_WIDTH = 0.03  # of that of colours, in units of `LAB_RANGE`
NOBODY = 0.05  # weight of a vote for one half, beside 1 of a place of the same colour


def beside_outline(inside: BoolArray) -> BoolArray:
    """Cells (h, w) that are at most `BAND` from the outline of a mask (h, w)."""
    square = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    mask = inside.astype(np.uint8)
    return np.asarray((cv2.dilate(mask, square) > 0) & (cv2.erode(mask, square) == 0))


def votes_of_colours(
    last: Logits,
    last_lab: FloatImage,
    lab: FloatImage,
    flow: Flow,
    places: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.float32]:
    """Probabilities (N,) that places of a frame are inside.

    Args:
        last: probabilities (h, w) of the last mask.
        last_lab, lab: colours (h, w, 3) of the last frame and of this one; see `lab_cells`.
        flow: from this frame to the last one.
        places: rows and columns.
    """
    height, width = last.shape
    rows, cols = places
    from_xy = np.stack([cols, rows], axis=1).astype(np.float32) + flow[rows, cols]
    middle_x, middle_y = np.rint(from_xy).astype(np.int64).T
    colours, known, masks = lab[rows, cols], last_lab.reshape(-1, 3), last.reshape(-1)
    inside = np.full(len(rows), NOBODY / 2, np.float32)
    total = np.full(len(rows), NOBODY, np.float32)
    steps = range(-REACH, REACH + 1, STEP)
    for down, right in ((y, x) for y in steps for x in steps if x * x + y * y <= REACH * REACH):
        y, x = middle_y + down, middle_x + right
        is_there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        source = np.where(is_there, y * width + x, 0)
        distance = (from_xy[:, 0] - x) ** 2 + (from_xy[:, 1] - y) ** 2
        contrast = np.square(known[source] - colours).sum(axis=1)
        exponent = distance / PLACE_WIDTH**2 + contrast / COLOUR_WIDTH**2
        weight = is_there * np.exp(-exponent / 2)
        inside += weight * masks[source]
        total += weight
    return np.asarray(inside / total, np.float32)
