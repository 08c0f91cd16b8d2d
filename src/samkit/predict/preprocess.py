"""Preprocessing of images for the image encoder, exactly as in SAM's training."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec


def resize_image(image: npt.NDArray[np.uint8], coords: CoordMap) -> npt.NDArray[np.uint8]:
    """Resize an image (H, W, 3) to the model space with Pillow's antialiased bilinear filter."""
    height, width = coords.resized_hw
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalise(resized: npt.NDArray[np.uint8], spec: ImageSpec) -> Tensor:
    """Normalise a resized image (h, w, 3), then pad with zeros: pixels (1, 3, S, S)."""
    height, width = resized.shape[:2]
    pixels = torch.zeros(1, 3, spec.size, spec.size)
    image = torch.from_numpy(resized.copy()).permute(2, 0, 1).float()
    mean = torch.tensor(spec.mean)[:, None, None]
    std = torch.tensor(spec.std)[:, None, None]
    pixels[0, :, :height, :width] = (image - mean) / std
    return pixels
