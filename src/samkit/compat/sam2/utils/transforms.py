"""`SAM2Transforms`: images and prompts to the model's input, and masks back to the image's size.

Shape legend: S side of the input, L side of the mask logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.formats import read_image
from samkit.geometry import CoordMap
from samkit.image_spec import ImageSpec
from samkit.predict import normalise, resize_image

FAR = 10.0  # how far beyond the threshold filled holes and removed specks are


class SAM2Transforms(nn.Module):
    """Transforms of images, prompts and masks."""

    def __init__(
        self,
        resolution: int,
        mask_threshold: float,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        *,
        spec: ImageSpec | None = None,
    ) -> None:
        """Create transforms.

        Args:
            resolution: side S of the square input.
            mask_threshold: logits above it are inside.
            max_hole_area: holes of at most so many cells of the logits are filled.
            max_sprinkle_area: regions of at most so many cells are removed.
            spec: of another model than a SAM 2.
        """
        super().__init__()
        self.resolution, self.mask_threshold = resolution, mask_threshold
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self.spec = ImageSpec(size=resolution, fit="stretch") if spec is None else spec

    def __call__(self, x: Any) -> Tensor:
        """Resize and normalise an image (H, W, 3) of pixels, or a PIL image: (3, S, S)."""
        image = read_image(x, value_range="full")
        coords = CoordMap.of((image.shape[0], image.shape[1]), self.spec)
        return normalise(resize_image(image, coords), self.spec)[0]

    def forward_batch(self, img_list: Sequence[Any]) -> Tensor:
        """Resize and normalise images, also of different sizes: (B, 3, S, S)."""
        return torch.stack([self(image) for image in img_list])

    def transform_coords(
        self,
        coords: Tensor,
        normalize: bool = False,  # noqa: FBT001, FBT002
        orig_hw: tuple[int, int] | None = None,
    ) -> Tensor:
        """Convert points (..., 2) to the input: of pixels with `normalize`, else of fractions."""
        size_hw = (self.resolution, self.resolution) if orig_hw is None else orig_hw
        spaces = CoordMap.of((int(size_hw[0]), int(size_hw[1])), self.spec)
        resized_h, resized_w = spaces.resized_hw
        scale = spaces.scale_xy if normalize else np.array([resized_w, resized_h])
        return coords * torch.as_tensor(scale, dtype=coords.dtype, device=coords.device)

    def transform_boxes(
        self,
        boxes: Tensor,
        normalize: bool = False,  # noqa: FBT001, FBT002
        orig_hw: tuple[int, int] | None = None,
    ) -> Tensor:
        """Convert boxes (..., 4) to corners (B, 2, 2) in the input; see `transform_coords`."""
        return self.transform_coords(boxes.reshape(-1, 2, 2), normalize, orig_hw)

    def postprocess_masks(self, masks: Tensor, orig_hw: tuple[int, int]) -> Tensor:
        """Resize logits (B, M, L, L) to the image's size (B, M, H, W), without holes and specks."""
        spaces = CoordMap.of((int(orig_hw[0]), int(orig_hw[1])), self.spec)
        masks = masks.float()
        if self.max_hole_area > 0 or self.max_sprinkle_area > 0:
            masks = self._cleaned(masks)
        if self.spec.fit == "pad":
            resized_h, resized_w = spaces.resized_hw
            masks = resized(masks, (self.resolution, self.resolution))[..., :resized_h, :resized_w]
        return resized(masks, spaces.original_hw)

    def _cleaned(self, masks: Tensor) -> Tensor:
        out = masks.clone()
        for one in out.flatten(0, 1):
            inside = (one > self.mask_threshold).cpu().numpy()
            holes = small_regions(~inside, self.max_hole_area)
            specks = small_regions(inside, self.max_sprinkle_area)
            one[torch.from_numpy(holes).to(one.device)] = self.mask_threshold + FAR
            one[torch.from_numpy(specks).to(one.device)] = self.mask_threshold - FAR
        return out


def resized(masks: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resize logits (B, M, h, w) bilinearly."""
    return nn.functional.interpolate(masks, size_hw, mode="bilinear", align_corners=False)


def small_regions(inside: npt.NDArray[np.bool_], most: float) -> npt.NDArray[np.bool_]:
    """The regions (L, L) of at most so many cells, of which diagonal ones are connected."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    is_small = stats[:, cv2.CC_STAT_AREA] <= most
    is_small[0] = False
    return np.asarray(is_small[labels], bool)
