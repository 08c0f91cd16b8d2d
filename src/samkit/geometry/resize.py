"""From the logits' frame to the photo's."""

import cv2
import numpy as np
import numpy.typing as npt

from samkit.geometry.coords import CoordMap

Logits = npt.NDArray[np.float32]


def logits_to_original(logits: Logits, coords: CoordMap) -> Logits:
    """Upsample mask logits to the photo's size, as SAM was evaluated.

    Bilinear to the model frame, padding cut off, bilinear to the original size.

    Args:
        logits: (S / 4, S / 4) of one mask.
        coords: the photo's frames.

    Returns:
        logits (H, W).
    """
    side = coords.model_size
    resized_h, resized_w = coords.resized_hw
    height, width = coords.original_hw
    model = cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)
    photo = np.ascontiguousarray(model[:resized_h, :resized_w])
    original = cv2.resize(photo, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(original, np.float32)
