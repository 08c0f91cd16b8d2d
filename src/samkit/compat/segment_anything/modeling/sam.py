"""The full network under the original's names."""

from typing import Any

import torch
from torch import Tensor, nn

from samkit.compat.segment_anything.modeling.mask_decoder import MaskDecoder
from samkit.compat.segment_anything.modeling.prompt_encoder import PromptEncoder
from samkit.geometry import MASK_THRESHOLD
from samkit.image_spec import ImageSpec
from samkit.models import SamConfig

IMAGE_SPEC = ImageSpec()


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder.

    Attributes:
        config: samkit's configuration of the network; None for one that was assembled by hand.
    """

    mask_threshold: float = MASK_THRESHOLD
    image_format: str = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        pixel_mean: list[float] | tuple[float, ...] = IMAGE_SPEC.mean,
        pixel_std: list[float] | tuple[float, ...] = IMAGE_SPEC.std,
    ) -> None:
        """Assemble a model.

        Args:
            image_encoder: normalised pixels (B, 3, S, S) to features; its `img_size` is S.
            prompt_encoder: prompts to embeddings.
            mask_decoder: features and embeddings to masks.
            pixel_mean: mean of each channel, on 0..255.
            pixel_std: std of each channel.
        """
        super().__init__()
        self.config: SamConfig | None = None
        self.image_encoder: Any = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        for name, value in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(value).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.pixel_mean.device

    @torch.no_grad()
    def forward(
        self,
        batched_input: list[dict[str, Any]],
        multimask_output: bool,  # noqa: FBT001
    ) -> list[dict[str, Tensor]]:
        """Answer prompts on several images.

        Args:
            batched_input: for each image a dictionary of "image" (3, h, w), resized;
                "original_size" (H, W); and, in pixels of the resized image, any of "point_coords"
                (B, N, 2) with "point_labels" (B, N), "boxes" (B, 4), "mask_inputs" (B, 1, S, S).
            multimask_output: three masks for each prompt instead of one.

        Returns:
            for each image "masks" (B, M, H, W), "iou_predictions" (B, M), "low_res_logits".

        Raises:
            PromptShapeError, MissingLabelsError: see `PromptEncoder.forward`.
        """
        pixels = torch.stack([self.preprocess(one["image"]) for one in batched_input])
        answers = []
        for features, one in zip(self.image_encoder(pixels), batched_input, strict=True):
            points = None
            if "point_coords" in one:
                points = (one["point_coords"], one.get("point_labels"))
            sparse, dense = self.prompt_encoder(
                points=points, boxes=one.get("boxes"), masks=one.get("mask_inputs")
            )
            logits, iou = self.mask_decoder(
                image_embeddings=features[None],
                image_pe=self.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask_output,
            )
            full = self.postprocess_masks(logits, one["image"].shape[-2:], one["original_size"])
            answers.append(
                {
                    "masks": full > self.mask_threshold,
                    "iou_predictions": iou,
                    "low_res_logits": logits,
                }
            )
        return answers

    def postprocess_masks(
        self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]
    ) -> Tensor:
        """Upsample mask logits to the size of the original image.

        Args:
            masks: (B, M, h, w), from the mask decoder.
            input_size: (H, W) of the resized image, without padding.
            original_size: (H, W) of the original image.

        Returns:
            logits (B, M, H, W).
        """
        side = self.image_encoder.img_size
        masks = _upsample(masks, (side, side))[..., : input_size[0], : input_size[1]]
        return _upsample(masks, original_size)

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise resized pixels (..., 3, h, w), 0..255, and pad them to a square."""
        x = (x - self.pixel_mean) / self.pixel_std
        side = self.image_encoder.img_size
        return nn.functional.pad(x, (0, side - x.shape[-1], 0, side - x.shape[-2]))


def _upsample(masks: Tensor, size_hw: tuple[int, ...]) -> Tensor:
    return nn.functional.interpolate(
        masks, (int(size_hw[0]), int(size_hw[1])), mode="bilinear", align_corners=False
    )
