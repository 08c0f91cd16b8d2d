"""Images far larger than the model space: overlapping tiles, and masks joined across the seams.

Only one tile's pixels are in memory, and masks as run-length codes: each is decoded alone, in its
own tile. Shape legend: K masks of one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.errors import ConfigError, ImageError
from samkit.formats import read_image
from samkit.geometry import Rle, encode_rle
from samkit.geometry.rle import decode_rle_patch, encode_patch_rle, rle_area, rle_box_xyxy
from samkit.proposals.config import check_number
from samkit.proposals.filter import touches_inner_border
from samkit.proposals.grid import Box, tile_boxes
from samkit.proposals.sources import SourceLike, open_source
from samkit.types import Masks

MAX_CANVAS_PIXELS = 2**32 - 1  # run lengths are 32-bit numbers
SMALLEST_TILE_PX = 16


@dataclass(frozen=True, kw_only=True)
class TileConfig:
    """How a large image is cut into tiles, and masks are joined.

    Attributes:
        tile_px: side of the square tiles. The model sees each at its own size, 1024: larger tiles
            are for larger things.
        overlap_px: what neighbouring tiles share at least; at most half a tile. Things smaller than
            this are seen whole by some tile.
        seam_iou_thresh: masks of two tiles are of one thing if, where both tiles see it, their IoU
            is at least this.
    """

    tile_px: int = 1024
    overlap_px: int = 256
    seam_iou_thresh: float = 0.5

    def __post_init__(self) -> None:
        check_number("tile_px", self.tile_px, int, SMALLEST_TILE_PX, 2**16)
        check_number("overlap_px", self.overlap_px, int, 0, self.tile_px // 2)
        check_number("seam_iou_thresh", self.seam_iou_thresh, float, 0, 1)
        if self.seam_iou_thresh == 0:
            raise ConfigError("seam_iou_thresh must be above 0; got 0")


class MaskMaker(Protocol):
    """What makes masks of one tile, such as an `AutoMasker`."""

    def generate(self, image: npt.NDArray[Any], /) -> Masks: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """The masks of one tile.

    Attributes:
        box_xyxy: the tile, in pixels of the image.
        masks: in pixels of the tile.
        boxes_xyxy: (K, 4) of the masks, in pixels of the image.
        is_cut: (K,) which masks come near an inner border, and so may go on beyond it.
        first: number of the first mask among the masks of all tiles.
    """

    box_xyxy: Box
    masks: Masks
    boxes_xyxy: npt.NDArray[np.int64]
    is_cut: npt.NDArray[np.bool_]
    first: int


def generate_tiled(
    masker: MaskMaker,
    source: SourceLike,
    tiling: TileConfig | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Masks:
    """Make masks of everything in an image of any size.

    Two masks that agree where their tiles overlap are one thing. If one of them is whole, which is
    to say that it does not come near a border within the image, it is kept and the other is
    dropped; else they are joined. A cut mask that agrees with none is dropped if another tile sees
    all of it with more around it, as masks at the borders of crops are.

    Args:
        masker: makes the masks of each tile, an array uint8 (h, w, 3).
        source: an array, a memory map, a file, or anything with `size_hw` and `read`; see
            `samkit.proposals.sources.open_source`.
        tiling: sizes and thresholds.
        on_progress: called after each tile with the tiles done and all tiles.

    Returns:
        masks of the whole image, ordered by score; joined ones have the scores and the point of
        their largest part.

    Raises:
        ImageError: the image cannot be read.
    """
    tiling = TileConfig() if tiling is None else tiling
    tiles_source = open_source(source)
    size_hw = tiles_source.size_hw
    if size_hw[0] * size_hw[1] > MAX_CANVAS_PIXELS:
        height, width = size_hw
        raise ImageError(
            f"the image is too large: {width} x {height}; the limit is {MAX_CANVAS_PIXELS:,} pixels"
        )
    boxes = tile_boxes(size_hw, tiling.tile_px, tiling.overlap_px)
    tiles: list[Tile] = []
    groups = Groups()
    for box in boxes:
        masks = masker.generate(read_image(tiles_source.read(box)))
        tile = _place(masks, box, size_hw, first=len(groups))
        groups.extend(len(masks))
        for other in tiles:
            for mine, theirs in match_masks(tile, other, tiling.seam_iou_thresh):
                groups.join(tile.first + mine, other.first + theirs)
        tiles.append(tile)
        if on_progress is not None:
            on_progress(len(tiles), len(boxes))
    return _merge(tiles, groups, size_hw)


class Groups:
    """Which masks are of one thing: numbers joined into sets (union-find)."""

    def __init__(self) -> None:
        self.parents: list[int] = []

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.parents)

    def extend(self, count: int) -> None:
        """Add masks that are each a thing of its own."""
        self.parents.extend(range(len(self), len(self) + count))

    def find(self, number: int) -> int:
        """The lowest number of the thing that a mask is of."""
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Two masks are of one thing."""
        low, high = sorted((self.find(one), self.find(other)))
        self.parents[high] = low

    def members(self) -> list[list[int]]:
        """The masks of each thing."""
        sets: dict[int, list[int]] = {}
        for number in range(len(self)):
            sets.setdefault(self.find(number), []).append(number)
        return list(sets.values())


