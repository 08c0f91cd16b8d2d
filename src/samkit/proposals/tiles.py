"""Tiled mask generation for images far larger than the model space, with masks joined at seams.

Only one tile's pixels are in memory, and masks as run-length encodings, each decoded on its own
within its tile. Shape legend: K masks of one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from samkit.checks import check_number
from samkit.errors import ConfigError, ImageError
from samkit.formats import RangeLike, read_image
from samkit.geometry import (
    Rle,
    decode_rle_patch,
    encode_patch_rle,
    encode_rle,
)
from samkit.proposals.filter import touches_inner_border
from samkit.proposals.grid import Box, tile_boxes
from samkit.proposals.sources import SourceLike, open_source
from samkit.types import Masks

MAX_RLE_PIXELS = 2**32 - 1  # run lengths are 32-bit numbers
MIN_TILE_PX = 16


@dataclass(frozen=True, kw_only=True)
class TileConfig:
    """Settings for cutting a large image into tiles and joining masks.

    Attributes:
        tile_px: side of the square tiles. The model sees each at its own size, 1024: larger tiles
            suit larger objects.
        overlap_px: minimum overlap of neighbouring tiles, at most half a tile. Objects smaller than
            this lie completely within some tile.
        seam_iou_thresh: masks of two tiles belong to one object if their IoU, where both tiles see
            it, is at least this.
    """

    tile_px: int = 1024
    overlap_px: int = 256
    seam_iou_thresh: float = 0.5

    def __post_init__(self) -> None:
        check_number("tile_px", self.tile_px, int, MIN_TILE_PX, 2**16)
        check_number("overlap_px", self.overlap_px, int, 0, self.tile_px // 2)
        check_number("seam_iou_thresh", self.seam_iou_thresh, float, 0, 1)
        if self.seam_iou_thresh == 0:
            raise ConfigError("seam_iou_thresh must be above 0; got 0")


class TileMasker(Protocol):
    """A generator of masks for one tile, such as an `AutoMasker`."""

    def generate(self, image: npt.NDArray[Any], /) -> Masks: ...


class TileRecord(Protocol):
    """The masks of tiles that are done, by their boxes in the image."""

    def get(self, box_xyxy: Box, /) -> Masks | None: ...

    def put(self, box_xyxy: Box, masks: Masks, /) -> None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """The masks of one tile.

    Attributes:
        box_xyxy: the tile in pixels of the image.
        masks: the masks in pixels of the tile.
        boxes_xyxy: (K, 4) boxes of the masks in pixels of the image.
        is_cut: (K,) whether a mask comes near an inner border and so may continue beyond it.
        first: index of the tile's first mask among the masks of all tiles.
    """

    box_xyxy: Box
    masks: Masks
    boxes_xyxy: npt.NDArray[np.int64]
    is_cut: npt.NDArray[np.bool_]
    first: int

    def contains(self, boxes_xyxy: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether boxes (N, 4) in pixels of the image lie in the tile."""
        low, high = np.array(self.box_xyxy[:2]), np.array(self.box_xyxy[2:])
        after_low = (boxes_xyxy[:, :2] >= low).all(axis=1)
        before_high = (boxes_xyxy[:, 2:] <= high).all(axis=1)
        return np.logical_and(after_low, before_high)


