"""`SAM2ImagePredictor`: prompts on one image, or on a batch of images.

Shape legend: B prompts, N points, M masks, L side of the mask logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from samkit.backends import enter_process
from samkit.compat.sam2.errors import (
    ImageFormatError,
    MissingLabelsError,
    NoImageError,
    NotABatchError,
    PromptShapeError,
)
from samkit.compat.sam2.loading import build_from_hub
from samkit.compat.sam2.modeling.sam2_base import SAM2Base
from samkit.compat.sam2.utils.transforms import SAM2Transforms
from samkit.compat.segment_anything.predictor import check_image

LOGIT_LIMIT = 32.0  # of the logits that are returned as input for the next prompt
Array: TypeAlias = npt.NDArray[Any]
Answer: TypeAlias = tuple[Array, npt.NDArray[np.float32], npt.NDArray[np.float32]]


class SAM2ImagePredictor:
    """Segments an image: `set_image`, then `predict` as often as needed."""

    def __init__(
        self,
        sam_model: SAM2Base,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,  # noqa: ARG002 - as in the original
    ) -> None:
        """Create a predictor.

        Args:
            sam_model: of `build_sam2`.
            mask_threshold: logits above it are inside.
            max_hole_area: holes of at most so many cells of the logits are filled.
            max_sprinkle_area: regions of at most so many cells are removed.
            kwargs: no effect.
        """
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self._transforms = SAM2Transforms(
            resolution=sam_model.image_size,
            mask_threshold=mask_threshold,
            max_hole_area=max_hole_area,
            max_sprinkle_area=max_sprinkle_area,
            spec=sam_model.image_spec,
        )
        self.reset_predictor()

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """Load a model of the hub, such as "facebook/sam2.1-hiera-tiny"; see `build_sam2_hf`."""
        return cls(build_from_hub(SAM2Base, model_id, **kwargs), **kwargs)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    def reset_predictor(self) -> None:
        """Forget the images."""
        self._is_image_set = False
        self._is_batch = False
        self._features: dict[str, Any] | None = None
        self._orig_hw: list[tuple[int, int]] | None = None

    def set_image(self, image: npt.NDArray[np.uint8] | Image.Image) -> None:
        """Embed an image: uint8 RGB (H, W, 3), or of PIL.

        Raises:
            ImageFormatError: it is none.
        """
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert("RGB"))
        self._set_images([image])

    def set_image_batch(self, image_list: list[npt.NDArray[np.uint8]]) -> None:
        """Embed several images, also of different sizes, for `predict_batch`.

        Raises:
            ImageFormatError: they are no list of images uint8 RGB (H, W, 3).
        """
        if not isinstance(image_list, list) or not image_list:
            raise ImageFormatError(
                f"images must be a list of arrays; got {type(image_list).__name__}"
                f"{' without any' * isinstance(image_list, list)}"
            )
        self._set_images(image_list)
        self._is_batch = True

    @torch.no_grad()
    def _set_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        enter_process()
        for image in images:
            check_image(image)
        self.reset_predictor()
        levels = self.model.encode_images(self._transforms.forward_batch(images).to(self.device))
        self._features = {"image_embed": levels[-1], "high_res_feats": levels[:-1]}
        self._orig_hw = [(image.shape[0], image.shape[1]) for image in images]
        self._is_image_set = True

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        return_logits: bool = False,  # noqa: FBT001, FBT002
        normalize_coords: bool = True,  # noqa: FBT001, FBT002
    ) -> Answer:
        """Answer one prompt on the image, or B prompts with a leading axis.

        Args:
            point_coords: (N, 2) or (B, N, 2), xy in pixels of the image.
            point_labels: (N,) or (B, N): 1 foreground, 0 background.
            box: (4,) or (B, 4), x0 y0 x1 y1 in pixels of the image.
            mask_input: (1, L, L) or (B, 1, L, L), logits of an earlier answer.
            multimask_output: three masks instead of one.
            return_logits: masks as logits instead of 0 and 1.
            normalize_coords: False if coordinates are fractions of the image's sides.

        Returns:
            masks (M, H, W) as float32, predicted IoU (M,), logits (M, L, L); of several prompts
            with a leading B.

        Raises:
            NoImageError: no image is set.
            MissingLabelsError: points without labels.
            PromptShapeError: parts have other shapes, or differ in number.
        """
        prompts = self._prep_prompts(point_coords, point_labels, box, mask_input, normalize_coords)
        return self._as_arrays(prompts, multimask_output, return_logits, -1)

    def predict_batch(
        self,
        point_coords_batch: Sequence[npt.ArrayLike] | None = None,
        point_labels_batch: Sequence[npt.ArrayLike] | None = None,
        box_batch: Sequence[npt.ArrayLike] | None = None,
        mask_input_batch: Sequence[npt.ArrayLike] | None = None,
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        return_logits: bool = False,  # noqa: FBT001, FBT002
        normalize_coords: bool = True,  # noqa: FBT001, FBT002
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Answer prompts on each image of the batch; see `predict`.

        Raises:
            NotABatchError: no batch of images is set.
            MissingLabelsError, PromptShapeError: as in `predict`, or a list has not one item for
                each image.
        """
        if not self._is_batch or self._orig_hw is None:
            raise NotABatchError("no batch of images is set: call set_image_batch([...]) first")
        parts = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        count = len(self._orig_hw)
        for part in parts:
            if part is not None and len(part) != count:
                raise PromptShapeError(
                    f"prompts must be given for each of {count} images; got {len(part)}"
                )
        answers = []
        for index in range(count):
            points, labels, box, mask = (None if part is None else part[index] for part in parts)
            prompts = self._prep_prompts(points, labels, box, mask, normalize_coords, index)
            answers.append(self._as_arrays(prompts, multimask_output, return_logits, index))
        masks, iou, logits = zip(*answers, strict=True)
        return list(masks), list(iou), list(logits)

    def _as_arrays(
        self,
        prompts: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
        multimask_output: bool,  # noqa: FBT001
        return_logits: bool,  # noqa: FBT001
        img_idx: int,
    ) -> Answer:
        mask_input, coords, labels, boxes = prompts
        answer = self._predict(
            coords, labels, boxes, mask_input, multimask_output, return_logits, img_idx
        )
        masks, iou, logits = (part.squeeze(0).float().cpu().numpy() for part in answer)
        return masks, iou, logits

    def _prep_prompts(
        self,
        point_coords: npt.ArrayLike | None,
        point_labels: npt.ArrayLike | None,
        box: npt.ArrayLike | None,
        mask_logits: npt.ArrayLike | None,
        normalize_coords: bool,  # noqa: FBT001
        img_idx: int = -1,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Convert prompts to the model's input: logits, points, labels and corners of boxes."""
        orig_hw = self._sizes()[img_idx]
        points, labels, corners, mask = None, None, None, None
        if point_coords is not None:
            if point_labels is None:
                raise MissingLabelsError("point_coords need point_labels")
            points, labels = self._tensor(point_coords), self._tensor(point_labels).int()
            if points.ndim == 2:
                points, labels = points[None], labels[None]
            if points.ndim != 3 or points.shape[-1] != 2 or labels.shape != points.shape[:2]:
                raise PromptShapeError(
                    "point_coords must be (N, 2) or (B, N, 2), with a label for each point; got"
                    f" {np.shape(point_coords)} and {np.shape(point_labels)}"
                )
            points = self._transforms.transform_coords(points, normalize_coords, orig_hw)
        if box is not None:
            boxes = self._tensor(box)
            if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
                raise PromptShapeError(f"box must be (4,) or (B, 4); got {tuple(boxes.shape)}")
            corners = self._transforms.transform_boxes(boxes, normalize_coords, orig_hw)
        if mask_logits is not None:
            mask = self._tensor(mask_logits)
            mask = mask[None] if mask.ndim == 3 else mask
            side = self.model.image_size // self.model.image_spec.logits_stride
            if mask.ndim != 4 or mask.shape[1:] != (1, side, side):
                raise PromptShapeError(
                    f"mask_input must be (1, {side}, {side}) or (B, 1, {side}, {side}), logits of"
                    f" an earlier answer; got {np.shape(mask_logits)}"
                )
        counts = {len(part) for part in (points, corners, mask) if part is not None}
        if len(counts) > 1:
            raise PromptShapeError(
                f"points, boxes and masks must be for equally many prompts; got {sorted(counts)}"
            )
        return mask, points, labels, corners

    @torch.no_grad()
    def _predict(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,  # noqa: FBT001, FBT002
        return_logits: bool = False,  # noqa: FBT001, FBT002
        img_idx: int = -1,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer B prompts of `_prep_prompts`: masks (B, M, H, W), IoU (B, M), logits."""
        enter_process()
        orig_hw = self._sizes()[img_idx]
        assert self._features is not None
        points = None
        if point_coords is not None and point_labels is not None:
            points = (point_coords, point_labels)
        if boxes is not None:
            boxes = boxes.reshape(-1, 4)
        embed = self._features["image_embed"][img_idx][None]
        finer = [level[img_idx][None] for level in self._features["high_res_feats"]]
        sparse, dense = self.model.sam_prompt_encoder(points=points, boxes=boxes, masks=mask_input)
        logits, iou, _, _ = self.model.sam_mask_decoder(
            image_embeddings=embed,
            image_pe=self.model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
            repeat_image=len(sparse) > 1,
            high_res_features=finer or None,
        )
        masks = self._transforms.postprocess_masks(logits, orig_hw)
        logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        return masks if return_logits else masks > self.mask_threshold, iou, logits

    def get_image_embedding(self) -> Tensor:
        """Features (B, C, h, w) of the image, or of the batch.

        Raises:
            NoImageError: no image is set.
        """
        self._sizes()
        assert self._features is not None
        embed: Tensor = self._features["image_embed"]
        return embed

    def _sizes(self) -> list[tuple[int, int]]:
        if self._orig_hw is None:
            raise NoImageError("no image is set: call set_image(...) first")
        return self._orig_hw

    def _tensor(self, values: npt.ArrayLike | Tensor) -> Tensor:
        return torch.as_tensor(
            values if isinstance(values, Tensor) else np.asarray(values),
            dtype=torch.float32,
            device=self.device,
        )
