"""The two graphs of an exported model, in the layout that programs around SAM's ONNX files know.

Source: the names, shapes and meaning of inputs and outputs are those of the ONNX decoder that was
published with SAM (arXiv:2304.02643). Deviations: several prompts on one image may be given at
once, on the first axis of points and masks.
Shape legend: P prompts, N points, M masks, C channels, G side of the embedding, S side of the model
space, L side of mask logits, H x W the image's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samkit.backends import DecoderGraph
from samkit.models import ImageContext, PromptEncoder, Sam

ENCODER_INPUTS, ENCODER_OUTPUTS = ("images",), ("image_embeddings",)
DECODER_INPUTS = (
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
)
DECODER_OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
# Axes of variable size.
DECODER_AXES = {
    "point_coords": {0: "prompts", 1: "points"},
    "point_labels": {0: "prompts", 1: "points"},
    "mask_input": {0: "masks_given"},
    "masks": {0: "prompts", 2: "height", 3: "width"},
    "iou_predictions": {0: "prompts"},
    "low_res_masks": {0: "prompts"},
}
NOT_A_POINT = -1


@dataclass(frozen=True, kw_only=True)
class PartSpec:
    """A part of a model and what it takes to write it.

    Attributes:
        module: the graph.
        example: its inputs, to trace it with.
        inputs, outputs: their names.
        axes: of inputs and outputs, those of variable size, by name.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]


class PromptedDecoder(DecoderGraph):
    """Prompt encoder and mask decoder: prompts to masks at the image's size.

    Points are in the model space; their labels are 0 background, 1 foreground, 2 and 3 the top left
    and the bottom right corner of a box, -1 none. Prompts without a box end with a point of label
    -1, as in SAM's own encoder. The first of the masks is for unambiguous prompts.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self.prompts = sam.prompt_encoder
        self.model_size = sam.image_spec.size

    def forward(  # noqa: PLR0917 - in the order of the published graph
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer prompts on one image.

        Args:
            image_embeddings: (1, C, G, G).
            point_coords: (P, N, 2), x and y.
            point_labels: (P, N).
            mask_input: (P or 1, 1, L, L) logits.
            has_mask_input: (1,), 1 if `mask_input` counts, else 0.
            orig_im_size: (2,) height and width.

        Returns:
            mask logits (P, M, H, W), predicted IoU (P, M), mask logits (P, M, L, L).
        """
        dense = dense_prompt(self.prompts, mask_input, has_mask_input)
        # As many images as prompts.
        each = point_coords.new_zeros(point_coords.shape[0], 1, 1, 1)
        image = (image_embeddings + dense + each).flatten(2).transpose(1, 2)
        context = ImageContext(image=image, pos_enc=self.pos_enc)
        attended = self.decoder.attend(
            point_tokens(self.prompts, point_coords, point_labels), context
        )
        low_res = self.decoder.upscale(attended.image, attended.kernels)
        masks = at_image_size(low_res, orig_im_size, self.model_size)
        return masks, attended.iou_pred, low_res


def point_tokens(prompts: PromptEncoder, point_coords: Tensor, point_labels: Tensor) -> Tensor:
    """Tokens (P, N, C) of points (P, N, 2) with labels (P, N) of all kinds."""
    kinds, label = prompts.kind_embeddings(), point_labels[..., None]
    tokens = prompts.positions(point_coords)
    added = torch.zeros_like(tokens)
    for number in range(len(kinds)):
        added = torch.where(label == number, kinds[number], added)
    nothing = prompts.not_a_point_embed.weight[0]
    return torch.where(label == NOT_A_POINT, nothing, tokens + added)


def dense_prompt(prompts: PromptEncoder, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
    """What a mask (P or 1, 1, L, L), if it counts, adds to an embedding: (P or 1, C, G, G)."""
    return torch.where(has_mask_input > 0, prompts.embed_masks(mask_input), prompts.no_mask())


def at_image_size(low_res: Tensor, orig_im_size: Tensor, model_size: int) -> Tensor:
    """Enlarge logits (P, M, L, L) to an image's size (2,), without the padding: (P, M, H, W)."""
    large = nn.functional.interpolate(
        low_res, (model_size, model_size), mode="bilinear", align_corners=False
    )
    height, width = inner_size(orig_im_size, model_size)
    # Tensors, so that a graph accepts images of any size.
    size: Any = tuple(orig_im_size.to(torch.int64))
    return nn.functional.interpolate(
        large[..., :height, :width], size, mode="bilinear", align_corners=False
    )


def inner_size(orig_im_size: Tensor, model_size: int) -> Tensor:
    """Size (2,) in the model space of an image of size (2,)."""
    size = orig_im_size.to(torch.float32)
    return torch.floor(model_size / size.max() * size + 0.5).to(torch.int64)


def decoder_example(sam: Sam) -> tuple[Tensor, ...]:
    """Inputs of the decoder to trace it with."""
    config, prompts, points = sam.config.prompts, 2, 3
    side = 4 * config.grid_size
    return (
        torch.zeros(1, config.dim, config.grid_size, config.grid_size),
        torch.full((prompts, points, 2), config.image_size / 2),
        torch.tensor([[1.0, 0.0, -1.0]] * prompts),
        torch.zeros(prompts, 1, side, side),
        torch.zeros(1),
        torch.tensor([config.image_size * 0.75, config.image_size * 1.5]),
    )


def decoder_spec(sam: Sam) -> PartSpec:
    """The decoder of a SAM."""
    return PartSpec(
        module=PromptedDecoder(sam),
        example=decoder_example(sam),
        inputs=DECODER_INPUTS,
        outputs=DECODER_OUTPUTS,
        axes=DECODER_AXES,
    )


def encoder_spec(sam: Sam, outputs: tuple[str, ...] = ENCODER_OUTPUTS) -> PartSpec:
    """The image encoder."""
    size = sam.image_spec.size
    return PartSpec(
        module=sam.image_encoder,
        example=(torch.zeros(1, 3, size, size),),
        inputs=ENCODER_INPUTS,
        outputs=outputs,
        axes={},
    )
