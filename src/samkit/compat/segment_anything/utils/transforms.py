"""Resizing of images and coordinates to the model's longest side."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.geometry import CoordMap
from samkit.predict import resize_image


class ResizeLongestSide:
    """Resizes images, and coordinates with them, to a longest side of `target_length`."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize a uint8 image (H, W, 3) as in SAM's training: bilinear, antialiased."""
        return np.array(resize_image(image, self._map(image.shape[:2])))

    def apply_coords(
        self, coords: npt.ArrayLike, original_size: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        """Scale points (..., 2) of an image of `original_size` (H, W)."""
        return self._map(original_size).points_to_model(coords)

    def apply_boxes(
        self, boxes: npt.ArrayLike, original_size: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        """Scale boxes (B, 4), x0 y0 x1 y1, of an image of `original_size` (H, W)."""
        return self._map(original_size).boxes_to_model(boxes).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize images (B, C, H, W) on their device: bilinear, antialiased.

        Equal to `apply_image` except for rounding to integers.
        """
        height, width = image.shape[-2:]
        size = self.get_preprocess_shape(height, width, self.target_length)
        return nn.functional.interpolate(
            image if image.is_floating_point() else image.float(),
            size,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Scale points (..., 2), float32 on their device; see `apply_coords`."""
        scale = torch.as_tensor(self._map(original_size).scale_xy, dtype=torch.float32)
        return coords.float() * scale.to(coords.device)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Scale boxes (B, 4), float32 on their device; see `apply_boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Size (h, w) of an image (oldh, oldw) whose longest side becomes `long_side_length`."""
        return CoordMap(original_hw=(oldh, oldw), model_size=long_side_length).resized_hw

    def _map(self, size_hw: tuple[int, ...]) -> CoordMap:
        return CoordMap(
            original_hw=(int(size_hw[0]), int(size_hw[1])), model_size=self.target_length
        )
