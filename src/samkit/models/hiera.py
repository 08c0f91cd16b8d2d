"""SAM 2's image encoder: Hiera, a ViT in four stages, and a neck that merges their levels.

Source: Hiera, arXiv:2306.00989; SAM 2, arXiv:2408.00714, section 4 and appendix D; positions in
windows, arXiv:2311.05613. Shape legend: B batch, N tokens, C channels, H x W token grid, D channels
per head, S side of the input, G side of the grid that prompts attend to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.models.fpn_neck import FpnEncoder
from samkit.models.layers import (
    Blocks,
    DropPath,
    TransformerMlp,
    drop_path_rates,
    window_merge,
    window_partition,
)

LAYER_NORM_EPS = 1e-6
PATCH_STRIDE, PATCH_KERNEL, PATCH_PADDING = 4, 7, 3
GRID_STRIDE = 16  # input pixels per token that prompts attend to
POOL = 2  # each stage after the first has half the grid, twice the channels and heads


@dataclass(frozen=True, kw_only=True)
class HieraConfig:
    """Configuration of a Hiera image encoder; `global_blocks` use global attention, others windows.

    Attributes:
        embed_dim, num_heads: of the first stage.
        depths, window_sizes: of the four stages.
        pos_grid: side of the table of coarse positions, which is enlarged to the token grid.
        out_channels: channels of the level that prompts attend to.
        drop_path: the last block's rate in training; it does not affect the weights.
    """

    embed_dim: int
    num_heads: int
    depths: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    pos_grid: int = 7
    window_sizes: tuple[int, int, int, int] = (8, 4, 14, 7)
    mlp_ratio: int = 4
    image_size: int = 1024
    out_channels: int = 256
    drop_path: float = 0.0

    @property
    def grid_size(self) -> int:
        """Side of the level that prompts attend to, in tokens."""
        return self.image_size // GRID_STRIDE

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the stages."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))


class PatchEmbed(nn.Module):
    """Image to tokens by a convolution whose patches overlap."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            3, embed_dim, kernel_size=PATCH_KERNEL, stride=PATCH_STRIDE, padding=PATCH_PADDING
        )

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        """Return tokens (B, S / 4, S / 4, C)."""
        tokens: Tensor = self.proj(pixels_B3SS)
        return tokens.permute(0, 2, 3, 1)


class PoolingAttention(nn.Module):
    """Self-attention over a grid, whose queries may be pooled: the output then has half the side.

    Keys and values are never pooled.
    """

    def __init__(self, dim: int, out_dim: int, num_heads: int, *, pools: bool) -> None:
        super().__init__()
        self.num_heads, self.pools = num_heads, pools
        self.qkv = nn.Linear(dim, 3 * out_dim)
        self.proj = nn.Linear(out_dim, out_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        batch, height, width, _ = x_BHWC.shape
        q, k, v = self.qkv(x_BHWC).chunk(3, dim=-1)
        if self.pools:
            q, height, width = pool(q), height // POOL, width // POOL
        q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(batch, height, width, -1))
        return out

    def split_heads(self, x_BHWC: Tensor) -> Tensor:
        """Reshape (B, H, W, C) to (B, heads, N, D)."""
        tokens = x_BHWC.reshape(len(x_BHWC), -1, self.num_heads, x_BHWC.shape[-1] // self.num_heads)
        return tokens.transpose(1, 2)


class HieraBlock(nn.Module):
    """Pre-norm transformer block; the first of a stage widens the channels and pools the grid.

    `window_size` 0 means attention over the full grid.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        num_heads: int,
        *,
        window_size: int,
        mlp_ratio: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.window_size, self.widens = window_size, dim != out_dim
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = PoolingAttention(dim, out_dim, num_heads, pools=self.widens)
        self.norm2 = nn.LayerNorm(out_dim, eps=LAYER_NORM_EPS)
        self.mlp = TransformerMlp(out_dim, out_dim * mlp_ratio, nn.GELU)
        if self.widens:
            self.proj = nn.Linear(dim, out_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        normed = self.norm1(x_BHWC)
        shortcut = pool(self.proj(normed)) if self.widens else x_BHWC
        x_BHWC = shortcut + self.drop_path(self.attend(normed))
        out: Tensor = x_BHWC + self.drop_path(self.mlp(self.norm2(x_BHWC)))
        return out

    def attend(self, x_BHWC: Tensor) -> Tensor:
        if not self.window_size:
            attended: Tensor = self.attn(x_BHWC)
            return attended
        windows, (padded_h, padded_w) = window_partition(x_BHWC, self.window_size)
        shrink = POOL if self.widens else 1
        return window_merge(
            self.attn(windows),
            (padded_h // shrink, padded_w // shrink),
            (x_BHWC.shape[1] // shrink, x_BHWC.shape[2] // shrink),
        )


def pool(x_BHWC: Tensor) -> Tensor:
    """Maximum of each 2 x 2 tokens: (B, H / 2, W / 2, C)."""
    pooled = nn.functional.max_pool2d(x_BHWC.permute(0, 3, 1, 2), POOL)
    return pooled.permute(0, 2, 3, 1)


class Hiera(nn.Module):
    """The trunk: normalised pixels (B, 3, S, S) to a map of each stage, finest first."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.config = config
        dim, table = config.embed_dim, config.window_sizes[0]
        self.patch_embed = PatchEmbed(dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, dim, config.pos_grid, config.pos_grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, dim, table, table))
        self.blocks = Blocks(*_blocks(config))

    def forward(self, pixels_B3SS: Tensor) -> list[Tensor]:
        tokens = self.patch_embed(pixels_B3SS)
        outputs = self.blocks.outputs(tokens + self.positions(tokens.shape[1]))
        ends = _stage_ends(self.config.depths)
        return [x.permute(0, 3, 1, 2) for i, x in enumerate(outputs) if i in ends]

    def positions(self, grid: int) -> Tensor:
        """Positions (1, H, W, C): coarse ones, enlarged, plus those within windows, repeated."""
        coarse = nn.functional.interpolate(
            self.pos_embed.float(), (grid, grid), mode="bicubic", align_corners=False
        ).to(self.pos_embed.dtype)
        times = grid // self.pos_embed_window.shape[-1]
        return (coarse + self.pos_embed_window.repeat(1, 1, times, times)).permute(0, 2, 3, 1)


def _stage_ends(depths: tuple[int, ...]) -> list[int]:
    """Indices of the last block of each stage."""
    return [sum(depths[: stage + 1]) - 1 for stage in range(len(depths))]


def _blocks(config: HieraConfig) -> list[HieraBlock]:
    """The blocks of all stages.

    The first block of a stage still partitions the finer grid of the stage before it, and so uses
    that one's windows.
    """
    blocks: list[HieraBlock] = []
    rates = drop_path_rates(config.drop_path, sum(config.depths))
    dims = config.stage_dims
    for stage, depth in enumerate(config.depths):
        for number in range(depth):
            is_first = number == 0 and stage > 0
            before = stage - 1 if is_first else stage
            is_global = len(blocks) in config.global_blocks
            blocks.append(
                HieraBlock(
                    dims[before],
                    dims[stage],
                    config.num_heads * 2**stage,
                    window_size=0 if is_global else config.window_sizes[before],
                    mlp_ratio=config.mlp_ratio,
                    drop_path=rates[len(blocks)],
                )
            )
    return blocks


class HieraEncoder(FpnEncoder):
    """Hiera and SAM 2's neck."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__(Hiera(config), config.stage_dims, config.out_channels)
        self.config = config
