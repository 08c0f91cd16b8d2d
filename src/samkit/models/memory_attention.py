"""SAM 2's memory attention: an image attends to itself and to what is remembered of other frames.

Source: arXiv:2408.00714, section 4 and appendix D; rotary positions, arXiv:2104.09864, along both
axes as in arXiv:2403.13298.

Shape legend: P objects, N image positions, K memory tokens, C channels, E channels of memories,
H heads, D channels per head. The image has a batch of 1 until it sees the objects' memories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from samkit.models.perceiver import PerceiverConfig
from samkit.models.pooling import GridPooling, MemoryPooling

ROPE_THETA = 10_000.0
POSITION_SHARE = 0.1  # of the image's sine positions in the input
# On a CPU: keys from which on values are projected after attention, and queries at a time, whose
# weights for all keys of a full memory fit into the cache of a server's processor.
MANY_KEYS, QUERIES_AT_ONCE = 1024, 256


class TokenPlaces(NamedTuple):
    """Where tokens that are not a grid's cells are, and what they stand for.

    Attributes:
        cos, sin: (N, D / 2), of their angles.
        log_sizes: (K,), of the number of cells that each key stands for.
    """

    cos: Tensor
    sin: Tensor
    log_sizes: Tensor


class AxialRope(nn.Module):
    """Rotates pairs of channels by angles that grow with x, for half of the pairs, and with y.

    So the product of a query and a key depends on the offset between their positions. A map may
    begin with tokens that have no place in it, and are not rotated.
    """

    angles: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, grid: int, num_global: int = 0) -> None:
        super().__init__()
        speeds = ROPE_THETA ** -(torch.arange(0, head_dim, 4, device="cpu") / head_dim)
        cell = torch.arange(grid * grid, device="cpu")
        axes = [torch.outer(axis.float(), speeds) for axis in (cell % grid, cell // grid)]
        angles = torch.cat(axes, dim=1)  # (N, D / 2)
        angles = nn.functional.pad(angles, (0, 0, num_global, 0))
        self.register_buffer("angles", angles, persistent=False)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def places(self, poolings: Sequence[GridPooling], num_still: int = 0) -> TokenPlaces:
        """Places of the tokens of pooled maps, one after another, before `num_still` others."""
        angles = torch.cat([one.pool(self.angles[None])[0] for one in poolings])
        sizes = [one.log_sizes() for one in poolings]
        return TokenPlaces(
            angles.cos(), angles.sin(), torch.cat([*sizes, angles.new_zeros(num_still)])
        )

    def forward(self, x: Tensor, num_still: int = 0, places: TokenPlaces | None = None) -> Tensor:
        """Rotate tokens (..., n N, D), of n maps one after another.

        Args:
            x: tokens.
            num_still: number of last tokens that have no position, and are not rotated.
            places: of tokens of pooled maps.
        """
        moving = x.shape[-2] - num_still
        cos, sin = (self.cos, self.sin) if places is None else (places.cos, places.sin)
        still = x[..., moving:, :]
        pairs = x[..., :moving, :].reshape(*x.shape[:-2], -1, *cos.shape, 2)
        turned = turn(pairs.float(), cos, sin).to(x.dtype)
        turned = turned.reshape(*x.shape[:-2], moving, x.shape[-1])
        return torch.cat([turned, still], dim=-2) if num_still else turned


def turn(pairs: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (..., N, D / 2, 2) by angles (N, D / 2), given by their cosines and sines."""
    if pairs.device.type == "cpu" and not torch.is_grad_enabled() and not _is_traced():
        # The same product in complex numbers takes an eighth of the time.
        pairs = pairs.contiguous()
        return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin))
    even, odd = pairs.unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)


