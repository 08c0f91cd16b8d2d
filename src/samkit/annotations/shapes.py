"""Shapes that several programs' files have: polygons, boxes, ellipses, and parts of one mask."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from samkit.annotations.model import AnnotatedMask, Drawn, Shape
from samkit.annotations.segmentations import CocoSegmentation
from samkit.annotations.spaces import resize_rle
from samkit.arrays import FloatArray
from samkit.errors import DataError
from samkit.geometry import Rle, encode_patch_rle

MAX_OUTSIDE = 1.0  # of the image's sides, that an outline may lie outside of it
ELLIPSE_POINTS = 720  # as in datumaro, by which CVAT exports ellipses to COCO
# Of a pixel. Ultralytics truncates; but 0.33333 of 48 pixels was meant to be 16.
ROUNDING = 0.02
BOX_FAULT = "it has a box but no mask; boxes are masks where asked for: --boxes, in data ,boxes=yes"


@dataclass(frozen=True)
class JoinedShapes:
    """Parts that are one mask together. Those that are broken are left out."""

    parts: tuple[Shape, ...]

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        drawn, faults = [], []
        for one in self.parts:
            try:
                drawn.append(one.draw(space_hw, size_hw))
            except DataError as error:  # noqa: PERF203 - few parts
                faults.append(str(error))
        if not drawn:
            raise DataError(faults[0])
        every = [*faults, *(one.fault for one in drawn if one.fault)]
        merged = coco_mask.merge([one.rle for one in drawn])
        rle: Rle = {"size": list(size_hw), "counts": merged["counts"].decode("ascii")}
        fault = f"{len(every)} of {len(self.parts)} parts are broken: {every[0]}" if every else ""
        return Drawn(rle, fault, len(faults))


@dataclass(frozen=True)
class PixelPolygon:
    """A polygon through pixels, to which its outline belongs, as OpenCV draws it.

    Attributes:
        points: x, y, x, y, ... Any point in a pixel means the whole pixel.
        is_relative: points are fractions of the image's sides; else they are in pixels of the
            file's space, the first of which is from 0 to 1.
    """

    points: tuple[float, ...]
    is_relative: bool = False

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        space_wh = np.array([1, 1] if self.is_relative else space_hw[::-1])
        points_xy: FloatArray = np.array(self.points, np.float64).reshape(-1, 2) / space_wh
        if not ((points_xy >= -MAX_OUTSIDE) & (points_xy <= 1 + MAX_OUTSIDE)).all():
            raise DataError("a polygon lies far outside of its image")
        outline = np.floor(points_xy * size_hw[::-1] + ROUNDING).astype(np.int32)
        x0, y0 = np.clip(outline.min(axis=0), 0, (size_hw[1] - 1, size_hw[0] - 1)).tolist()
        x1, y1 = np.clip(outline.max(axis=0), 0, (size_hw[1] - 1, size_hw[0] - 1)).tolist()
        patch = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
        cv2.fillPoly(patch, [outline - (x0, y0)], 1)
        return Drawn(encode_patch_rle(patch.view(np.bool_), (x0, y0), size_hw))


@dataclass(frozen=True)
class BoxRle:
    """Run lengths of the pixels in a box, row by row, background first, as CVAT has them.

    Attributes:
        counts: text of whole numbers with commas between them.
        box_xywh: in pixels of the file's space.
    """

    counts: str
    box_xywh: tuple[int, int, int, int]

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        x, y, width, height = self.box_xywh
        if min(self.box_xywh) < 0 or x + width > space_hw[1] or y + height > space_hw[0]:
            raise DataError(f"its box {list(self.box_xywh)} is not in the image")
        try:
            counts = [int(one) for one in self.counts.split(",")]
        except ValueError as error:
            raise DataError(f"its rle must be whole numbers; got {self.counts!r:.40}") from error
        if min(counts) < 0 or sum(counts) != width * height:
            raise DataError(
                f"its rle must cover the {width * height} pixels of its box; it has {sum(counts)}"
                f" in {len(counts)} runs, the shortest of {min(counts)}"
            )
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        rle = encode_patch_rle(flat.reshape(height, width), (x, y), space_hw)
        return Drawn(resize_rle(rle, size_hw))


def box_shape(
    x0: float, y0: float, x1: float, y1: float, *, rotation: float = 0.0
) -> CocoSegmentation:
    """A box by its edges, turned clockwise about its centre by degrees."""
    corners_xy = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    return polygon_shape(turn(corners_xy, ((x0 + x1) / 2, (y0 + y1) / 2), rotation))


def ellipse_shape(
    x: float, y: float, radius_x: float, radius_y: float, *, rotation: float = 0.0
) -> CocoSegmentation:
    """An ellipse by its centre and radii, turned clockwise by degrees."""
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
    outline_xy = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=-1)
    return polygon_shape(turn(outline_xy, (x, y), rotation))


def polygon_shape(points_xy: FloatArray) -> CocoSegmentation:
    """A polygon (N, 2) between pixels: the first one is from 0 to 1."""
    return CocoSegmentation([points_xy.ravel().tolist()])


def turn(points_xy: FloatArray, about_xy: tuple[float, float], degrees: float) -> FloatArray:
    """Turn points (N, 2) clockwise as seen, since y goes down."""
    if not degrees:
        return points_xy
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned: FloatArray = (points_xy - about_xy) @ np.array([[cos, sin], [-sin, cos]]) + about_xy
    return turned


def join_groups(masks: Iterable[tuple[Hashable, AnnotatedMask]]) -> tuple[AnnotatedMask, ...]:
    """Join masks of one class and group; the order is that of their first parts.

    Args:
        masks: each with its group; None for one that belongs to none.
    """
    groups: dict[Hashable, list[AnnotatedMask]] = {}
    for index, (group, mask) in enumerate(masks):
        key = ("alone", index) if group is None else ("group", group, mask.class_name)
        groups.setdefault(key, []).append(mask)
    return tuple(_joined(parts) for parts in groups.values())


def _joined(parts: list[AnnotatedMask]) -> AnnotatedMask:
    first = parts[0]
    if len(parts) == 1:
        return first
    return AnnotatedMask(
        where=", ".join(one.where for one in parts),
        shape=JoinedShapes(tuple(one.shape for one in parts)),
        class_name=first.class_name,
        num_annotations=sum(one.num_annotations for one in parts),
        score=first.score,
        is_crowd=any(one.is_crowd for one in parts),
        attributes={
            name: value for one in reversed(parts) for name, value in one.attributes.items()
        },
    )
