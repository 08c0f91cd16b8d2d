"""EdgeTAM's spatial perceiver: what is remembered of a frame, summed up in a few tokens.

Source: EdgeTAM, arXiv:2501.07256, section 3.2; Perceiver, arXiv:2103.03206. Shape legend:
P objects, E channels of memories, G side of a map, N its cells, L latents, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.models.layers import window_partition


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """Configuration of a spatial perceiver.

    Attributes:
        num_global: tokens that see the whole map, and have no place in it.
        grid: side of the grid of the other tokens, each of which sees one window of the map.
        num_layers: layers, the same for both kinds of tokens.
        mlp_ratio: width of the layers' MLPs.
    """

    num_global: int = 256
    grid: int = 16
    num_layers: int = 2
    mlp_ratio: int = 4

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame."""
        return self.num_global + self.grid**2


class LatentAttention(nn.Module):
    """Attention with one head and without biases."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def attend(self, latents: Tensor, seen: Tensor, positions: Tensor | None = None) -> Tensor:
        """Let latents (P, L, E) see tokens (P, N, E); positions are added to keys and values."""
        k, v = self.to_kv(seen).chunk(2, dim=-1)
        if positions is not None:
            k, v = k + positions, v + positions
        found = nn.functional.scaled_dot_product_attention(self.to_q(latents), k, v)
        out: Tensor = self.to_out(found)
        return out


class CrossAttention(LatentAttention):
    """Latents look at tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm_latents, self.norm_x = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, latents: Tensor, seen: Tensor, positions: Tensor | None) -> Tensor:
        return self.attend(self.norm_latents(latents), self.norm_x(seen), positions)


class SelfAttention(LatentAttention):
    """Latents look at each other."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, latents: Tensor) -> Tensor:
        normed = self.norm(latents)
        return self.attend(normed, normed)


class PerceiverLayer(nn.Module):
    """Cross-attention, MLP, self-attention, MLP; a norm before each."""

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.attn, self.ff = CrossAttention(dim), _mlp(dim, mlp_dim)
        self.self_attn, self.self_ff = SelfAttention(dim), _mlp(dim, mlp_dim)

    def forward(self, latents: Tensor, seen: Tensor, positions: Tensor | None) -> Tensor:
        latents = latents + self.attn(latents, seen, positions)
        latents = latents + self.ff(latents)
        latents = latents + self.self_attn(latents)
        out: Tensor = latents + self.self_ff(latents)
        return out


def _mlp(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, hidden, bias=False),
        nn.GELU(),
        nn.Linear(hidden, dim, bias=False),
    )


class SpatialPerceiver(nn.Module):
    """Maps (P, E, G, G) to tokens (P, E, T): the global ones, then those of windows, by rows."""

    def __init__(self, config: PerceiverConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.randn(config.num_global, dim))
        self.latents_2d = nn.Parameter(torch.randn(config.grid**2, dim))
        self.layers = nn.ModuleList(
            PerceiverLayer(dim, config.mlp_ratio * dim) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps_PEGG: Tensor, positions: Tensor) -> Tensor:
        """Sum up maps; `positions` (1, N, E) of their cells are for the global tokens alone."""
        cells = maps_PEGG.permute(0, 2, 3, 1)
        objects, side, _, dim = cells.shape
        windows, _ = window_partition(cells, side // self.config.grid)
        each = self.latents_2d.expand(objects, -1, -1).reshape(-1, 1, dim)
        local = self._sum_up(each, windows.flatten(1, 2)).view(objects, -1, dim)
        shared = self.latents.expand(objects, -1, -1)
        tokens = torch.cat([self._sum_up(shared, cells.flatten(1, 2), positions), local], dim=1)
        return tokens.transpose(1, 2)

    def _sum_up(self, latents: Tensor, seen: Tensor, positions: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            latents = layer(latents, seen, positions)
        out: Tensor = self.norm(latents)
        return out
