"""Stability of a mask: how little it changes with the threshold of its logits.

Source: arXiv:2304.02643, section 5 and appendix B.
"""

import cv2
import numpy as np

from samkit.arrays import Logits
from samkit.geometry.coords import CoordMap
from samkit.geometry.resize import PATCH_MARGIN, used_logits

MASK_THRESHOLD = 0.0  # logits above it are inside
STABILITY_OFFSET = 1.0  # as published
# Factors by which small patches are upsampled for the estimate, up to a size that stays fast.
UPSAMPLING = (2, 4)
MAX_UPSAMPLED_PX = 128 * 128


def cut_patch(logits: Logits, coords: CoordMap, offset: float) -> tuple[Logits, tuple[int, int]]:
    """Cut out a mask's logits (L, L) above -offset, with a margin but without padding.

    Returns:
        the patch, and the position (x, y) of its top left corner in the logits.
    """
    used_h, used_w = used_logits(coords)
    loose = logits[:used_h, :used_w] > MASK_THRESHOLD - offset
    x, y, width, height = cv2.boundingRect(loose.view(np.uint8))
    if width == 0:
        return logits[:0, :0], (0, 0)
    left, top = max(0, x - PATCH_MARGIN), max(0, y - PATCH_MARGIN)
    right = min(x + width + PATCH_MARGIN, used_w)
    bottom = min(y + height + PATCH_MARGIN, used_h)
    return logits[top:bottom, left:right], (left, top)


def estimate_stability(patch: Logits, offset: float) -> float:
    """Estimate a mask's `stability_score` at the image's size from a patch of its logits."""
    factor = max((f for f in UPSAMPLING if patch.size * f**2 <= MAX_UPSAMPLED_PX), default=1)
    if factor > 1 and patch.size:
        size = (patch.shape[1] * factor, patch.shape[0] * factor)
        patch = np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return stability_score(patch, offset)


def stability_score(logits: Logits, offset: float) -> float:
    """IoU of the masks cut at +offset and at -offset, which contains the former; 0 if empty."""
    loose = int(np.count_nonzero(logits > MASK_THRESHOLD - offset))
    strict = int(np.count_nonzero(logits > MASK_THRESHOLD + offset))
    return strict / max(loose, 1)
