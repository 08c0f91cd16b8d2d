"""Filtering of candidates: thresholds and removal of duplicates.

The rules are those of arXiv:2304.02643, appendix B, applied at the image's size. Most candidates
duplicate a better one, though, which their logits suffice to show: only the others are upsampled.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.errors import ConfigError
from samkit.geometry import (
    MASK_THRESHOLD,
    Rle,
    box_bounds,
    box_iou,
    boxes_from_masks,
    drop_small_islands,
    encode_patch_rle,
    fill_small_holes,
    least_iou,
    nms,
    patch_to_original,
    stability_score,
)
from samkit.proposals.candidates import STABILITY_SLACK, CropProposals
from samkit.proposals.config import AutoMaskConfig
from samkit.proposals.grid import Box
from samkit.types import Masks

# A mask whose box comes this near to an inner border of its crop is assumed to be cut off there.
# Source: the published implementation.
BORDER_TOLERANCE_PX = 20
# Thresholds below which no candidates were stored.
FLOORS = ("iou_thresh", "stability_thresh")


def check_floors(requested: AutoMaskConfig, proposed_with: AutoMaskConfig) -> None:
    """Check that thresholds are not below those of the proposals, with the same stability offset.

    Raises:
        ConfigError: candidates below the new thresholds were not stored.
    """
    if requested.stability_offset != proposed_with.stability_offset:
        raise ConfigError(
            f"stability_offset must be {proposed_with.stability_offset:g}, with which these masks"
            f" were proposed; got {requested.stability_offset:g} (propose again with it)"
        )
    for name in FLOORS:
        value, floor = getattr(requested, name), getattr(proposed_with, name)
        if value < floor:
            raise ConfigError(
                f"{name} must be at least {floor:g}, with which these masks were proposed;"
                f" got {value:g} (propose again with a lower one)"
            )


class FoundMask(NamedTuple):
    """One mask at the image's size; see `Masks`."""

    rle: Rle
    box_xyxy: Box
    area_px: int
    score: float
    stability: float
    point_xy: npt.NDArray[np.float64]
    crop_xyxy: Box
    box_uncleaned: Box  # before islands were dropped and holes filled
    was_cleaned: bool


def filter_crop(
    crop: CropProposals, size_hw: tuple[int, int], config: AutoMaskConfig
) -> list[FoundMask]:
    """Masks of one crop: its good candidates without duplicates, best first."""
    found = crop.candidates
    likely = np.flatnonzero(
        (found.iou_pred >= config.min_iou_pred)
        & (found.stability >= config.stability_thresh - STABILITY_SLACK)
    )
    order = likely[np.argsort(-found.scores[likely], kind="stable")]
    selected: list[FoundMask] = []
    selected_boxes = np.zeros((len(order), 4), np.int64)
    to_image = np.tile(np.array(crop.crop_xyxy[:2]), 2)
    for number in order.tolist():
        x, y = found.corners_xy[number].tolist()
        boxes = selected_boxes[: len(selected)]
        inner, outer = box_bounds(found.patches[number], (x, y), crop.coords)
        least = least_iou(boxes, np.array(inner) + to_image, np.array(outer) + to_image)
        if (least > config.box_nms_thresh).any():  # a duplicate, stable or not
            continue
        mask = measure(crop, number, size_hw, config)
        if mask is None:
            continue
        selected_boxes[len(selected)] = mask.box_uncleaned
        if not (box_iou(boxes, selected_boxes[len(selected)]) > config.box_nms_thresh).any():
            selected.append(mask)
    return selected