def match_masks(one: Tile, other: Tile, iou_thresh: float) -> Iterator[tuple[int, int]]:
    """Pairs of masks of two tiles that agree where the tiles overlap, the best first.

    Each mask is in one pair at most, so that a thing and its part are not joined.
    """
    shared = _intersection(one.box_xyxy, other.box_xyxy)
    if shared is None:
        return
    numbers_one, codes_one = _codes_within(one, shared)
    numbers_other, codes_other = _codes_within(other, shared)
    if not codes_one or not codes_other:
        return
    iou = np.asarray(coco_mask.iou(codes_one, codes_other, [0] * len(codes_other)))
    free_one, free_other = np.ones(len(codes_one), bool), np.ones(len(codes_other), bool)
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        i, j = np.unravel_index(flat, iou.shape)
        if iou[i, j] < iou_thresh:
            return
        if free_one[i] and free_other[j]:
            free_one[i] = free_other[j] = False
            yield numbers_one[i], numbers_other[j]


def _intersection(one: Box, other: Box) -> Box | None:
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    x1, y1 = min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _codes_within(tile: Tile, window: Box) -> tuple[list[int], list[Rle]]:
    """The masks of a tile that reach into a window of the image, cut to it: numbers and codes."""
    x, y = tile.box_xyxy[:2]
    window_in_tile = (window[0] - x, window[1] - y, window[2] - x, window[3] - y)
    low, high = np.array(window[:2]), np.array(window[2:])
    near = (tile.boxes_xyxy[:, :2] < high).all(axis=1) & (tile.boxes_xyxy[:, 2:] > low).all(axis=1)
    numbers, codes = [], []
    for number in np.flatnonzero(near).tolist():
        part = decode_rle_patch(tile.masks.rles[number], window_in_tile)
        if part.any():
            numbers.append(number)
            codes.append(encode_rle(part))
    return numbers, codes


def _place(masks: Masks, box: Box, size_hw: tuple[int, int], *, first: int) -> Tile:
    boxes_xyxy = masks.boxes_xyxy + np.tile(np.array(box[:2]), 2)
    return Tile(
        box_xyxy=box,
        masks=masks,
        boxes_xyxy=boxes_xyxy,
        is_cut=touches_inner_border(boxes_xyxy, box, size_hw),
        first=first,
    )


class _Part(NamedTuple):
    """One mask of one tile; `number` is among the masks of its tile."""

    tile: Tile
    number: int

    @property
    def is_cut(self) -> bool:
        return bool(self.tile.is_cut[self.number])

    @property
    def score(self) -> float:
        return float(self.tile.masks.scores[self.number])

    @property
    def area_px(self) -> int:
        return int(self.tile.masks.areas[self.number])

    def code(self, size_hw: tuple[int, int]) -> Rle:
        """The mask in the whole image."""
        masks, number = self.tile.masks, self.number
        patch = decode_rle_patch(masks.rles[number], masks.boxes_xyxy[number])
        x, y = self.tile.boxes_xyxy[number, :2].tolist()
        return encode_patch_rle(patch, (x, y), size_hw)

    @property
    def crop_xyxy(self) -> npt.NDArray[np.int64]:
        """The part of the image that the mask was seen in."""
        crops = self.tile.masks.crops_xyxy
        if crops is None:
            return np.array(self.tile.box_xyxy)
        x, y = self.tile.box_xyxy[:2]
        seen: npt.NDArray[np.int64] = crops[self.number] + np.array((x, y, x, y))
        return seen


