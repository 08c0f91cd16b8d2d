"""All masks of an image in one picture of numbers."""

import numpy as np
import numpy.typing as npt

from samkit.errors import FormatError
from samkit.geometry.rle import decode_rle_patch
from samkit.types import Masks

MOST_LABELS = 2**16 - 1  # what 16 bits tell apart, besides the background


def label_map(masks: Masks) -> npt.NDArray[np.uint16]:
    """Number of the mask at each pixel (H, W): 0 where there is none, mask i of the list is i + 1.

    Smaller masks lie over larger ones; of two of the same size the later one.

    Raises:
        FormatError: more masks than 16 bits can number.
    """
    if len(masks) > MOST_LABELS:
        raise FormatError(f"a label picture holds at most {MOST_LABELS} masks; got {len(masks)}")
    labels = np.zeros(masks.size_hw, np.uint16)
    for index in np.argsort(-masks.areas, kind="stable"):
        x0, y0, x1, y1 = masks.boxes_xyxy[index]
        patch = decode_rle_patch(masks.rles[index], masks.boxes_xyxy[index])
        labels[y0:y1, x0:x1][patch] = index + 1
    return labels
