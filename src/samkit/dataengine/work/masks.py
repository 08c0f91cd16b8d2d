"""Checks of masks, scores and events before they are stored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samkit.annotations import segmentation_rle
from samkit.errors import DataError, StoreError
from samkit.geometry import Rle, rle_area, rle_box_xyxy

MAX_DEPTH = 16  # of an event's data; prompts take three
# A predicted IoU is an estimate: a network's may lie a little outside [0, 1].
OVERSHOOT = 0.1


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


def check_score(name: str, value: float | None) -> float | None:
    """Check a score, and return it within [0, 1]; None stays None.

    Raises:
        StoreError: it is further outside than a predicted IoU may be, or NaN.
    """
    if value is None:
        return None
    # Written so that NaN is refused, too.
    if not -OVERSHOOT <= value <= 1 + OVERSHOOT:
        raise StoreError(f"{name} must be from 0 to 1; got {value:g}")
    return min(max(float(value), 0.0), 1.0)


def check_event_data(data: Mapping[str, Any]) -> None:
    """Check that an event's data is JSON that every reader can read back.

    Raises:
        StoreError: it is not JSON, nested too deeply, or its text is not Unicode.
    """
    if _depth(data) > MAX_DEPTH:
        raise StoreError(f"an event's data must be nested at most {MAX_DEPTH} levels deep")
    try:
        json.dumps(dict(data), allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise StoreError("an event's data must be Unicode; got half a character") from error
    except (TypeError, ValueError) as error:
        raise StoreError(f"an event's data must be JSON: {error}") from error


def _depth(value: object) -> int:
    """Return how deeply lists and mappings are nested, or a depth that is too large."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        nested = [one for one in level if isinstance(one, Mapping | list | tuple)]
        level = [
            inner for one in nested for inner in (one.values() if isinstance(one, Mapping) else one)
        ]
    return depth
