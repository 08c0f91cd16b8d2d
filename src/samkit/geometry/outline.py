"""One closed line around all parts of a mask, for formats with a single polygon per mask.

Points are integer (x, y), and are pixels of the mask.
Shape legend: R rings, T pixels of all rings, H x W size of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray, IntArray
from samkit.geometry.polygons import Ring

MASK_SIZE = 5  # of OpenCV's distance transform with labels


def joined_outline(mask: BoolArray) -> Ring:
    """One closed line (N, 2) through the border pixels of all parts and holes of a mask (H, W).

    Parts and holes are joined by short lines there and back, within the mask where possible. Filled
    with `cv2.fillPoly` (even-odd rule, border included), the line reproduces the mask plus the
    pixels under the joining lines. Takes O(H W + T log T) steps.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not found:
        return np.zeros((0, 2), np.int64)
    rings = [np.asarray(ring, np.int64).reshape(-1, 2) for ring in found]
    points_xy = np.concatenate(rings)
    lengths = np.array([len(ring) for ring in rings])
    if len(rings) > 1:
        joins = spanning_tree(candidate_joins(mask, points_xy, lengths), lengths)
        points_xy = points_xy[tour(joins, lengths)]
    return without_straight_steps(points_xy)


def candidate_joins(mask: BoolArray, points_xy: Ring, lengths: IntArray) -> IntArray:
    """Pairs of pixels (J, 2) of different rings, as indices of points, best first.

    Each pixel of the image belongs to the nearest border pixel; where two neighbouring pixels
    belong to different rings, these could be joined. So there are at most two candidates for each
    pixel, and they connect all rings. Joins within the mask, which add no pixel to it, come before
    others, and short ones before long ones. Of each pair of rings only the best is returned.
    """
    ring_of = np.repeat(np.arange(len(lengths)), lengths)
    x, y = points_xy.T
    owner = np.full(mask.shape, -1, np.int64)
    owner[y, x] = np.arange(len(points_xy))
    _, labels = cv2.distanceTransformWithLabels(
        (owner < 0).astype(np.uint8), cv2.DIST_L2, MASK_SIZE, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest_of_label = np.zeros(int(labels.max()) + 1, np.int64)
    nearest_of_label[labels[y, x]] = owner[y, x]
    nearest = nearest_of_label[labels]
    pairs = [np.stack([owner[y, x], np.arange(len(points_xy))])]  # rings that share a pixel
    is_inside = [np.ones(len(points_xy), bool)]
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        borders = ring_of[nearest[one]] != ring_of[nearest[other]]
        pairs.append(np.stack([nearest[one][borders], nearest[other][borders]]))
        is_inside.append((mask[one] & mask[other])[borders])
    first, second = np.concatenate(pairs, axis=1)
    distance = ((points_xy[first] - points_xy[second]) ** 2).sum(axis=1)
    order = np.lexsort([distance, ~np.concatenate(is_inside)])
    first, second = first[order], second[order]
    low, high = np.sort([ring_of[first], ring_of[second]], axis=0)
    _, best = np.unique(low * len(lengths) + high, return_index=True)
    best = np.sort(best[low[best] != high[best]])
    return np.stack([first[best], second[best]], axis=1)


def spanning_tree(candidates: IntArray, lengths: IntArray) -> list[tuple[int, int]]:
    """Choose joins that connect all rings without a circle, the first ones possible (Kruskal)."""
    ring_of = np.repeat(np.arange(len(lengths)), lengths)
    parent = list(range(len(lengths)))

    def root(ring: int) -> int:
        while parent[ring] != ring:
            parent[ring] = parent[parent[ring]]
            ring = parent[ring]
        return ring

    chosen = []
    rings = ring_of[candidates].tolist()
    for (first, second), (one, other) in zip(candidates.tolist(), rings, strict=True):
        one_root, other_root = root(one), root(other)
        if one_root != other_root:
            parent[one_root] = other_root
            chosen.append((first, second))
    return chosen


@dataclass
class Round:
    """A ring on the way around it.

    Attributes:
        start: index of its first point.
        length: number of its points.
        entry: offset of the point where it was entered.
        detours: (steps from the entry, point of another ring), the last one first.
        steps: steps done.
    """

    start: int
    length: int
    entry: int
    detours: list[tuple[int, int]] = field(default_factory=list)
    steps: int = 0

    @property
    def place(self) -> int:
        """Index of the point that was passed last."""
        return self.start + (self.entry + self.steps - 1) % self.length

    def advance(self, steps: int) -> npt.NDArray[np.int64]:
        """Go on until this number of steps is done; return the points on the way."""
        passed = np.arange(self.steps, steps)
        self.steps = max(self.steps, steps)
        return self.start + (self.entry + passed) % self.length


def tour(joins: list[tuple[int, int]], lengths: IntArray) -> IntArray:
    """Indices of points on a closed way around all rings, over each join there and back."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    ring_of = np.repeat(np.arange(len(lengths)), lengths).tolist()
    others: dict[int, list[tuple[int, int]]] = {}  # by ring: its point, and that of another ring
    for first, second in joins:
        others.setdefault(ring_of[first], []).append((first, second))
        others.setdefault(ring_of[second], []).append((second, first))

    def enter(point: int, before: int | None) -> Round:
        ring = ring_of[point]
        start, length = int(starts[ring]), int(lengths[ring])
        one = Round(start=start, length=length, entry=point - start)
        for own, other in others.get(ring, ()):
            if (own, other) != (point, before):
                one.detours.append(((own - point) % length, other))
        one.detours.sort(reverse=True)
        return one

    stack, pieces = [enter(0, None)], [np.zeros(0, np.int64)]
    while stack:
        current = stack[-1]
        if current.detours:
            steps, other = current.detours.pop()
            pieces.append(current.advance(steps + 1))
            stack.append(enter(other, current.place))
            continue
        pieces.append(current.advance(current.length + 1))  # back to the entry
        stack.pop()
        if stack:  # back over the join
            before = stack[-1]
            pieces.append(
                before.start + (before.entry + np.array([before.steps - 1])) % before.length
            )
    return np.concatenate(pieces)


def without_straight_steps(points_xy: Ring) -> Ring:
    """A closed way without repeated points, and without pixels where it goes straight on."""
    moves = points_xy - np.roll(points_xy, 1, axis=0)
    points_xy = points_xy[moves.any(axis=1)] if moves.any() else points_xy[:1]
    arriving = points_xy - np.roll(points_xy, 1, axis=0)
    leaving = np.roll(arriving, -1, axis=0)
    is_straight = (arriving == leaving).all(axis=1) & (abs(arriving).max(axis=1) <= 1)
    return points_xy[~is_straight] if len(points_xy) > 1 else points_xy
