"""Square crops around masks, as input for CLIP.

Source: arXiv:2304.02643, appendix D.5. Deviations: pixels outside the image are black.
"""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit.arrays import RgbImage

# In training: the square's side is 1 to 2 times the box's longer side, and the surroundings of the
# mask are black half of the time.
GROWTH = (1.0, 2.0)
ALONE_CHANCE = 0.5


def square_around(box_xyxy: npt.NDArray[np.int64], growth: float) -> tuple[int, int, int]:
    """Square at a box's centre with `growth` times its longer side: x0, y0, side in pixels."""
    x0, y0, x1, y1 = (float(edge) for edge in box_xyxy)
    side = max(1, round(growth * max(x1 - x0, y1 - y0)))
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side


def cut_crop(
    image: RgbImage,
    patch: npt.NDArray[np.bool_],
    box_xyxy: npt.NDArray[np.int64],
    *,
    growth: float,
    alone: bool,
    size: int,
) -> RgbImage:
    """Cut a square crop around a mask out of an image.

    Args:
        image: uint8 RGB (H, W, 3).
        patch: the mask within its box (h, w).
        box_xyxy: the mask's tight box.
        growth: side of the square as a multiple of the box's longer side.
        alone: black out everything but the mask.
        size: side of the crop in pixels.

    Returns:
        uint8 RGB (size, size, 3).
    """
    x0, y0, side = square_around(box_xyxy, growth)
    height, width = image.shape[:2]
    crop = np.zeros((side, side, 3), np.uint8)
    left, top = max(0, x0), max(0, y0)
    right, bottom = min(width, x0 + side), min(height, y0 + side)
    if alone:
        left, top = max(left, int(box_xyxy[0])), max(top, int(box_xyxy[1]))
        right, bottom = min(right, int(box_xyxy[2])), min(bottom, int(box_xyxy[3]))
    seen = image[top:bottom, left:right]
    if alone:
        bx, by = int(box_xyxy[0]), int(box_xyxy[1])
        inside = patch[top - by : bottom - by, left - bx : right - bx]
        seen = np.where(inside[..., None], seen, 0)
    crop[top - y0 : bottom - y0, left - x0 : right - x0] = seen
    if side == size:
        return crop
    shrunk = Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(shrunk, np.uint8)


def draw_crop(
    rng: np.random.Generator, image: RgbImage, mask: npt.NDArray[np.bool_], size: int
) -> RgbImage:
    """Random training crop (size, size, 3) of a nonempty mask (H, W)."""
    patch, box_xyxy = mask_patch(mask)
    growth, alone = rng.uniform(*GROWTH), bool(rng.uniform() < ALONE_CHANCE)
    return cut_crop(image, patch, box_xyxy, growth=growth, alone=alone, size=size)


def mask_patch(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The part of a nonempty mask (H, W) within its tight box, and the box."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return mask[y : y + height, x : x + width], np.array([x, y, x + width, y + height])
