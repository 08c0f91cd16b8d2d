"""SAM 2's memory: frames with an object's mask become maps and pointers, which other frames see.

Source: arXiv:2408.00714, section 4 and appendix D. Shape legend: P objects, C channels, E channels
of memories, G side of the grid, S side of the input, K memory tokens, T tokens of a perceiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samkit.models.layers import LayerNorm2d
from samkit.models.mask_decoder import Mlp
from samkit.models.memory_attention import MemoryAttention, sine_of_distance, sine_positions
from samkit.models.perceiver import PerceiverConfig, SpatialPerceiver
from samkit.models.pooling import MemoryPooling

# Masks come as probabilities, and are scaled for the memory encoder.
MASK_SCALE, MASK_BIAS = 20.0, -10.0
LAYER_SCALE = 1e-6  # at the start of training
MASK_CHANNELS = (1, 4, 16, 64, 256)  # a quarter of the pixels, four times the channels


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Configuration of the memory.

    Attributes:
        dim: channels of a frame's memory, which divide those of the image.
        num_frames: embeddings of time, one more than recent frames that are remembered.
        num_pointers: length of time over which pointers are remembered, in frames.
        is_revised: SAM 2.1, which marks frames without the object, and tells pointers how long ago
            they are.
        perceiver: EdgeTAM's, which sums up each map in a few tokens; None keeps maps as they are.
    """

    dim: int = 64
    num_layers: int = 4
    num_heads: int = 1
    mlp_dim: int = 2048
    num_frames: int = 7
    num_pointers: int = 16
    dropout: float = 0.1
    is_revised: bool = True
    perceiver: PerceiverConfig | None = None


class RememberedFrame(NamedTuple):
    """A frame's map of P objects, and how long ago it was.

    Attributes:
        map: (P, E, G, G), or (P, E, T) of a perceiver.
        steps: 1 for the frame before, and so on; 0 for a frame that a user prompted, however long
            ago; None for a frame of no time.
        near: (B, B) bool, blocks of cells in which the object is; None where nothing is pooled.
    """

    map: Tensor
    steps: int | None
    near: Tensor | None = None


class RememberedPointer(NamedTuple):
    """Object pointers (P, C) of a frame, and their signed distance in frames."""

    pointer: Tensor
    distance: int


class MaskDownsampler(nn.Module):
    """Masks (P, 1, 16 G, 16 G) to maps (P, C, G, G)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in pairwise(MASK_CHANNELS):
            parts.append(nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1))
            parts += [LayerNorm2d(after), nn.GELU()]
        self.encoder = nn.Sequential(*parts, nn.Conv2d(MASK_CHANNELS[-1], dim, kernel_size=1))

    def forward(self, masks: Tensor) -> Tensor:
        maps: Tensor = self.encoder(masks)
        return maps


class FuserBlock(nn.Module):
    """A ConvNeXt block. Source: arXiv:2201.03545."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), LAYER_SCALE))

    def forward(self, x_PCGG: Tensor) -> Tensor:
        x_PGGC = self.norm(self.dwconv(x_PCGG)).permute(0, 2, 3, 1)
        update = self.pwconv2(nn.functional.gelu(self.pwconv1(x_PGGC)))
        out: Tensor = x_PCGG + (self.gamma * update).permute(0, 3, 1, 2)
        return out


class Fuser(nn.Module):
    """Blocks one after another."""

    def __init__(self, dim: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(dim) for _ in range(depth))

    def forward(self, x_PCGG: Tensor) -> Tensor:
        for layer in self.layers:
            x_PCGG = layer(x_PCGG)
        return x_PCGG