def generate_tiled(
    masker: TileMasker,
    source: SourceLike,
    tiling: TileConfig | None = None,
    *,
    value_range: RangeLike = "auto",
    record: TileRecord | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Masks:
    """Generate masks of everything in an image of any size.

    Two masks that agree where their tiles overlap show one object. If one of them is complete, that
    is, not near a border inside the image, it is kept and the other is dropped; otherwise they are
    joined. What reaches beyond the tile in which a mask is complete is another object, however well
    they agree. A cut mask that agrees with none is dropped if another tile sees all of it with more
    of its surroundings, like masks at the borders of crops.

    Args:
        masker: generates the masks of each tile, a uint8 array (h, w, 3).
        source: see `samkit.proposals.sources.open_source`.
        value_range: which values become black and white, likewise.
        record: tiles that it has are not generated again, and each other one is put into it.
        on_progress: called after each tile with the numbers of finished and of all tiles.

    Returns:
        masks of the full image, sorted by score; joined masks have the scores and the point of
        their largest part.

    Raises:
        ImageError: the image cannot be read.
    """
    tiling = TileConfig() if tiling is None else tiling
    tiles_source = open_source(source, value_range=value_range)
    size_hw = tiles_source.size_hw
    if size_hw[0] * size_hw[1] > MAX_RLE_PIXELS:
        height, width = size_hw
        raise ImageError(
            f"the image is too large: {width} x {height}; the limit is {MAX_RLE_PIXELS:,} pixels"
        )
    boxes = tile_boxes(size_hw, tiling.tile_px, tiling.overlap_px)
    tiles: list[Tile] = []
    groups = Groups()
    for box in boxes:
        masks = None if record is None else record.get(box)
        if masks is None:
            masks = masker.generate(read_image(tiles_source.read(box)))
            if record is not None:
                record.put(box, masks)
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
    """Disjoint sets of masks that show one object, by mask index."""

    def __init__(self) -> None:
        self._groups: list[list[int]] = []  # of each mask; members share one list

    def __len__(self) -> int:
        """Number of masks."""
        return len(self._groups)

    def extend(self, count: int) -> None:
        """Add masks, each as an object of its own."""
        self._groups.extend([number] for number in range(len(self), len(self) + count))

    def join(self, one: int, other: int) -> None:
        """Record that two masks show one object."""
        small, large = sorted((self._groups[one], self._groups[other]), key=len)
        if small is not large:
            large.extend(small)
            for number in small:
                self._groups[number] = large

    def members(self) -> list[list[int]]:
        """Ascending indices of the masks of each object, in the order of their first ones."""
        distinct = {id(group): group for group in self._groups}
        return [sorted(group) for group in distinct.values()]


def match_masks(one: Tile, other: Tile, iou_thresh: float) -> Iterator[tuple[int, int]]:
    """Yield pairs of masks of two tiles that agree where the tiles overlap, the best first.

    Each mask is in at most one pair, so that an object and its part are not joined. A mask that is
    complete in its tile is only in a pair with one that lies in that tile, too.
    """
    shared = _intersection(one.box_xyxy, other.box_xyxy)
    if shared is None:
        return
    numbers_one, rles_one = _rles_within(one, shared)
    numbers_other, rles_other = _rles_within(other, shared)
    if not rles_one or not rles_other:
        return
    iou = np.asarray(coco_mask.iou(rles_one, rles_other, [0] * len(rles_other)))
    fits_one = one.is_cut[numbers_one][:, None] | one.contains(other.boxes_xyxy[numbers_other])
    fits_other = other.is_cut[numbers_other][:, None] | other.contains(one.boxes_xyxy[numbers_one])
    iou = np.where(fits_one & fits_other.T, iou, 0.0)
    free_one, free_other = np.ones(len(rles_one), bool), np.ones(len(rles_other), bool)
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


def _rles_within(tile: Tile, window: Box) -> tuple[list[int], list[Rle]]:
    """Masks of a tile cropped to a window of the image that they reach into: indices and RLEs."""
    x, y = tile.box_xyxy[:2]
    window_in_tile = (window[0] - x, window[1] - y, window[2] - x, window[3] - y)
    low, high = np.array(window[:2]), np.array(window[2:])
    near = (tile.boxes_xyxy[:, :2] < high).all(axis=1) & (tile.boxes_xyxy[:, 2:] > low).all(axis=1)
    numbers, rles = [], []
    for number in np.flatnonzero(near).tolist():
        part = decode_rle_patch(tile.masks.rles[number], window_in_tile)
        if part.any():
            numbers.append(number)
            rles.append(encode_rle(part))
    return numbers, rles


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
    """A mask of a tile; `number` is its index in the tile."""

    tile: Tile
    number: int

    @property
    def is_cut(self) -> bool:
        return bool(self.tile.is_cut[self.number])

    @property
    def score(self) -> float:
        return float(self.tile.masks.scores[self.number])

    @property
    def box_xyxy(self) -> npt.NDArray[np.int64]:
        """Box (4,) in pixels of the image."""
        box: npt.NDArray[np.int64] = self.tile.boxes_xyxy[self.number]
        return box

    @property
    def area_px(self) -> int:
        return int(self.tile.masks.areas[self.number])

    def rle(self, size_hw: tuple[int, int]) -> Rle:
        """RLE of the mask in the full image."""
        masks, number = self.tile.masks, self.number
        patch = decode_rle_patch(masks.rles[number], masks.boxes_xyxy[number])
        x, y = self.tile.boxes_xyxy[number, :2].tolist()
        return encode_patch_rle(patch, (x, y), size_hw)

    @property
    def crop_xyxy(self) -> npt.NDArray[np.int64]:
        """The part of the image in which the mask was found."""
        crops = self.tile.masks.crops_xyxy
        if crops is None:
            return np.array(self.tile.box_xyxy)
        x, y = self.tile.box_xyxy[:2]
        seen: npt.NDArray[np.int64] = crops[self.number] + np.array((x, y, x, y))
        return seen


def _merge(tiles: list[Tile], groups: Groups, size_hw: tuple[int, int]) -> Masks:
    """Masks of the full image: each object's complete mask, or all of its cut masks joined."""
    parts = [_Part(tile, number) for tile in tiles for number in range(len(tile.masks))]
    is_redundant = _complete_elsewhere(tiles, size_hw)
    objects: list[list[_Part]] = []
    for members in groups.members():
        if len(members) == 1 and is_redundant[members[0]]:
            continue
        objects += _objects([parts[number] for number in members])
    mains = [max(own, key=lambda part: part.area_px) for own in objects]
    order = np.argsort([-main.score for main in mains], kind="stable").tolist()
    objects, mains = [objects[i] for i in order], [mains[i] for i in order]
    rles = tuple(_join(own, size_hw) for own in objects)
    hulls = [_hull([part.crop_xyxy for part in own]) for own in objects]
    return Masks.from_rles(
        rles,
        [main.score for main in mains],
        size_hw,
        stability=_stability(tiles, mains),
        points_xy=_points(tiles, mains),
        crops_xyxy=np.array(hulls, np.int64).reshape(-1, 4),
    )


def _complete_elsewhere(tiles: list[Tile], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether each mask is cut and lies within another tile, away from its inner borders."""
    boxes = np.concatenate([tile.boxes_xyxy for tile in tiles])
    is_cut = np.concatenate([tile.is_cut for tile in tiles])
    seen = np.zeros(len(boxes), bool)
    for tile in tiles:
        seen |= tile.contains(boxes) & ~touches_inner_border(boxes, tile.box_xyxy, size_hw)
    dropped: npt.NDArray[np.bool_] = seen & is_cut
    return dropped


def _objects(own: list[_Part]) -> Iterator[list[_Part]]:
    """Yield the parts of each object among masks that were matched, directly or not.

    The surest complete mask stands for all that lies in its tile. Chains of cut masks may lead
    beyond it, to another object.
    """
    complete = [part for part in own if not part.is_cut]
    if not complete:
        yield own
        return
    best = max(complete, key=lambda part: part.score)
    yield [best]
    beyond = [part for part in own if not best.tile.contains(part.box_xyxy[None])[0]]
    if beyond:
        yield from _objects(beyond)


def _join(parts: list[_Part], size_hw: tuple[int, int]) -> Rle:
    """Union of parts in the full image, computed on run lengths."""
    rles = [part.rle(size_hw) for part in parts]
    if len(rles) == 1:
        return rles[0]
    union = coco_mask.merge(rles)
    return {"size": list(size_hw), "counts": union["counts"].decode("ascii")}


def _hull(boxes: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """The smallest box around boxes."""
    all_boxes = np.array(boxes)
    return np.concatenate([all_boxes[:, :2].min(axis=0), all_boxes[:, 2:].max(axis=0)])


def _stability(tiles: list[Tile], mains: list[_Part]) -> npt.NDArray[np.float32] | None:
    """Stability of the largest parts; None if any tile's masks lack it."""
    columns = {id(tile): tile.masks.stability for tile in tiles}
    if any(column is None for column in columns.values()):
        return None
    values = [columns[id(main.tile)][main.number] for main in mains]  # type: ignore[index]
    return np.array(values, np.float32)


def _points(tiles: list[Tile], mains: list[_Part]) -> npt.NDArray[np.float64] | None:
    """Points of the largest parts, in the image; None if any tile's masks lack them."""
    columns = {id(tile): tile.masks.points_xy for tile in tiles}
    if any(column is None for column in columns.values()):
        return None
    points = [
        columns[id(main.tile)][main.number] + np.array(main.tile.box_xyxy[:2])  # type: ignore[index]
        for main in mains
    ]
    return np.array(points, np.float64).reshape(-1, 2)
