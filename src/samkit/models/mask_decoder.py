"""SAM's mask decoder: answers prompts with mask logits and predicted IoU.

Source: arXiv:2304.02643, section 3 and appendix A. tests/reference/mask_decoder.py is the plain
form that this one is tested against.

Shape legend: P prompts, T tokens, N image positions, C channels, M masks, G side of the embedding
grid. The image side may have a batch of 1 that serves all prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from samkit.models.layers import LayerNorm2d
from samkit.models.two_way import (
    ImageContext,
    PosEncProjections,
    SharedProjections,
    TwoWayTransformer,
)

# Mask tokens: the first answers unambiguous prompts, the others offer alternatives such as part and
# whole.
SINGLE_MASK, AMBIGUOUS_MASKS = slice(0, 1), slice(1, None)


@dataclass(frozen=True, kw_only=True)
class MaskDecoderConfig:
    """Configuration of the mask decoder."""

    dim: int = 256
    depth: int = 2
    num_heads: int = 8
    mlp_dim: int = 2048
    num_multimask: int = 3
    cross_attention_downsample: int = 2
    iou_hidden_dim: int = 256


class Attended(NamedTuple):
    """Output of the transformer for P prompts, before anything is upscaled.

    Attributes:
        iou_pred: (P, M), predicted IoU.
        kernels: (P, M, C / 8), weights that turn pixel embeddings into each mask's logits.
        image: (P, N, C), the updated image tokens.
        mask_tokens: (P, M, C), from which SAM 2 makes object pointers; None in other models, as
            `object_logits`.
        object_logits: (P, 1), above 0 where SAM 2 sees the object.
        by_stability: whether the first mask is the single one, and the others are there to replace
            it where it is unstable; see `Sam2.answer`.
    """

    iou_pred: Tensor
    kernels: Tensor
    image: Tensor
    mask_tokens: Tensor | None = None
    object_logits: Tensor | None = None
    by_stability: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors; `Attended.of` makes the same of them again."""
        return tuple(part for part in self if isinstance(part, Tensor))

    @classmethod
    def of(cls, tensors: Sequence[Tensor], *, by_stability: bool = False) -> Attended:
        """Attended prompts of their `tensors`."""
        iou_pred, kernels, image, *extra = tensors
        mask_tokens, object_logits = extra or (None, None)
        return cls(iou_pred, kernels, image, mask_tokens, object_logits, by_stability)

    def rows(self, index: Any) -> Attended:
        """Select prompts by a slice or an index."""
        chosen = [part[index] for part in self.tensors]
        return Attended.of(chosen, by_stability=self.by_stability)

    def masks(self, chosen: slice) -> Attended:
        """Select masks by a slice."""
        tokens = self.mask_tokens
        return self._replace(
            iou_pred=self.iou_pred[:, chosen],
            kernels=self.kernels[:, chosen],
            mask_tokens=None if tokens is None else tokens[:, chosen],
        )


