"""Masks that are valid but may not mean what they seem."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from samkit.geometry import Rle, box_iou, rle_area, rle_box_xyxy

SAME_IOU = 0.95  # two masks of one class that agree so far are one thing, drawn twice
NEAR_IOU = 0.5  # of the boxes of such masks, which a stray pixel may change
SPECK_PX = 9
# Soft edges and JPEG noise in a picture of one mask make "instances" of a few pixels each.
MIN_SPECKS, MOST = 20, 0.5
FULL = 0.995  # of the image's pixels


def find_suspicions(rles: Sequence[Rle], names: Sequence[str | None]) -> tuple[str, ...]:
    """One line about each thing in an image's masks that is seldom wanted.

    Args:
        rles: the masks.
        names: class of each mask; None without one.
    """
    if not rles:
        return ()
    areas = np.array([rle_area(rle) for rle in rles])
    found = []
    if count := len(find_duplicates(rles, names)):
        found.append(f"{_masks(count)} drawn twice: the same pixels and class as another")
    specks = int((areas <= SPECK_PX).sum())
    if specks >= MIN_SPECKS and specks > MOST * len(rles):
        found.append(
            f"{specks} of {len(rles)} masks have at most {SPECK_PX} pixels: soft edges or noise"
            " of a picture look like this"
        )
    height, width = rles[0]["size"]
    if count := int((areas >= FULL * height * width).sum()):
        found.append(f"{_masks(count)} over the full image")
    return tuple(found)


def find_duplicates(rles: Sequence[Rle], names: Sequence[str | None]) -> tuple[int, ...]:
    """Indices of masks that are, but for a few pixels, an earlier one of the same class."""
    if len(rles) < 2:
        return ()
    boxes = np.array([rle_box_xyxy(rle) for rle in rles], np.float64)
    counts = Counter(names)
    found = []
    for index in range(1, len(rles)):
        if counts[names[index]] < 2:
            continue
        near: list[int] = np.flatnonzero(box_iou(boxes[index], boxes[:index]) >= NEAR_IOU).tolist()
        others = [rles[other] for other in near if names[other] == names[index]]
        if others and coco_mask.iou([rles[index]], others, [0] * len(others)).max() >= SAME_IOU:
            found.append(index)
    return tuple(found)


def _masks(count: int) -> str:
    return f"{count} mask{'s' if count > 1 else ''}"
