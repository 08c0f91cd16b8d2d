"""Mask outlines as polygons: exact ones along pixel edges, or one closed line around all parts.

Points are integer (x, y). In exact outlines pixel (0, 0) is the square from (0, 0) to (1, 1); in
the joined outline a point is the pixel itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


def joined_outline(mask: BoolArray) -> Ring:
    """One closed line (N, 2) through the border pixels of all parts and holes of a mask.

    Parts and holes are joined by lines there and back between near corners. Filled with
    `cv2.fillPoly` (even-odd rule, border included), the line reproduces the mask plus the pixels
    under the joining lines.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [np.asarray(one, np.int64).reshape(-1, 2) for one in found]
    if not rings:
        return np.zeros((0, 2), np.int64)
    return _spliced(rings, _short_links(rings, (mask.shape[0], mask.shape[1])))


class _Link(NamedTuple):
    """A line from a point of a ring, by index, to one of another ring."""

    at: int
    ring: int
    there: int


def _short_links(rings: Sequence[Ring], size_hw: tuple[int, int]) -> list[list[_Link]]:
    """Join rings by short lines into a tree; return the links of each ring.

    Candidates are the pairs of corners whose nearest pixels touch, as in a Voronoi diagram, so that
    time grows with pixels and not with the square of the corners. Of these, Kruskal's algorithm
    takes the shortest that join all.
    """
    corners = np.concatenate(rings)
    ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    index_of = np.concatenate([np.arange(len(ring)) for ring in rings])
    pairs = _near_pairs(corners, size_hw)
    pairs = pairs[ring_of[pairs[:, 0]] != ring_of[pairs[:, 1]]]
    lengths = ((corners[pairs[:, 0]] - corners[pairs[:, 1]]) ** 2).sum(axis=-1)
    links: list[list[_Link]] = [[] for _ in rings]
    group = list(range(len(rings)))

    def root(ring: int) -> int:
        while group[ring] != ring:
            group[ring] = group[group[ring]]
            ring = group[ring]
        return ring

    for one, other in pairs[np.argsort(lengths, kind="stable")].tolist():
        first, second = int(ring_of[one]), int(ring_of[other])
        if root(first) != root(second):
            group[root(first)] = root(second)
            links[first].append(_Link(int(index_of[one]), second, int(index_of[other])))
            links[second].append(_Link(int(index_of[other]), first, int(index_of[one])))
    return links


def _near_pairs(corners: Ring, size_hw: tuple[int, int]) -> IntArray:
    """Pairs (N, 2) of corners, by index, in one pixel or whose nearest pixels touch."""
    keys = corners[:, 1] * size_hw[1] + corners[:, 0]
    order = np.argsort(keys, kind="stable")
    is_shared = keys[order][1:] == keys[order][:-1]
    shared = np.stack([order[:-1][is_shared], order[1:][is_shared]], axis=-1)
    background = np.ones(size_hw, np.uint8)
    background[corners[:, 1], corners[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(
        background, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    corner_of = np.zeros(int(labels.max()) + 1, np.int64)
    corner_of[labels[corners[:, 1], corners[:, 0]]] = np.arange(len(corners))
    nearest = corner_of[labels]
    beside = [
        np.stack([one.ravel(), other.ravel()], axis=-1)
        for one, other in (
            (nearest[:, :-1], nearest[:, 1:]),
            (nearest[:-1], nearest[1:]),
        )
    ]
    touching = np.concatenate(beside)
    touching = np.unique(touching[touching[:, 0] != touching[:, 1]], axis=0)
    return np.concatenate([shared, touching])


def _spliced(rings: Sequence[Ring], links: Sequence[Sequence[_Link]]) -> Ring:
    """Walk around the first ring, and at each link around the ring there, and back."""

    def walk(ring: int, start: int, parent: int) -> Iterator[Ring | _Link]:
        points = np.roll(rings[ring], -start, axis=0)
        if parent >= 0:
            points = np.concatenate([points, points[:1]])
        done = 0
        count = len(rings[ring])
        onward = [link for link in links[ring] if link.ring != parent]
        for link in sorted(onward, key=lambda link: (link.at - start) % count):
            stop = (link.at - start) % count
            yield points[done : stop + 1]
            yield link
            done = stop
        yield points[done:]

    pieces: list[Ring] = []
    walks = [(0, walk(0, 0, -1))]  # a stack of its own: there may be thousands of rings in a row
    while walks:
        ring, steps = walks[-1]
        step = next(steps, None)
        if step is None:
            walks.pop()
        elif isinstance(step, _Link):
            walks.append((step.ring, walk(step.ring, step.there, ring)))
        else:
            pieces.append(step)
    return np.concatenate(pieces)