class Mlp(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(in_dim, width)
            for in_dim, width in (
                (dim, hidden_dim),
                (hidden_dim, hidden_dim),
                (hidden_dim, out_dim),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        out: Tensor = self.layers[-1](x)
        return out


class Upscaling(nn.Sequential):
    """Two transposed convolutions; each turns a position into 2 x 2.

    With stride equal to kernel size they are matrix products, and norm and activations act on each
    position alone: so positions stay in the order in which they arise.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )

    def forward(self, image: Tensor, *finer: Tensor) -> Tensor:
        """Images (P, N, C) to pixels (P, 16 N, C / 8), ordered (position, half, quarter).

        Finer levels of the image, if there are any, are added: (1 or P, 4 N, C / 4) and
        (1 or P, 16 N, C / 8), in the same order; see `finer_tokens`.
        """
        modules = list(self)
        conv1, conv2 = (cast("nn.ConvTranspose2d", modules[i]) for i in (0, 3))
        norm, gelu = cast("LayerNorm2d", modules[1]), modules[2]
        halves = self.apply_transposed(image, conv1)
        if finer:
            halves = halves + finer[0]
        quarters = self.apply_transposed(gelu(norm.over_last(halves)), conv2)
        if finer:
            quarters = quarters + finer[1]
        pixels: Tensor = gelu(quarters)
        return pixels

    @staticmethod
    def apply_transposed(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
        """Apply a transposed convolution with kernel and stride 2: (P, N, C) to (P, 4 N, C')."""
        assert conv.bias is not None
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 2 2 C')
        return (x @ weight + conv.bias.repeat(4)).view(x.shape[0], x.shape[1] * 4, -1)


def finer_tokens(half: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
    """Order finer levels of an image as `Upscaling` orders positions.

    Args:
        half: (B, C / 4, 2 G, 2 G).
        quarter: (B, C / 8, 4 G, 4 G).

    Returns:
        tokens (B, 4 N, C / 4) and (B, 16 N, C / 8).
    """
    batch, side = len(half), half.shape[-1] // 2
    halves = half.view(batch, -1, side, 2, side, 2).permute(0, 2, 4, 3, 5, 1)
    quarters = quarter.view(batch, -1, side, 2, 2, side, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
    return halves.flatten(1, 4), quarters.flatten(1, 6)


class MaskDecoder(nn.Module):
    """Decodes prompts to mask logits and the predicted IoU of each mask."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, num_masks = config.dim, config.num_multimask + 1
        self.transformer = TwoWayTransformer(
            dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_dim=config.mlp_dim,
            inner_dim=dim // config.cross_attention_downsample,
        )
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.output_upscaling = Upscaling(dim)
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(dim, dim, dim // 8) for _ in range(num_masks)
        )
        self.iou_prediction_head = Mlp(dim, config.iou_hidden_dim, num_masks)

    def forward(
        self,
        features: Tensor,
        image_pos_enc: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode P prompts.

        Args:
            features: image embedding (1 or P, C, G, G).
            image_pos_enc: positional encodings of the embedding (1, C, G, G).
            sparse: prompt tokens (P, T, C).
            dense: dense prompt map (1 or P, C, G, G).
            multimask: the three masks for ambiguous prompts instead of the single one.

        Returns:
            mask logits (P, M, 4 G, 4 G) and predicted IoU (P, M).
        """
        pos_enc = self.project_pos_enc(image_pos_enc)
        is_shared = max(len(features), len(dense)) == 1
        context = self.prepare(features, dense, pos_enc, is_shared=is_shared)
        selected = self.select(self.attend(sparse, context), multimask=multimask)
        return self.upscale(selected.image, selected.kernels), selected.iou_pred

    def project_pos_enc(self, image_pos_enc: Tensor) -> PosEncProjections:
        """Project the embedding's positional encodings (1, C, G, G) for every attention."""
        flat = image_pos_enc.flatten(2)
        layers, last = self.transformer.blocks, self.transformer.final_attn_token_to_image
        to_image = [layer.cross_attn_token_to_image for layer in layers]
        to_token = [layer.cross_attn_image_to_token for layer in layers]
        return PosEncProjections(
            keys=[attention.pos_keys(flat) for attention in (*to_image, last)],
            queries=[attention.pos_queries(flat) for attention in to_token],
        )

    def prepare(
        self, features: Tensor, dense: Tensor, pos_enc: PosEncProjections, *, is_shared: bool
    ) -> ImageContext:
        """Prepare images for the transformer.

        Args:
            features: (1 or P, C, G, G).
            dense: (1 or P, C, G, G).
            pos_enc: see `project_pos_enc`.
            is_shared: one image for all prompts, which is projected for the first layer in advance.
        """
        image = (features + dense).flatten(2)
        if not is_shared:
            return ImageContext(image=image.transpose(1, 2), pos_enc=pos_enc)
        return ImageContext(
            image=image.transpose(1, 2).contiguous(),
            pos_enc=pos_enc,
            shared=self._project_shared(image, pos_enc),
        )

    def _project_shared(self, image: Tensor, pos_enc: PosEncProjections) -> SharedProjections:
        """Project an image (1, C, N) for the first layer."""
        first = self.transformer.blocks[0]
        to_image, to_token = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        projections = (to_image.k_proj, to_image.v_proj, to_token.q_proj)
        weights = torch.cat([projection.weight for projection in projections]).to(image.dtype)
        keys, values, queries = (
            to_image.split_map(part) for part in (weights @ image).chunk(3, dim=1)
        )
        value_bias = to_image.split_map(to_image.v_proj.bias[None, :, None])
        return SharedProjections(
            keys=keys + pos_enc.keys[0],  # which includes the bias
            values=values + value_bias.to(image.dtype),
            queries=queries + pos_enc.queries[0],
        )

    def attend(self, sparse: Tensor, context: ImageContext) -> Attended:
        """Run the transformer on prompt tokens (P, T, C): answers of all mask tokens."""
        output_tokens = self.output_tokens().expand(sparse.shape[0], -1, -1)
        tokens, image = self.transformer(torch.cat([output_tokens, sparse], dim=1), context)
        return self.read_out(tokens, image)

    def output_tokens(self) -> Tensor:
        """Learned tokens (T, C) that the answers are read from; they come before the prompts."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])

    def read_out(self, tokens: Tensor, image: Tensor) -> Attended:
        """Read the answers from tokens (P, T, C)."""
        mask_tokens = tokens[:, 1 : 1 + self.mask_tokens.num_embeddings].unbind(1)
        kernels = [
            mlp(token)
            for mlp, token in zip(self.output_hypernetworks_mlps, mask_tokens, strict=True)
        ]
        return Attended(
            iou_pred=self.iou_prediction_head(tokens[:, 0]),
            kernels=torch.stack(kernels, dim=1),
            image=image,
        )

    def select(self, attended: Attended, *, multimask: bool) -> Attended:
        """Select the three masks for ambiguous prompts, or the single one."""
        return attended.masks(AMBIGUOUS_MASKS if multimask else SINGLE_MASK)

    def upscale(self, image: Tensor, kernels: Tensor, *finer: Tensor) -> Tensor:
        """Images (P, N, C) and kernels (P, M, C / 8) to mask logits (P, M, 4 G, 4 G).

        `finer` are tokens of an image's finer levels, if it has any; see `finer_tokens`.
        """
        pixels = self.output_upscaling(image, *finer)  # (P, 16 N, C / 8)
        prompts, masks, _ = kernels.shape
        grid = math.isqrt(image.shape[1])
        # (P, M, y, x, y half, x half, y quarter, x quarter): group the axes of y and of x
        cells: Tensor = (kernels @ pixels.transpose(1, 2)).view(
            prompts, masks, grid, grid, 2, 2, 2, 2
        )
        return cells.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(prompts, masks, 4 * grid, 4 * grid)
