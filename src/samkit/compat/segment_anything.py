"""The names of Meta's `segment_anything`, for programs that were written for it.

Change `from segment_anything import ...` to `from samkit.compat.segment_anything import ...`.

Differences: `sam_model_registry["vit_t"]` is MobileSAM, and without a checkpoint it is the embedded
one; checkpoints may be any file that `samkit.weights` reads; bad input raises samkit's errors, of
one line.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samkit.compat.automatic_mask_generator import SamAutomaticMaskGenerator
from samkit.errors import ImageError, PromptError
from samkit.geometry import CoordMap
from samkit.models import CONFIGS, ImageFeatures, PromptTensors
from samkit.models import Sam as Network
from samkit.predict import normalise, resize_image
from samkit.types import MASK_THRESHOLD
from samkit.weights.load import load_model

__all__ = [
    "ResizeLongestSide",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "sam_model_registry",
]


class Sam(Network):
    """The network with the attributes and methods that programs use of the original's."""

    mask_threshold: float = MASK_THRESHOLD
    image_format: str = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    @classmethod
    def adopt(cls, network: Network) -> "Sam":
        """Give a loaded network this class's methods; the weights are shared."""
        with torch.device("meta"):
            sam = cls(network.config)
        sam.load_state_dict(network.state_dict(), assign=True)
        for name, value in (
            ("pixel_mean", network.image_spec.mean),
            ("pixel_std", network.image_spec.std),
        ):
            buffer = torch.tensor(value).view(-1, 1, 1)
            sam.register_buffer(name, buffer, persistent=False)
        sam.image_encoder.img_size = network.config.image_size  # type: ignore[assignment]
        return sam.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise resized pixels (..., 3, h, w), 0..255 RGB, and pad them to the square."""
        x = (x - self.pixel_mean) / self.pixel_std
        side = self.config.image_size
        return nn.functional.pad(x, (0, side - x.shape[-1], 0, side - x.shape[-2]))

    def postprocess_masks(
        self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]
    ) -> Tensor:
        """Low-resolution logits (B, M, h, w) to logits at the image's size (B, M, H, W)."""
        side = self.config.image_size
        masks = _upsample(masks, (side, side))[..., : input_size[0], : input_size[1]]
        return _upsample(masks, original_size)

    @torch.no_grad()
    def forward(
        self,
        batched_input: list[dict[str, Any]],
        multimask_output: bool,  # noqa: FBT001
    ) -> list[dict[str, Tensor]]:
        """Answer prompts on several images.

        Args:
            batched_input: for each image a dictionary of "image" (3, h, w), resized;
                "original_size" (H, W); and, in the resized space, any of "point_coords" (B, N, 2)
                with "point_labels" (B, N), "boxes" (B, 4), "mask_inputs" (B, 1, S, S).
            multimask_output: three masks a prompt instead of one.

        Returns:
            for each image "masks" (B, M, H, W), "iou_predictions" (B, M), "low_res_logits".
        """
        pixels = torch.cat([self.preprocess(one["image"])[None] for one in batched_input])
        answers = []
        features = self.encode(pixels)
        for number, one in enumerate(batched_input):
            prompts = PromptTensors(
                points_xy=one.get("point_coords"),
                labels=one.get("point_labels"),
                boxes_xyxy=one.get("boxes"),
                mask_logits=one.get("mask_inputs"),
            )
            own = features.rows(slice(number, number + 1))
            logits, iou = self.decode(own, prompts, multimask=multimask_output)
            size = (one["image"].shape[-2], one["image"].shape[-1])
            full = self.postprocess_masks(logits, size, one["original_size"])
            masks = full > self.mask_threshold
            answers.append({"masks": masks, "iou_predictions": iou, "low_res_logits": logits})
        return answers


def _upsample(masks: Tensor, size_hw: tuple[int, ...]) -> Tensor:
    return nn.functional.interpolate(masks, size_hw, mode="bilinear", align_corners=False)


def _build(name: str, checkpoint: str | os.PathLike[str] | None = None) -> Sam:
    """Build a model from a checkpoint; without one, embedded weights or else random ones."""
    if checkpoint is not None:
        return Sam.adopt(load_model(checkpoint, name=name).model)
    if name == "mobile_sam":
        return Sam.adopt(load_model(name).model)
    return Sam.adopt(Network(CONFIGS[name]))


build_sam_vit_h = partial(_build, "sam_vit_h")
build_sam_vit_l = partial(_build, "sam_vit_l")
build_sam_vit_b = partial(_build, "sam_vit_b")
build_sam_vit_t = partial(_build, "mobile_sam")
build_sam = build_sam_vit_h

sam_model_registry: dict[str, Callable[..., Sam]] = {
    "default": build_sam_vit_h,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "vit_t": build_sam_vit_t,
}


