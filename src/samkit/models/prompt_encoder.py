"""Prompt encoder: text, points, boxes and masks to tokens and dense maps for the mask decoder.

Source: arXiv:2304.02643, section 3, appendices A and D.5; Fourier features, arXiv:2006.10739.
Shape legend: P prompts, N points, T tokens, C channels, G side of the embedding grid, D dimensions
of CLIP's embeddings.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.models.interface import PromptEmbeddings, PromptTensors
from samkit.models.layers import LayerNorm2d

# Rows of `point_embeddings`.
BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = range(4)
NOT_A_POINT = -1


@dataclass(frozen=True, kw_only=True)
class PromptEncoderConfig:
    """Configuration of the prompt encoder, for an input of `image_size` pixels per side.

    Attributes:
        text_dim: dimension of CLIP's embeddings; None for a model without text prompts, like the
            published ones.
        pads_boxes: whether a padding point follows boxes, too: SAM 2 takes their corners as points.
    """

    image_size: int = 1024
    grid_size: int = 64
    dim: int = 256
    mask_hidden: int = 16
    text_dim: int | None = None
    pads_boxes: bool = False


class FourierPositions(nn.Module):
    """Positional encoding of the unit square: sines and cosines of random projections."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, unit_xy: Tensor) -> Tensor:
        """Encode coordinates (..., 2) in [0, 1]: (..., C)."""
        phase = 2 * math.pi * ((2 * unit_xy - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Encodes prompts given in the model space (pixels of the resized image)."""

    def __init__(self, config: PromptEncoderConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.mask_hidden
        self.pe_layer = FourierPositions(config.dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, config.dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, config.dim)
        self.no_mask_embed = nn.Embedding(1, config.dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, hidden // 4, kernel_size=2, stride=2),
            LayerNorm2d(hidden // 4),
            nn.GELU(),
            nn.Conv2d(hidden // 4, hidden, kernel_size=2, stride=2),
            LayerNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, config.dim, kernel_size=1),
        )
        if config.text_dim is not None:
            self.text_projection = nn.Linear(config.text_dim, config.dim)

    def forward(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Encode P prompts.

        Returns:
            tokens (P, T, C): text, points, then padding if there is no box or boxes are padded,
            then the box's two corners; dense maps (P, C, G, G), or None if no prompt has a mask.
        """
        mask_logits = prompts.mask_logits
        dense = None if mask_logits is None else self.embed_masks(mask_logits)
        return PromptEmbeddings(self.embed_sparse(prompts), dense)

    def embed_sparse(self, prompts: PromptTensors) -> Tensor:
        """Tokens (P, T, C) of text, points and boxes; T is 0 without any."""
        text_embeds, points_xy, labels, boxes_xyxy, _ = prompts
        num_prompts = prompts.num_prompts
        tokens = [self.no_mask_embed.weight.new_empty(num_prompts, 0, self.config.dim)]
        pads = boxes_xyxy is None or self.config.pads_boxes
        if text_embeds is not None:
            tokens.append(self.embed_text(text_embeds))
        if points_xy is not None and labels is not None:
            tokens.append(self.embed_points(points_xy, labels, pad=pads))
        elif pads and (text_embeds is not None or boxes_xyxy is not None):
            tokens.append(self.not_a_point_embed.weight.expand(num_prompts, 1, -1))
        if boxes_xyxy is not None:
            tokens.append(self.embed_boxes(boxes_xyxy))
        return torch.cat(tokens, dim=1)

    def embed_text(self, text_embeds: Tensor) -> Tensor:
        """Tokens (P, 1, C) of CLIP embeddings (P, D)."""
        # Scaled to components of about 1, like the other embeddings, so that it is learned as
        # quickly.
        token: Tensor = self.text_projection(text_embeds * math.sqrt(text_embeds.shape[-1]))
        return token[:, None]

    def embed_points(self, points_xy: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        """Tokens (P, N, C), or (P, N + 1, C) with one padding point."""
        if pad:
            points_xy = nn.functional.pad(points_xy, (0, 0, 0, 1))
            labels = nn.functional.pad(labels, (0, 1), value=NOT_A_POINT)
        kind = labels[..., None]
        pos_enc = self.positions(points_xy)
        kinds = self.kind_embeddings()
        foreground, background = pos_enc + kinds[FOREGROUND], pos_enc + kinds[BACKGROUND]
        tokens = torch.where(kind == 1, foreground, background)
        return torch.where(kind == NOT_A_POINT, self.not_a_point_embed.weight, tokens)

    def embed_boxes(self, boxes_xyxy: Tensor) -> Tensor:
        """Tokens (P, 2, C) of the top left and the bottom right corner."""
        corners_xy = boxes_xyxy.view(-1, 2, 2)
        return self.positions(corners_xy) + self.kind_embeddings()[[TOP_LEFT, BOTTOM_RIGHT]]

    def kind_embeddings(self) -> Tensor:
        """Learned embeddings (4, C): background, foreground, top left, bottom right."""
        return torch.cat(list(self.point_embeddings.parameters()))

    def embed_masks(self, mask_logits: Tensor) -> Tensor:
        """Dense maps (P, C, G, G) of mask prompts (P, 1, 4 G, 4 G)."""
        dense: Tensor = self.mask_downscaling(mask_logits)
        return dense

    def no_mask(self) -> Tensor:
        """Dense map (1, C, G, G) of prompts without a mask."""
        grid = self.config.grid_size
        return self.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, grid, grid)

    def positions(self, xy: Tensor) -> Tensor:
        """Encodings (..., C) of pixels (..., 2), at the pixels' centres."""
        pos_enc: Tensor = self.pe_layer((xy + 0.5) / self.config.image_size)
        return pos_enc

    def grid_positions(self) -> Tensor:
        """Encodings (1, C, G, G) of the embedding's positions."""
        grid = self.config.grid_size
        weight = self.no_mask_embed.weight
        centres = (torch.arange(grid, device=weight.device, dtype=weight.dtype) + 0.5) / grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        pos_enc: Tensor = self.pe_layer(torch.stack([x, y], dim=-1))
        return pos_enc.permute(2, 0, 1)[None]