class MemoryEncoder(nn.Module):
    """An image and masks of P objects to maps (P, E, G, G)."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(dim)
        self.pix_feat_proj = nn.Conv2d(dim, dim, kernel_size=1)
        self.fuser = Fuser(dim)
        self.out_proj = nn.Conv2d(dim, out_dim, kernel_size=1)

    def forward(self, grid: Tensor, masks: Tensor) -> Tensor:
        """Encode an image (1 or P, C, G, G) with masks (P, 1, 16 G, 16 G)."""
        maps: Tensor = self.out_proj(
            self.fuser(self.pix_feat_proj(grid) + self.mask_downsampler(masks))
        )
        return maps


class Memory(nn.Module):
    """All that a SAM 2 has for videos; names of parts are those of published files."""

    positions: Tensor
    cell_positions: Tensor

    def __init__(self, config: MemoryConfig, dim: int, grid: int) -> None:
        """Build the memory for images of (C, G, G), which is (dim, grid, grid)."""
        super().__init__()
        self.config = config
        self.attention = MemoryAttention(
            dim,
            config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            mlp_dim=config.mlp_dim,
            grid=grid,
            dropout=config.dropout,
            perceiver=config.perceiver,
        )
        self.encoder = MemoryEncoder(dim, config.dim)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(config.num_frames, 1, 1, config.dim))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, dim))  # in files, but never used
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, dim))
        self.obj_ptr_proj = Mlp(dim, dim, dim)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        if config.is_revised:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, config.dim))
            self.obj_ptr_tpos_proj = nn.Linear(dim, config.dim)
        cells = positions = sine_positions(grid, config.dim).flatten(2).transpose(1, 2)
        if config.perceiver is not None:
            self.spatial_perceiver = SpatialPerceiver(config.perceiver, config.dim)
            local = sine_positions(config.perceiver.grid, config.dim).flatten(2).transpose(1, 2)
            positions = nn.functional.pad(local, (0, 0, config.perceiver.num_global, 0))
        # Of a map's cells, and of the tokens that are remembered of it.
        self.register_buffer("cell_positions", cells, persistent=False)
        self.register_buffer("positions", positions, persistent=False)

    def encode(
        self, grid: Tensor, mask_logits: Tensor, is_present: Tensor, *, binarise: bool
    ) -> Tensor:
        """Remember a frame: maps (P, E, G, G), or (P, E, T) of a perceiver.

        Args:
            grid: the frame (1 or P, C, G, G), as it was before it saw the memory.
            mask_logits: (P, 1, S, S).
            is_present: (P,) bool, where the object is in the frame.
            binarise: take masks as they are, without their uncertainty: those that a user made.
        """
        masks = (mask_logits > 0).to(mask_logits.dtype) if binarise else mask_logits.sigmoid()
        return self.encode_masks(grid, masks, is_present)

    def encode_masks(self, grid: Tensor, masks: Tensor, is_present: Tensor) -> Tensor:
        """Remember a frame with masks (P, 1, S, S) from 0 to 1, likewise."""
        maps: Tensor = self.encoder(grid, masks * MASK_SCALE + MASK_BIAS)
        if self.config.is_revised:
            absent = (~is_present).to(maps.dtype)[:, None] * self.no_obj_embed_spatial
            maps = maps + absent[..., None, None]
        if self.config.perceiver is None:
            return maps
        tokens: Tensor = self.spatial_perceiver(maps, self.cell_positions)
        return tokens

    def point(self, mask_token: Tensor, is_present: Tensor) -> Tensor:
        """Object pointers (P, C) of the chosen masks' tokens (P, C)."""
        pointers: Tensor = self.obj_ptr_proj(mask_token)
        return torch.where(is_present[:, None], pointers, self.no_obj_ptr)

    def recall(
        self,
        begun: Tensor,
        frames: Sequence[RememberedFrame],
        pointers: Sequence[RememberedPointer],
        *,
        span: int,
        pooling: MemoryPooling | None = None,
    ) -> Tensor:
        """Let a frame see what is remembered of P objects: (P, C, G, G).

        Args:
            begun: the frame's tokens, of `attention.begin`.
            frames: at least one, in the order in which their tokens are lined up.
            pointers: likewise.
            span: number of frames, by which distances of pointers are scaled.
            pooling: how the frame and each of `frames` are to be pooled; None: not at all.
        """
        maps = [frame.map.flatten(2).transpose(1, 2) for frame in frames]
        places = [self._places(frame.steps).expand(len(maps[0]), -1, -1) for frame in frames]
        if pooling is not None:
            maps = [how.pool(one) for how, one in zip(pooling.maps, maps, strict=True)]
            places = [how.pool(one) for how, one in zip(pooling.maps, places, strict=True)]
        tokens, token_places = self._pointer_tokens(pointers, span)
        updated: Tensor = self.attention(
            begun,
            torch.cat([*maps, *tokens], dim=1),
            torch.cat([*places, *token_places], dim=1),
            sum(part.shape[1] for part in tokens),
            pooling,
        )
        return updated

    def _places(self, steps: int | None) -> Tensor:
        """What is added to a map's tokens in keys: (1, N, E)."""
        if steps is None:
            return self.positions
        # Embeddings of time: the first for the frame before, the last for prompted frames.
        return self.positions + self.maskmem_tpos_enc[steps - 1].view(1, 1, -1)

    def _pointer_tokens(
        self, pointers: Sequence[RememberedPointer], span: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens (P, C / E, E) of each pointer, and what is added to them in keys."""
        tokens = [one.pointer.view(len(one.pointer), -1, self.config.dim) for one in pointers]
        if not self.config.is_revised:
            return tokens, [torch.zeros_like(part) for part in tokens]
        places = []
        for one, part in zip(pointers, tokens, strict=True):
            distance = one.pointer.new_tensor(one.distance / max(1, span - 1))
            places.append(self.pointer_places(distance).expand_as(part))
        return tokens, places

    def pointer_places(self, distance: Tensor) -> Tensor:
        """What is added in keys to pointers of signed distances (...) in parts of the span."""
        dim = self.obj_ptr_tpos_proj.in_features
        places: Tensor = self.obj_ptr_tpos_proj(sine_of_distance(distance, dim))
        return places