def merge_crops(
    crops: Sequence[Sequence[FoundMask]], size_hw: tuple[int, int], config: AutoMaskConfig
) -> Masks:
    """Drop duplicates between crops, preferring the smallest crops; sort by score."""
    found = [mask for crop in crops for mask in crop]
    if len(crops) > 1:
        boxes = np.array([mask.box_uncleaned for mask in found], np.int64).reshape(-1, 4)
        order = _sorted_numbers([(_area(mask.crop_xyxy), -mask.score) for mask in found])
        found = [found[number] for number in np.sort(nms(boxes, order, config.crop_nms_thresh))]
    if config.min_area_px:
        # Cleaned masks may now equal others; masks that were not changed are preferred.
        boxes = np.array([mask.box_xyxy for mask in found], np.int64).reshape(-1, 4)
        order = _sorted_numbers([(mask.was_cleaned, -mask.score) for mask in found])
        thresh = max(config.box_nms_thresh, config.crop_nms_thresh)
        found = [found[number] for number in np.sort(nms(boxes, order, thresh))]
    found.sort(key=lambda mask: -mask.score)
    return Masks(
        rles=tuple(mask.rle for mask in found),
        boxes_xyxy=np.array([mask.box_xyxy for mask in found], np.int64).reshape(-1, 4),
        areas=np.array([mask.area_px for mask in found], np.int64),
        scores=np.array([mask.score for mask in found], np.float32),
        size_hw=size_hw,
        stability=np.array([mask.stability for mask in found], np.float32),
        points_xy=np.array([mask.point_xy for mask in found], np.float64).reshape(-1, 2),
        crops_xyxy=np.array([mask.crop_xyxy for mask in found], np.int64).reshape(-1, 4),
    )


def measure(
    crop: CropProposals, number: int, size_hw: tuple[int, int], config: AutoMaskConfig
) -> FoundMask | None:
    """Upsample a candidate to the image's size; None if it is unstable, cut off, or too large."""
    found = crop.candidates
    x, y = found.corners_xy[number].tolist()
    logits, (x, y) = patch_to_original(found.patches[number], (x, y), crop.coords)
    stability = stability_score(logits, config.stability_offset)
    if stability < config.stability_thresh:
        return None
    corner = (x + crop.crop_xyxy[0], y + crop.crop_xyxy[1])
    mask, corner = _cut_to_box(logits > MASK_THRESHOLD, corner)
    box = _box_of(mask, corner)
    if mask.size == 0 or touches_inner_border(np.array([box]), crop.crop_xyxy, size_hw).any():
        return None
    clean, corner = _clean(mask, corner, size_hw, config.min_area_px)
    area_px = int(np.count_nonzero(clean))
    if area_px > config.max_area_fraction * size_hw[0] * size_hw[1]:
        return None
    return FoundMask(
        rle=encode_patch_rle(clean, corner, size_hw),
        box_xyxy=_box_of(clean, corner),
        area_px=area_px,
        score=float(found.scores[number]),
        stability=stability,
        point_xy=found.points_xy[number],
        crop_xyxy=crop.crop_xyxy,
        box_uncleaned=box,
        was_cleaned=clean is not mask,
    )


def touches_inner_border(
    boxes_xyxy: npt.NDArray[np.int64],
    crop_xyxy: Box,
    size_hw: tuple[int, int],
    tolerance_px: int = BORDER_TOLERANCE_PX,
) -> npt.NDArray[np.bool_]:
    """Whether boxes (K, 4) come near a border of their crop that is not the image's border."""
    height, width = size_hw
    near_crop = np.abs(boxes_xyxy - np.array(crop_xyxy)) <= tolerance_px
    near_image = np.abs(boxes_xyxy - np.array((0, 0, width, height))) <= tolerance_px
    touching: npt.NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return touching


def _sorted_numbers(keys: list[tuple[Any, ...]]) -> npt.NDArray[np.int64]:
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _box_of(mask: BoolArray, corner_xy: tuple[int, int]) -> Box:
    """Box of a mask that fills its array."""
    (x, y), (height, width) = corner_xy, mask.shape
    return x, y, x + width, y + height


def _cut_to_box(mask: BoolArray, corner_xy: tuple[int, int]) -> tuple[BoolArray, tuple[int, int]]:
    """Crop a mask to its tight box; also the crop's corner."""
    x0, y0, x1, y1 = boxes_from_masks(mask[None])[0].tolist()
    return mask[y0:y1, x0:x1], (corner_xy[0] + x0, corner_xy[1] + y0)


def _clean(
    mask: BoolArray, corner_xy: tuple[int, int], size_hw: tuple[int, int], min_area_px: int
) -> tuple[BoolArray, tuple[int, int]]:
    """Fill small holes and remove small islands of a mask that fills its array."""
    if min_area_px == 0:
        return mask, corner_xy
    x0, y0, x1, y1 = _box_of(mask, corner_xy)
    continues = (x0 > 0, y0 > 0, x1 < size_hw[1], y1 < size_hw[0])
    filled = fill_small_holes(mask, min_area_px, open_sides=continues)
    clean = drop_small_islands(filled, min_area_px)
    return (clean, corner_xy) if clean is filled else _cut_to_box(clean, corner_xy)
