"""Which masks of an image are trained on."""

from collections.abc import Sequence

import numpy as np

from samkit.geometry import Rle
from samkit.geometry.rle import rle_area


def usable_masks(
    rles: Sequence[Rle],
    size_hw: tuple[int, int],
    *,
    min_area_px: int,
    max_area_fraction: float,
) -> list[int]:
    """Numbers of the masks that are neither empty, too small nor almost the whole image.

    Args:
        rles: masks of one image.
        size_hw: of the image.
        min_area_px: masks of fewer pixels of the image are left out.
        max_area_fraction: masks of a larger part of it are left out.

    Source: arXiv:2304.02643, appendix A: masks over 90% of the image are dropped.
    """
    # One by one: pycocotools 2.0.11 under NumPy 2 fails on lists of more than 255.
    areas = np.array([rle_area(rle) for rle in rles], np.int64)
    most = max_area_fraction * size_hw[0] * size_hw[1]
    usable: list[int] = np.flatnonzero((areas >= max(1, min_area_px)) & (areas <= most)).tolist()
    return usable