class ResizeLongestSide:
    """Bring images and coordinates into the frame whose longest side is `target_length`."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize an image (H, W, 3)."""
        return np.array(resize_image(image, self._map(image.shape[:2])))

    def apply_coords(
        self, coords: npt.ArrayLike, original_size: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        """Points (..., 2) of an image of `original_size` (H, W) into the resized space."""
        return self._map(original_size).points_to_model(coords)

    def apply_boxes(
        self, boxes: npt.ArrayLike, original_size: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        """Boxes (B, 4) of an image of `original_size` (H, W) into the resized space."""
        return self._map(original_size).boxes_to_model(boxes).reshape(-1, 4)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Tensors of points (..., 2); see `apply_coords`."""
        scale = torch.as_tensor(self._map(original_size).scale_xy, dtype=torch.float32)
        return coords.float() * scale.to(coords.device)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Tensors of boxes (B, 4); see `apply_boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Size (h, w) of an image (oldh, oldw) whose longest side becomes `long_side_length`."""
        return CoordMap(original_hw=(oldh, oldw), model_size=long_side_length).resized_hw

    def _map(self, size_hw: tuple[int, ...]) -> CoordMap:
        return CoordMap(original_hw=(size_hw[0], size_hw[1]), model_size=self.target_length)


class SamPredictor:
    """Segment one image at a time: `set_image`, then `predict` as often as needed."""

    def __init__(self, sam_model: Sam) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(sam_model.config.image_size)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    def reset_image(self) -> None:
        """Forget the image."""
        self.is_image_set = False
        self.features: Tensor | None = None
        self.original_size: tuple[int, int] | None = None
        self.input_size: tuple[int, int] | None = None

    def set_image(self, image: npt.NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Embed an image, uint8 (H, W, 3), whose channels are "RGB" or "BGR".

        Raises:
            ImageError: another type, shape or format.
        """
        if image_format not in {"RGB", "BGR"}:
            raise ImageError(f"image_format must be RGB or BGR; got {image_format!r}")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"image must be uint8 (H, W, 3); got {image.dtype} {image.shape}")
        if image_format != self.model.image_format:
            image = np.ascontiguousarray(image[..., ::-1])
        resized = self.transform.apply_image(image)
        pixels = normalise(resized, self.model.image_spec)
        size_hw = (image.shape[0], image.shape[1])
        self._embed(pixels, (resized.shape[0], resized.shape[1]), size_hw)

    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Embed an image (1, 3, h, w) that is resized already, 0..255 RGB.

        Raises:
            ImageError: its longest side is not the model's.
        """
        side = self.model.config.image_size
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != side:
            raise ImageError(f"image must be (1, 3, h, w) with longest side {side}; got {shape}")
        pixels = self.model.preprocess(transformed_image.to(self.device))
        size_hw = (original_image_size[0], original_image_size[1])
        self._embed(pixels, (shape[2], shape[3]), size_hw)

    @torch.no_grad()
    def _embed(
        self, pixels: Tensor, input_size: tuple[int, int], original_size: tuple[int, int]
    ) -> None:
        self.reset_image()
        self.features = self.model.encode(pixels.to(self.device)).grid
        self.input_size, self.original_size = input_size, original_size
        self.is_image_set = True

    def predict(
        self,
        point_coords: npt.NDArray[Any] | None = None,
        point_labels: npt.NDArray[Any] | None = None,
        box: npt.NDArray[Any] | None = None,
        mask_input: npt.NDArray[Any] | None = None,
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        return_logits: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Answer one prompt on the image.

        Args:
            point_coords: (N, 2), xy in pixels of the image.
            point_labels: (N,): 1 foreground, 0 background.
            box: (4,), x0 y0 x1 y1 in pixels of the image.
            mask_input: (1, S, S) logits of an earlier answer.
            multimask_output: three masks instead of one.
            return_logits: masks as logits instead of booleans.

        Returns:
            masks (M, H, W), predicted IoU (M,), logits (M, S, S).

        Raises:
            PromptError: no image is set, or points have no labels.
        """
        size_hw = self._original_size()
        points, labels, boxes, mask = None, None, None, None
        if point_coords is not None:
            if point_labels is None:
                raise PromptError("point_coords need point_labels")
            coords = self.transform.apply_coords(point_coords, size_hw)
            points = torch.as_tensor(coords, dtype=torch.float32, device=self.device)[None]
            labels = torch.as_tensor(np.asarray(point_labels), dtype=torch.int, device=self.device)
            labels = labels[None]
        if box is not None:
            corners = self.transform.apply_boxes(box, size_hw)
            boxes = torch.as_tensor(corners, dtype=torch.float32, device=self.device)
        if mask_input is not None:
            mask = torch.as_tensor(mask_input, dtype=torch.float32, device=self.device)[None]
        masks, iou, logits = self.predict_torch(
            points, labels, boxes, mask, multimask_output, return_logits=return_logits
        )
        return masks[0].cpu().numpy(), iou[0].cpu().numpy(), logits[0].cpu().numpy()

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        return_logits: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer B prompts, tensors in the resized space; see `predict`.

        Args:
            point_coords: (B, N, 2).
            point_labels: (B, N), where -1 pads prompts of fewer points.
            boxes: (B, 4).
            mask_input: (B, 1, S, S).
            multimask_output: three masks a prompt instead of one.
            return_logits: masks as logits instead of booleans.

        Returns:
            masks (B, M, H, W), predicted IoU (B, M), logits (B, M, S, S).
        """
        size_hw = self._original_size()
        assert self.features is not None
        assert self.input_size is not None
        prompts = PromptTensors(
            points_xy=point_coords, labels=point_labels, boxes_xyxy=boxes, mask_logits=mask_input
        )
        features = ImageFeatures((self.features,))
        logits, iou = self.model.decode(features, prompts, multimask=multimask_output)
        masks = self.model.postprocess_masks(logits, self.input_size, size_hw)
        return masks if return_logits else masks > self.model.mask_threshold, iou, logits

    def get_image_embedding(self) -> Tensor:
        """Features (1, C, G, G) of the image."""
        self._original_size()
        assert self.features is not None
        return self.features

    def _original_size(self) -> tuple[int, int]:
        if self.original_size is None:
            raise PromptError("no image is set: call set_image(...) first")
        return self.original_size
