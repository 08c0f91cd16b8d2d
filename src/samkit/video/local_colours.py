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
    rows, cols = places
    from_xy = np.stack([cols, rows]).astype(np.float32) + flow[rows, cols].T
    middle_xy = np.rint(from_xy)
    # Around the frame nothing has a colour like any other.
    edge = 2 * REACH + 1
    known = np.pad(last_lab, ((edge, edge), (edge, edge), (0, 0)), constant_values=np.inf)
    masks = np.pad(last, edge)
    height, width = masks.shape
    x, y = (
        np.clip(axis + edge, REACH, side - 1 - REACH).astype(np.int64)
        for axis, side in zip(middle_xy, (width, height), strict=True)
    )
    known, masks, sources = known.reshape(-1, 3), masks.reshape(-1), y * width + x
    colours = lab[rows, cols] / COLOUR_WIDTH
    known = known / COLOUR_WIDTH
    rest_x, rest_y = from_xy - middle_xy
    inside = np.full(len(rows), NOBODY / 2, np.float32)
    total = np.full(len(rows), NOBODY, np.float32)
    steps = range(-REACH, REACH + 1, STEP)
    for down in steps:
        distance_y = np.square(rest_y - down)
        for right in steps:
            if down * down + right * right > REACH * REACH:
                continue
            source = sources + (down * width + right)
            difference = known[source] - colours
            contrast = np.einsum("nc,nc->n", difference, difference)
            distance = distance_y + np.square(rest_x - right)
            weight = np.exp((contrast + distance / PLACE_WIDTH**2) / -2)
            inside += weight * masks[source]
            total += weight
    return inside / total
