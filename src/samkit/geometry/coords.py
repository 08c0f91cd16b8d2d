"""The frames of an image and the ways between them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LOGITS_STRIDE = 4  # model space pixels for each position of the mask logits


@dataclass(frozen=True, kw_only=True)
class CoordMap:
    """Where one image lies in each frame.

    - original: pixels of the image, (H, W);
    - model: the image with its longest side resized to `model_size`, in the top left corner of a
      square of that side; the rest is padding;
    - logits: the model space at a quarter of its resolution, in which masks are predicted.

    Coordinates are pixel indices: (0, 0) is the first pixel, wherever in it.
    """

    original_hw: tuple[int, int]
    model_size: int

    def __post_init__(self) -> None:
        if min(self.original_hw) < 1 or self.model_size < 1:
            raise ValueError(f"sizes must be positive; got {self.original_hw}, {self.model_size}")

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Size of the image in the model space: longest side `model_size`, the other at least 1."""
        height, width = self.original_hw
        scale = self.model_size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    @property
    def logits_size(self) -> int:
        """Side of the square in which masks are predicted."""
        return self.model_size // LOGITS_STRIDE

    @property
    def scale_xy(self) -> FloatArray:
        """Model pixels for one original pixel, in x and y (rounded sizes make them differ)."""
        (height, width), (resized_h, resized_w) = self.original_hw, self.resized_hw
        return np.array([resized_w / width, resized_h / height])

    def points_to_model(self, points_xy: npt.ArrayLike) -> FloatArray:
        """Points (..., 2) from the original to the model space."""
        return np.asarray(points_xy, np.float64) * self.scale_xy

    def points_to_original(self, points_xy_model: npt.ArrayLike) -> FloatArray:
        """Points (..., 2) from the model to the original space."""
        return np.asarray(points_xy_model, np.float64) / self.scale_xy

    def boxes_to_model(self, boxes_xyxy: npt.ArrayLike) -> FloatArray:
        """Boxes (..., 4) from the original to the model space."""
        return np.asarray(boxes_xyxy, np.float64) * np.tile(self.scale_xy, 2)

    def boxes_to_original(self, boxes_xyxy_model: npt.ArrayLike) -> FloatArray:
        """Boxes (..., 4) from the model to the original space."""
        return np.asarray(boxes_xyxy_model, np.float64) / np.tile(self.scale_xy, 2)
