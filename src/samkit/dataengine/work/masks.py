"""Checks of masks before they are stored."""

from dataclasses import dataclass

import numpy as np

from samkit.annotations import segmentation_rle
from samkit.errors import DataError, StoreError
from samkit.geometry import Rle, rle_area, rle_box_xyxy


@dataclass(frozen=True, kw_only=True)
class CheckedMask:
    """A mask that fills its image's size, with at least one pixel."""

    counts: str
    area_px: int
    box_xyxy: tuple[int, int, int, int]


def check_mask(segmentation: object, size_hw: tuple[int, int]) -> CheckedMask:
    """Check a mask and measure it.

    Args:
        segmentation: COCO segmentation: an RLE, compressed or not, or polygons.
        size_hw: height and width of the mask's image, in pixels.

    Raises:
        StoreError: malformed, of another size, or empty.
    """
    try:
        rle: Rle = segmentation_rle(segmentation, size_hw)
    except DataError as error:
        raise StoreError(str(error)) from error
    area_px = rle_area(rle)
    if area_px == 0:
        raise StoreError("a mask needs at least one pixel; got an empty one")
    return CheckedMask(counts=rle["counts"], area_px=area_px, box_xyxy=rle_box_xyxy(rle))


def check_score(name: str, value: float | None) -> None:
    """Check that a score is finite, or None.

    Raises:
        StoreError: NaN or infinity.
    """
    if value is not None and not np.isfinite(value):
        raise StoreError(f"{name} must be finite; got {value}")
