"""Ground truth: the choice of masks to measure, and the IoU of masks.

Void pixels, which have no ground truth, are taken out of true and predicted masks alike. So they
count in no IoU and are in no error region, and the robot never clicks there: its distances are to
the nearest pixel outside of an error region, void or not.

Source: arXiv:2102.06583 (RITM), whose published numbers leave out the unlabelled band of GrabCut.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.checks import check_number
from samkit.datasets import Sample
from samkit.geometry import (
    MASK_THRESHOLD,
    CoordMap,
    Rle,
    decode_rle,
    logits_to_original,
    rle_area,
)

MAX_COUNT = 2**31 - 1
# The smallest part that SAM's own data engine leaves in a mask. Source: arXiv:2304.02643, B.
MIN_AREA_PX = 100


@dataclass(frozen=True, kw_only=True)
class MaskChoice:
    """Random choice of the masks of an image to measure, where measuring all would take too long.

    The choice depends only on the seed, the image's key and each mask's index: it is the same on
    all machines, and a larger choice contains every smaller one.

    Attributes:
        masks_per_image: maximum number of masks; None for all.
        min_area_px: masks with fewer pixels, not counting void ones, are left out.
        seed: another seed gives another choice.
    """

    masks_per_image: int | None = 10
    min_area_px: int = MIN_AREA_PX
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks_per_image is not None:
            check_number("masks_per_image", self.masks_per_image, int, 1, MAX_COUNT)
        check_number("min_area_px", self.min_area_px, int, 1, MAX_COUNT)
        check_number("seed", self.seed, int, 0, MAX_COUNT)

    def differences(self) -> tuple[str, ...]:
        """How the choice differs from all masks, which published protocols measure."""
        parts = []
        if self.masks_per_image is not None:
            parts.append(f"up to {self.masks_per_image} masks an image")
        if self.min_area_px > 1:
            parts.append(f"masks of at least {self.min_area_px} px")
        return tuple(parts)

    def choose(self, sample: Sample) -> list[int]:
        """Indices of the chosen masks, ascending."""
        areas = [rle_area(rle) for rle in sample.without_void(sample.rles)]
        large = [number for number, area in enumerate(areas) if area >= self.min_area_px]
        drawn = sorted(large, key=lambda number: self._lot(sample.key, number))
        return sorted(drawn[: self.masks_per_image])

    def masks(self, sample: Sample) -> list[BoolArray]:
        """The chosen masks, each (H, W), without void pixels."""
        rles = sample.without_void(sample.rles)
        return [decode_rle(rles[number]) for number in self.choose(sample)]

    def _lot(self, key: str, number: int) -> bytes:
        return hashlib.sha256(f"{self.seed}/{number}/{key}".encode()).digest()


def area_fractions(masks: Sequence[BoolArray]) -> list[float]:
    """The fraction of the image that each mask (H, W) covers."""
    return [int(np.count_nonzero(mask)) / mask.size for mask in masks]


def mask_iou(one: BoolArray, other: BoolArray) -> float:
    """Intersection over union of two masks (H, W); 1 if both are empty."""
    shared = int(np.count_nonzero(one & other))
    union = int(np.count_nonzero(one)) + int(np.count_nonzero(other)) - shared
    return shared / union if union else 1.0


def image_mask(
    logits: npt.NDArray[np.float32], coords: CoordMap, void: BoolArray | None = None
) -> BoolArray:
    """Upsample logits (S, S) to a mask (H, W) of the image's size, without void pixels (H, W)."""
    mask: BoolArray = logits_to_original(logits, coords) > MASK_THRESHOLD
    return mask if void is None else mask & ~void


def find_known(found: Sequence[Rle], sample: Sample) -> tuple[list[int], list[Rle]]:
    """Found masks less void pixels, indices and RLEs; those of void pixels alone are left out."""
    rles = sample.without_void(found)
    is_void = [
        rle_area(old) > 0 and rle_area(new) == 0 for old, new in zip(found, rles, strict=True)
    ]
    numbers = [number for number, void in enumerate(is_void) if not void]
    return numbers, [rles[number] for number in numbers]


def void_mask(sample: Sample) -> BoolArray | None:
    """The void pixels (H, W) of an image; None if there are none."""
    return None if sample.void is None else decode_rle(sample.void)
