"""Coordinate spaces of an image and the conversions between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from samkit.arrays import FloatArray
from samkit.image_spec import Fit, ImageSpec


@dataclass(frozen=True, kw_only=True)
class CoordMap:
    """Where one image lies in each coordinate space.

    - original: pixels of the image, (H, W);
    - model: the resized image in the top left corner of the model's square input; see
      `ImageSpec.fit`;
    - logits: the model space at a `logits_stride`-th of its resolution, in which masks are
      predicted.

    Coordinates are pixel indices: (0, 0) is the first pixel, whether its corner or its centre.

    Attributes:
        original_hw: size of the image.
        model_size: side of the model's square input.
        fit: "pad" or "stretch"; see `ImageSpec`.
        logits_stride: input pixels per mask logit.
    """

    original_hw: tuple[int, int]
    model_size: int
    fit: Fit = "pad"
    logits_stride: int = 4

    def __post_init__(self) -> None:
        if min(self.original_hw) < 1 or self.model_size < 1:
            raise ValueError(f"sizes must be positive; got {self.original_hw}, {self.model_size}")

    @classmethod
    def of(cls, original_hw: tuple[int, int], spec: ImageSpec) -> CoordMap:
        """The coordinate spaces of an image of this size, for a model's input."""
        return cls(
            original_hw=original_hw,
            model_size=spec.size,
            fit=spec.fit,
            logits_stride=spec.logits_stride,
        )

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Image size in the model space; each side is at least 1."""
        if self.fit == "stretch":
            return self.model_size, self.model_size
        height, width = self.original_hw
        scale = self.model_size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    @property
    def logits_size(self) -> int:
        """Side of the square in which masks are predicted."""
        return self.model_size // self.logits_stride

    @property
    def scale_xy(self) -> FloatArray:
        """Model pixels per original pixel in x and y, which differ because sizes are rounded."""
        (height, width), (resized_h, resized_w) = self.original_hw, self.resized_hw
        return np.array([resized_w / width, resized_h / height])

    def points_to_model(self, points_xy: npt.ArrayLike) -> FloatArray:
        """Convert points (..., 2) from the original to the model space."""
        return np.asarray(points_xy, np.float64) * self.scale_xy

    def boxes_to_model(self, boxes_xyxy: npt.ArrayLike) -> FloatArray:
        """Convert boxes (..., 4) from the original to the model space."""
        return np.asarray(boxes_xyxy, np.float64) * np.tile(self.scale_xy, 2)