def _merge(tiles: list[Tile], groups: Groups, size_hw: tuple[int, int]) -> Masks:
    """The masks of the image: of each thing the whole mask, or all cut ones joined."""
    parts = [_Part(tile, number) for tile in tiles for number in range(len(tile.masks))]
    seen_whole = _seen_whole_elsewhere(tiles, size_hw)
    things = []
    for members in groups.members():
        if len(members) == 1 and seen_whole[members[0]]:
            continue
        of_thing = [parts[number] for number in members]
        whole = [part for part in of_thing if not part.is_cut]
        things.append([max(whole, key=lambda part: part.score)] if whole else of_thing)
    mains = [max(thing, key=lambda part: part.area_px) for thing in things]
    order = np.argsort([-main.score for main in mains], kind="stable").tolist()
    things, mains = [things[i] for i in order], [mains[i] for i in order]
    rles = tuple(_join(thing, size_hw) for thing in things)
    hulls = [_hull([part.crop_xyxy for part in thing]) for thing in things]
    return Masks(
        rles=rles,
        boxes_xyxy=np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4),
        areas=np.array([rle_area(rle) for rle in rles], np.int64),
        scores=np.array([main.score for main in mains], np.float32),
        size_hw=size_hw,
        stability=_stability(tiles, mains),
        points_xy=_points(tiles, mains),
        crops_xyxy=np.array(hulls, np.int64).reshape(-1, 4),
    )


def _seen_whole_elsewhere(tiles: list[Tile], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which cut masks lie within another tile, away from its inner borders."""
    boxes = np.concatenate([tile.boxes_xyxy for tile in tiles])
    is_cut = np.concatenate([tile.is_cut for tile in tiles])
    seen = np.zeros(len(boxes), bool)
    for tile in tiles:
        low, high = np.array(tile.box_xyxy[:2]), np.array(tile.box_xyxy[2:])
        inside = (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
        seen |= inside & ~touches_inner_border(boxes, tile.box_xyxy, size_hw)
    dropped: npt.NDArray[np.bool_] = seen & is_cut
    return dropped


def _join(thing: list[_Part], size_hw: tuple[int, int]) -> Rle:
    """The union of parts in the whole image, made of run lengths alone."""
    codes = [part.code(size_hw) for part in thing]
    if len(codes) == 1:
        return codes[0]
    union = coco_mask.merge(codes)
    return {"size": list(size_hw), "counts": union["counts"].decode("ascii")}


def _hull(boxes: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """The smallest box around boxes."""
    all_boxes = np.array(boxes)
    return np.concatenate([all_boxes[:, :2].min(axis=0), all_boxes[:, 2:].max(axis=0)])


def _stability(tiles: list[Tile], mains: list[_Part]) -> npt.NDArray[np.float32] | None:
    """Stability of the largest parts; None if a tile's masks have none."""
    columns = {id(tile): tile.masks.stability for tile in tiles}
    if any(column is None for column in columns.values()):
        return None
    values = [columns[id(main.tile)][main.number] for main in mains]  # type: ignore[index]
    return np.array(values, np.float32)


def _points(tiles: list[Tile], mains: list[_Part]) -> npt.NDArray[np.float64] | None:
    """Points of the largest parts in the image; None if a tile's masks have none."""
    columns = {id(tile): tile.masks.points_xy for tile in tiles}
    if any(column is None for column in columns.values()):
        return None
    points = [
        columns[id(main.tile)][main.number] + np.array(main.tile.box_xyxy[:2])  # type: ignore[index]
        for main in mains
    ]
    return np.array(points, np.float64).reshape(-1, 2)