class RopeAttention(nn.Module):
    """Attention with rotary positions; keys and values may have other channels than queries.

    A memory has fewer channels (64) than attention (256). Since the weights of a query sum to 1,

        softmax(q K^T) (X Wv + b) = (softmax(q K^T) X) Wv + b,

    exactly, so that on a CPU values are mixed in the memory's channels and projected afterwards.
    """

    def __init__(
        self,
        dim: int,
        kv_dim: int,
        *,
        num_heads: int,
        grid: int,
        perceiver: PerceiverConfig | None = None,
    ) -> None:
        """Create the layers.

        Args:
            dim: channels of queries.
            kv_dim: of keys and values.
            num_heads: of each.
            grid: side of the grid of queries, and of keys without a perceiver.
            perceiver: whose tokens the keys are.
        """
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(kv_dim, dim)
        self.v_proj = nn.Linear(kv_dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.rope = AxialRope(dim // num_heads, grid)
        self.key_rope = self.rope
        if perceiver is not None:
            self.key_rope = AxialRope(dim // num_heads, perceiver.grid, perceiver.num_global)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        num_still: int = 0,
        *,
        q_places: TokenPlaces | None = None,
        k_places: TokenPlaces | None = None,
    ) -> Tensor:
        """Attend from q (1 or P, N, C) to k and v (P, K, E): (P, N, C).

        Args:
            q, k, v: queries, keys, values.
            num_still: number of last keys that have no position.
            q_places, k_places: of tokens of pooled maps.
        """
        q_PHND = self.rope(self.split_heads(self.q_proj(q)), places=q_places)
        k_PHKD = self.key_rope(self.split_heads(self.k_proj(k)), num_still, k_places)
        q_PHND = q_PHND.expand(k_PHKD.shape[0], -1, -1, -1)
        bias = None if k_places is None else k_places.log_sizes.to(q_PHND.dtype)
        if self._projects_after(v):
            attended = self._attend_and_project(q_PHND, k_PHKD, v, bias)
        else:
            v_PHKD = self.split_heads(self.v_proj(v))
            mask = None if bias is None else bias.expand(1, 1, q_PHND.shape[2], -1)
            attended = nn.functional.scaled_dot_product_attention(q_PHND, k_PHKD, v_PHKD, mask)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def _projects_after(self, v: Tensor) -> bool:
        """Whether to project values after attention.

        With gradients all weights would be stored; in bfloat16 a fused attention is faster, and
        takes values only as wide as keys.
        """
        has_fewer = v.shape[2] * self.num_heads < self.v_proj.out_features
        is_large = v.device.type == "cpu" and v.shape[1] >= MANY_KEYS
        is_lower = torch.is_autocast_enabled("cpu")
        return has_fewer and is_large and not is_lower and not torch.is_grad_enabled()

    def _attend_and_project(
        self, q_PHND: Tensor, k_PHKD: Tensor, v: Tensor, key_bias: Tensor | None
    ) -> Tensor:
        """Attend to unprojected values v (P, K, E): (P, H, N, D)."""
        scale = 1 / math.sqrt(q_PHND.shape[-1])
        if _is_traced():  # for any number of objects
            k_PHDK, v_P1KE = k_PHKD.transpose(-1, -2), v[:, None]
            parts = torch.split(scale * q_PHND, QUERIES_AT_ONCE, dim=2)
            mixed = torch.cat([(part @ k_PHDK).softmax(-1) @ v_P1KE for part in parts], dim=2)
        else:
            mixed = self._mix(scale * q_PHND, k_PHKD, v, key_bias)
        weights = self.v_proj.weight.view(self.num_heads, -1, v.shape[2]).transpose(-1, -2)
        bias = self.v_proj.bias.view(self.num_heads, 1, -1)
        return mixed @ weights + bias

    @staticmethod
    def _mix(q_PHND: Tensor, k_PHKD: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
        """Values v (P, K, E) as each query mixes them, one object at a time: (P, H, N, E)."""

        def weigh(part: Tensor, k_HDK: Tensor) -> Tensor:
            logits = part @ k_HDK
            return (logits if key_bias is None else logits.add_(key_bias)).softmax(-1)

        mixed = [
            torch.cat([weigh(part, k_HDK) @ values for part in parts], dim=1)
            for parts, k_HDK, values in zip(
                (q_HND.split(QUERIES_AT_ONCE, dim=1) for q_HND in q_PHND),
                k_PHKD.transpose(-1, -2),
                v,
                strict=True,
            )
        ]
        return torch.stack(mixed)

    def split_heads(self, x: Tensor) -> Tensor:
        """Reshape (P, N, C) to (P, H, N, D)."""
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to the memory, MLP; a norm before each."""

    def __init__(
        self,
        dim: int,
        kv_dim: int,
        *,
        num_heads: int,
        mlp_dim: int,
        grid: int,
        dropout: float,
        perceiver: PerceiverConfig | None,
    ) -> None:
        super().__init__()
        self.self_attn = RopeAttention(dim, dim, num_heads=num_heads, grid=grid)
        self.cross_attn_image = RopeAttention(
            dim, kv_dim, num_heads=num_heads, grid=grid, perceiver=perceiver
        )
        self.linear1 = nn.Linear(dim, mlp_dim)
        self.linear2 = nn.Linear(mlp_dim, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def attend_self(self, image: Tensor, places: TokenPlaces | None = None) -> Tensor:
        """Self-attention of the image, which knows of no object in the first layer."""
        normed = self.norm1(image)
        seen = self.self_attn(normed, normed, normed, q_places=places, k_places=places)
        attended: Tensor = image + self.dropout(seen)
        return attended

    def attend_memory(
        self,
        image: Tensor,
        keys: Tensor,
        values: Tensor,
        num_still: int,
        *,
        q_places: TokenPlaces | None = None,
        k_places: TokenPlaces | None = None,
    ) -> Tensor:
        """Attention to the memory, then the MLP."""
        seen = self.cross_attn_image(
            self.norm2(image), keys, values, num_still, q_places=q_places, k_places=k_places
        )
        image = image + self.dropout(seen)
        hidden = self.dropout(self.linear1(self.norm3(image)).relu())
        out: Tensor = image + self.dropout(self.linear2(hidden))
        return out


class MemoryAttention(nn.Module):
    """The layers and a last norm."""

    def __init__(
        self,
        dim: int,
        kv_dim: int,
        *,
        num_layers: int,
        num_heads: int,
        mlp_dim: int,
        grid: int,
        dropout: float,
        perceiver: PerceiverConfig | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(
                dim,
                kv_dim,
                num_heads=num_heads,
                mlp_dim=mlp_dim,
                grid=grid,
                dropout=dropout,
                perceiver=perceiver,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        positions = sine_positions(grid, dim).flatten(2).transpose(1, 2)
        self.register_buffer("positions", positions, persistent=False)

    positions: Tensor

    def begin(self, image: Tensor) -> Tensor:
        """Tokens (1, N, C) of an image (1, C, G, G), as far as they depend on no object."""
        tokens = image.flatten(2).transpose(1, 2)
        first: MemoryAttentionLayer = self.layers[0]  # type: ignore[assignment]
        return first.attend_self(tokens + POSITION_SHARE * self.positions.to(tokens.dtype))

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        memory_positions: Tensor,
        num_still: int,
        pooling: MemoryPooling | None = None,
    ) -> Tensor:
        """Update an image by the memory of each of P objects.

        Args:
            tokens: result of `begin`.
            memory: (P, K, E), maps one after another, then tokens without a place in the image.
            memory_positions: (P, K, E), what is added to the memory in keys.
            num_still: number of tokens without a place.
            pooling: how the memory's maps are pooled, and how the image is to be: cells of pooled
                blocks are updated alike.

        Returns:
            (P, C, G, G).
        """
        keys = memory + memory_positions
        layers = cast("list[MemoryAttentionLayer]", list(self.layers))
        own = places = k_places = None
        begun = tokens
        if pooling is not None:
            rope = layers[0].cross_attn_image.rope
            own, places = pooling.image, rope.places([pooling.image])
            k_places = rope.places(pooling.maps, num_still)
            tokens = own.pool(begun)
        pooled = tokens
        for number, layer in enumerate(layers):
            if number > 0:
                tokens = layer.attend_self(tokens, places)
            tokens = layer.attend_memory(
                tokens, keys, memory, num_still, q_places=places, k_places=k_places
            )
        if own is not None:
            tokens = begun + own.unpool(tokens - pooled)
        updated: Tensor = self.norm(tokens)
        side = math.isqrt(updated.shape[1])
        return updated.transpose(1, 2).reshape(updated.shape[0], -1, side, side)


def sine_positions(grid: int, dim: int) -> Tensor:
    """Sines and cosines (1, C, G, G) of a grid's rows in the first half of the channels, of its
    columns in the second.

    Source: DETR, arXiv:2005.12872, appendix A.4, with positions scaled to 2 pi.
    """  # noqa: D205
    place = (torch.arange(grid, device="cpu") + 1) / (grid + 1e-6) * 2 * math.pi
    waves = _waves(place, dim // 2)  # (G, C / 4) each
    along = torch.stack(waves, dim=-1).flatten(1).T  # (C / 2, G)
    rows = along[:, :, None].expand(-1, -1, grid)
    columns = along[:, None, :].expand(-1, grid, -1)
    return torch.cat([rows, columns])[None]


def sine_of_distance(distance: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, (..., C) of signed distances in time (...)."""
    half = dim // 2
    powers = torch.arange(half, device=distance.device) // 2 * 2 / half
    angles = distance[..., None] / ROPE_THETA**powers
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _is_traced() -> bool:
    """Whether a graph is being made of this call."""
    is_tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return is_tracing or torch.compiler.is_exporting()


def _waves(place: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Sines and cosines (..., dim / 2) of places, at falling speeds."""
    powers = torch.arange(0, dim, 2, device=place.device) / dim
    angles = place[..., None] / ROPE_THETA**powers
    return angles.sin(), angles.cos()
