"""`SamPredictor`: prompts on one image at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samkit.backends import enter_process
from samkit.compat.segment_anything.errors import (
    ImageFormatError,
    MissingLabelsError,
    NoImageError,
    PromptShapeError,
)
from samkit.compat.segment_anything.modeling import Sam
from samkit.compat.segment_anything.utils.transforms import ResizeLongestSide
from samkit.errors import PromptError


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Check that an image is an array uint8 (H, W, 3).

    Raises:
        ImageFormatError: it is not.
    """
    if image is None:  # what cv2.imread gives
        raise ImageFormatError("image must be an array; got None: the file was not read")
    if not isinstance(image, np.ndarray):
        raise ImageFormatError(
            f"image must be an array uint8 (H, W, 3); got {type(image).__name__}:"
            ' np.asarray(image.convert("RGB")) makes one of a PIL image'
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageFormatError(f"image must be uint8 (H, W, 3); got {image.dtype} {image.shape}")


def _check_logits(mask_input: npt.NDArray[Any]) -> None:
    """Refuse a mask instead of logits; nothing but zeros is undecided logits.

    Raises:
        PromptError: booleans, or numbers of {0, 1} or {0, 255}.
    """
    most = mask_input.max(initial=0)
    is_binary = most in (1, 255) and bool(np.isin(mask_input, (0, most)).all())
    if mask_input.dtype == np.bool_ or is_binary:
        what = "booleans" if mask_input.dtype == np.bool_ else f"a mask of 0 and {most:g}"
        raise PromptError(
            f"mask_input are logits of an earlier answer; got {what}:"
            " np.where(mask, 12, -12), in the resized image's frame"
        )


class SamPredictor:
    """Segments one image at a time: `set_image`, then `predict` as often as needed."""

    def __init__(self, sam_model: Sam) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(sam_model.image_encoder.img_size)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        """Device of the model."""
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
            ImageFormatError: the image has another type, shape or format.
        """
        if image_format not in {"RGB", "BGR"}:
            raise ImageFormatError(f"image_format must be RGB or BGR; got {image_format!r}")
        check_image(image)
        if image_format != self.model.image_format:
            image = np.ascontiguousarray(image[..., ::-1])
        resized = torch.as_tensor(self.transform.apply_image(image), device=self.device)
        self.set_torch_image(resized.permute(2, 0, 1)[None], image.shape[:2])

    @torch.no_grad()
    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Embed an image (1, 3, h, w) that is already resized, 0..255 RGB.

        Raises:
            ImageFormatError: its longest side is not the model's.
        """
        enter_process()
        side = self.model.image_encoder.img_size
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != side:
            raise ImageFormatError(
                f"image must be (1, 3, h, w) with longest side {side}; got {shape}"
            )
        self.reset_image()
        pixels = self.model.preprocess(transformed_image.to(self.device))
        self.features = self.model.image_encoder(pixels)
        self.input_size = (shape[2], shape[3])
        self.original_size = (int(original_image_size[0]), int(original_image_size[1]))
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
            box: (4,) or (1, 4), x0 y0 x1 y1 in pixels of the image.
            mask_input: (S, S) or (1, S, S) logits of an earlier answer.
            multimask_output: three masks instead of one.
            return_logits: masks as logits instead of booleans.

        Returns:
            masks (M, H, W), predicted IoU (M,), logits (M, S, S).

        Raises:
            NoImageError: no image is set.
            MissingLabelsError: points without labels.
            PromptShapeError: there are several boxes, or points and labels differ in number.
            PromptError: mask_input is a mask: booleans, or numbers of {0, 1} or {0, 255}.
        """
        size_hw = self._original_size()
        points, labels, boxes, mask = None, None, None, None
        if point_coords is not None:
            if point_labels is None:
                raise MissingLabelsError("point_coords need point_labels")
            coords = self.transform.apply_coords(point_coords, size_hw)
            points, labels = self._tensor(coords)[None], self._tensor(point_labels)[None]
        if box is not None:
            corners = self.transform.apply_boxes(box, size_hw)
            if len(corners) != 1:
                raise PromptShapeError(
                    "predict takes one box (4,); got"
                    f" {np.shape(box)}: use predict_torch, or one call for each box"
                )
            boxes = self._tensor(corners)
        if mask_input is not None:
            _check_logits(np.asarray(mask_input))
            mask = self._tensor(mask_input)
            mask = mask[None, None] if mask.ndim == 2 else mask[None]
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
        """Answer B prompts, tensors in pixels of the resized image; B may be 0.

        Args:
            point_coords: (B, N, 2).
            point_labels: (B, N): 1 foreground, 0 background, -1 padding of shorter prompts.
            boxes: (B, 4).
            mask_input: (B, 1, S, S).
            multimask_output: three masks for each prompt instead of one.
            return_logits: masks as logits instead of booleans.

        Returns:
            masks (B, M, H, W), predicted IoU (B, M), logits (B, M, S, S).

        Raises:
            NoImageError: no image is set.
            MissingLabelsError: points without labels.
            PromptShapeError: parts have other shapes, or differ in number.
            PromptError: a part is no tensor.
        """
        enter_process()
        size_hw = self._original_size()
        assert self.features is not None
        assert self.input_size is not None
        for part in (point_coords, point_labels, boxes, mask_input):
            if part is not None and not isinstance(part, Tensor):
                raise PromptError(
                    f"predict_torch takes tensors; got {type(part).__name__}: torch.as_tensor(...)"
                    " makes one, in pixels of the resized image, or use predict for one prompt"
                )
        points = None
        if point_coords is not None:
            if point_labels is None:
                raise MissingLabelsError("point_coords need point_labels")
            points = (point_coords, point_labels)
        sparse, dense = self.model.prompt_encoder(points=points, boxes=boxes, masks=mask_input)
        logits, iou = self.model.mask_decoder(
            image_embeddings=self.features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
        )
        masks = self.model.postprocess_masks(logits, self.input_size, size_hw)
        return masks if return_logits else masks > self.model.mask_threshold, iou, logits

    def get_image_embedding(self) -> Tensor:
        """Features (1, C, h, w) of the image.

        Raises:
            NoImageError: no image is set.
        """
        self._original_size()
        assert self.features is not None
        return self.features

    def _original_size(self) -> tuple[int, int]:
        if self.original_size is None:
            raise NoImageError("no image is set: call set_image(...) first")
        return self.original_size

    def _tensor(self, values: npt.ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)
