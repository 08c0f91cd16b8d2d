"""Mask outlines as polygons along pixel edges.

Points are integer (x, y); pixel (0, 0) is the square from (0, 0) to (1, 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, IntArray

Ring = npt.NDArray[np.int64]  # (N, 2) xy; the first point is not repeated at the end

# Directions in clockwise order, with y growing downwards.
RIGHT, DOWN, LEFT, UP = range(4)
# By an edge's direction (x, y): offset from its start to the mask pixel beside it, on its right.
PIXEL_BESIDE = {(1, 0): (0, 0), (0, 1): (-1, 0), (-1, 0): (-1, -1), (0, -1): (0, -1)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygon:
    """One connected part of a mask.

    Attributes:
        outer: outer ring; its shoelace area is positive.
        holes: rings around holes; their shoelace areas are negative.
    """

    outer: Ring
    holes: tuple[Ring, ...]


def ring_area(ring: Ring) -> float:
    """Signed area by the shoelace formula."""
    x, y = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def mask_polygons(mask: BoolArray) -> list[Polygon]:
    """Connected parts of a mask (H, W) with exact outlines along pixel edges.

    Pixels that touch only at a corner belong to different parts, so that rings do not touch
    themselves and every polygon is a valid OGC simple feature. The signed areas add up to the
    mask's area.
    """
    if not mask.any():
        return []
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    outers: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for ring in _trace_rings(mask):
        part = int(parts[_pixel_beside(ring)])
        if ring_area(ring) > 0:
            outers[part] = ring
        else:
            holes.setdefault(part, []).append(ring)
    return [
        Polygon(outer=outers[part], holes=tuple(holes.get(part, ()))) for part in sorted(outers)
    ]


def _pixel_beside(ring: Ring) -> tuple[int, int]:
    """Row and column of a mask pixel that a ring runs along."""
    (x, y), (way_x, way_y) = ring[0].tolist(), np.sign(ring[1] - ring[0]).tolist()
    dx, dy = PIXEL_BESIDE[way_x, way_y]
    return y + dy, x + dx


def _trace_rings(mask: BoolArray) -> Iterator[Ring]:
    """Yield closed rings of corner points with the mask on their right; none touches itself."""
    starts, ends, directions = _edges(mask)
    width = mask.shape[1] + 1
    # Edges are looked up by start corner and direction. Where two pixels touch at a corner, two
    # edges continue from it: turning right stays on the same pixel.
    corner = starts[:, 1] * width + starts[:, 0]
    target = ends[:, 1] * width + ends[:, 0]
    keys = corner * 4 + directions
    order = np.argsort(keys)
    sorted_keys = keys[order]
    turned_right = target * 4 + (directions + 1) % 4
    turned_left = target * 4 + (directions - 1) % 4
    at = np.minimum(np.searchsorted(sorted_keys, turned_right), len(keys) - 1)
    wanted = np.where(sorted_keys[at] == turned_right, turned_right, turned_left)
    following: list[int] = order[np.searchsorted(sorted_keys, wanted)].tolist()
    corners: list[int] = corner.tolist()

    done = bytearray(len(corners))
    for first in range(len(corners)):
        path: list[int] = []
        place: dict[int, int] = {}
        edge = first
        while not done[edge]:
            done[edge] = True
            here = corners[edge]
            if here in place:  # the path touches itself: the loop is a ring of its own
                cut = place[here]
                yield _to_ring(path[cut:], width)
                for passed in path[cut:]:
                    del place[passed]
                del path[cut:]
            place[here] = len(path)
            path.append(here)
            edge = following[edge]
        if path:
            yield _to_ring(path, width)


def _to_ring(corners: list[int], width: int) -> Ring:
    y, x = np.divmod(np.array(corners, np.int64), width)
    return np.stack([x, y], axis=-1)


def _edges(mask: BoolArray) -> tuple[Ring, Ring, IntArray]:
    """Straight edges with the mask on their right: starts (E, 2), ends (E, 2), directions (E,)."""
    row_y, row_x0, row_x1, mask_below = _runs(mask)
    col_x, col_y0, col_y1, mask_beyond = _runs(mask.T)
    low = np.stack([np.r_[row_x0, col_x], np.r_[row_y, col_y0]], axis=-1)
    high = np.stack([np.r_[row_x1, col_x], np.r_[row_y, col_y1]], axis=-1)
    directions = np.r_[np.where(mask_below, RIGHT, LEFT), np.where(mask_beyond, UP, DOWN)]
    forward = np.isin(directions, (RIGHT, DOWN))[:, None]
    return np.where(forward, low, high), np.where(forward, high, low), directions


def _runs(mask: BoolArray) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Horizontal edges: the row below, first and end column, and whether the mask is below."""
    begins = np.diff(np.pad(mask, 1).astype(np.int8), axis=0)  # 1: the mask begins, -1: it ends
    before, after = begins[:, :-1], begins[:, 1:]
    line, low = np.nonzero((before != after) & (after != 0))
    _, high = np.nonzero((before != after) & (before != 0))
    return line, low, high, after[line, low] > 0
