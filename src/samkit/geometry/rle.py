"""COCO's compressed run-length code of masks, by pycocotools."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask


class Rle(TypedDict):
    """A mask as COCO stores it in JSON: size [H, W] and compressed counts."""

    size: list[int]
    counts: str


def encode_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """Mask (H, W) to a run-length code."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def decode_rle(rle: Rle) -> npt.NDArray[np.bool_]:
    """Run-length code to mask (H, W)."""
    mask: npt.NDArray[np.bool_] = coco_mask.decode(rle).astype(bool)
    return mask
