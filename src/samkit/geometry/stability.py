"""Stability of a mask: how little it depends on the threshold of its logits.

Source: arXiv:2304.02643, section 5 and appendix B.
"""

import cv2
import numpy as np
import numpy.typing as npt

from samkit.geometry.coords import CoordMap
from samkit.geometry.resize import PATCH_MARGIN, used_logits

Logits = npt.NDArray[np.float32]

MASK_THRESHOLD = 0.0  # logits above it are inside
STABILITY_OFFSET = 1.0  # the published one
# Small patches are made finer for the estimate, as long as that is quick.
FINER = (2, 4)
MAX_FINE_PX = 128 * 128


def cut_patch(logits: Logits, coords: CoordMap, offset: float) -> tuple[Logits, tuple[int, int]]:
    """Cut the part of a mask's logits (L, L) around those above -offset, without padding.

    Returns:
        the patch, and the place of its top left corner in the logits, x and y.
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
    """Estimate the `stability_score` of a mask at the image's size from a patch of its logits."""
    factor = max((f for f in FINER if patch.size * f**2 <= MAX_FINE_PX), default=1)
    if factor > 1 and patch.size:
        size = (patch.shape[1] * factor, patch.shape[0] * factor)
        patch = np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return stability_score(patch, offset)


def stability_score(logits: Logits, offset: float) -> float:
    """IoU of the mask cut at +offset with that cut at -offset, which contains it; 0 if empty."""
    loose = int(np.count_nonzero(logits > MASK_THRESHOLD - offset))
    strict = int(np.count_nonzero(logits > MASK_THRESHOLD + offset))
    return strict / max(loose, 1)
