"""From a photo to what the image encoder sees, exactly as SAM was trained."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from samkit.geometry import CoordMap

# Means and deviations of ImageNet's channels, on 0..255 RGB. arXiv:2304.02643, appendix A.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def resize_photo(image: npt.NDArray[np.uint8], coords: CoordMap) -> npt.NDArray[np.uint8]:
    """Resize a photo (H, W, 3) into the model frame: bilinear, antialiased, as Pillow does it."""
    height, width = coords.resized_hw
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalise(resized: npt.NDArray[np.uint8], model_size: int) -> Tensor:
    """Normalise a resized photo (h, w, 3), then pad with zeros: pixels (1, 3, S, S)."""
    height, width = resized.shape[:2]
    pixels = torch.zeros(1, 3, model_size, model_size)
    photo = torch.from_numpy(resized.copy()).permute(2, 0, 1).float()
    mean = torch.tensor(PIXEL_MEAN)[:, None, None]
    std = torch.tensor(PIXEL_STD)[:, None, None]
    pixels[0, :, :height, :width] = (photo - mean) / std
    return pixels
