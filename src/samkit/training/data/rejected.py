"""Masks that people rejected, as prompts to which no answer is right.

Images are finished: where a rejected mask was, and people made no other one, there is nothing that
they want. So a click there should be answered with a low predicted IoU: the IoU of the answer with
the mask that people made in place of the rejected one, or 0 if they made none. Masks that were
corrected a little are no such prompts, since a click on them asks for the corrected mask.

Shape legend: J rejected masks, T side of the target space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from samkit.arrays import BoolArray
from samkit.geometry import Rle, rle_area, subtract_rle
from samkit.training.data.placement import Placement, place_mask

# Of a rejected mask, the part that must be in no mask that people made.
LEAST_UNWANTED = 0.5


class Rejected(NamedTuple):
    """Rejected masks of an image.

    Attributes:
        regions: (J, T, T) bool, where a click asks for nothing that people made; never empty.
        truths: (J, T, T) bool, the masks that people made in their place; empty without one.
    """

    regions: Tensor
    truths: Tensor


def place_rejected(
    rejected: Sequence[Rle],
    made: Sequence[Rle],
    placement: Placement,
    truth_size: int,
    ignored: BoolArray,
    *,
    rng: np.random.Generator,
    most: int,
) -> Rejected | None:
    """Transform rejected masks to the target space.

    Args:
        rejected: masks of the image that people rejected.
        made: masks of the image that people made.
        placement: placement of the image.
        truth_size: side T of the target space in cells.
        ignored: (T, T) cells that do not count.
        rng: random generator, which draws those that are taken.
        most: limit of their number.

    Returns:
        the masks; None if none can be used.
    """
    regions: list[BoolArray] = []
    truths: list[BoolArray] = []
    for index in rng.permutation(len(rejected)).tolist():
        if len(regions) == most:
            break
        region, place = unwanted_region(rejected[index], made)
        if region is None or (cells := place_mask(region, placement, truth_size)) is None:
            continue
        cells &= ~ignored
        truth = None if place is None else place_mask(made[place], placement, truth_size)
        if cells.any():
            regions.append(cells)
            truths.append(np.zeros_like(cells) if truth is None else truth & ~ignored)
    if not regions:
        return None
    return Rejected(torch.from_numpy(np.stack(regions)), torch.from_numpy(np.stack(truths)))


def unwanted_region(rejected: Rle, made: Sequence[Rle]) -> tuple[Rle | None, int | None]:
    """The part of a rejected mask that is in no mask that people made.

    Returns:
        the part, None if it is too small; and the index of the mask with the highest IoU, None if
        none overlaps.
    """
    region, area = rejected, rle_area(rejected)
    best, place = 0.0, None
    for index, rle in enumerate(made):
        shared = rle_area(coco_mask.merge([rejected, rle], intersect=True))
        if not shared:
            continue
        region = subtract_rle(region, rle)
        iou = shared / (area + rle_area(rle) - shared)
        if iou > best:
            best, place = iou, index
    if rle_area(region) < max(1.0, LEAST_UNWANTED * area):
        return None, place
    return region, place
