"""MobileSAM's image encoder: TinyViT with four stages, the last two of stride 16.

Source: arXiv:2207.10666 (TinyViT), arXiv:2306.14289 (MobileSAM).
Shape legend: B batch, N tokens, C channels, H x W token grid.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

from samkit.models.layers import (
    Blocks,
    DropPath,
    Neck,
    drop_path_rates,
    window_merge,
    window_partition,
)

MBCONV_EXPANSION = 4
# Strides of the three downsamplings between the stages. The last is 1 to keep the 64 x 64 grid that
# the mask decoder expects; TinyViT for classification uses 2.
DOWNSAMPLE_STRIDES = (2, 2, 1)


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """Configuration of a TinyViT encoder, one entry per stage; stage 0 is convolutional.

    `drop_path` is the last block's rate in training; it does not affect the weights.
    """

    embed_dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]
    window_sizes: tuple[int, int, int, int]
    image_size: int = 1024
    mlp_ratio: int = 4
    out_channels: int = 256
    drop_path: float = 0.0

    @property
    def grid_size(self) -> int:
        """Side of the embedding, in positions."""
        return self.image_size // 16

    def drop_path_rates(self, stage: int) -> list[float]:
        """Drop rates of a stage's blocks, which grow over all stages."""
        first = sum(self.depths[:stage])
        rates = drop_path_rates(self.drop_path, sum(self.depths))
        return rates[first : first + self.depths[stage]]


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            in_dim, out_dim, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.bn(self.c(x_BCHW))
        return out


class PatchEmbed(nn.Module):
    """Two strided 3x3 convolutions: image to a map of stride 4."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, embed_dim // 2, kernel=3, stride=2),
            nn.GELU(),
            ConvNorm(embed_dim // 2, embed_dim, kernel=3, stride=2),
        )

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        out: Tensor = self.seq(pixels_B3SS)
        return out


class MBConv(nn.Module):
    """Inverted residual: widen, filter each channel by 3x3, narrow, add the input."""

    def __init__(self, dim: int, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = dim * MBCONV_EXPANSION
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim)
        self.act = nn.GELU()
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.act(self.conv1(x_BCHW))
        x = self.act(self.conv2(x))
        out: Tensor = self.act(x_BCHW + self.drop_path(self.conv3(x)))
        return out


class Downsample(nn.Module):
    """Change the width and, by `stride`, the grid size between two stages."""

    def __init__(self, in_dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_dim, out_dim)
        self.conv2 = ConvNorm(out_dim, out_dim, kernel=3, stride=stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim)
        self.act = nn.GELU()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.conv3(self.act(self.conv2(self.act(self.conv1(x_BCHW)))))
        return out


class OffsetBiasAttention(nn.Module):
    """Window self-attention; each head learns a bias for each absolute offset (|dy|, |dx|)."""

    offset_index: Tensor

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        index, num_offsets = offset_index(window)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, num_offsets))
        self.register_buffer("offset_index", index.clone(), persistent=False)

    def forward(self, x_BNC: Tensor) -> Tensor:
        batch, tokens, channels = x_BNC.shape
        # The channels of qkv are grouped head by head: (heads, [q k v], D).
        qkv = self.qkv(self.norm(x_BNC)).view(batch, tokens, self.num_heads, -1)
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)
        bias = self.attention_biases[:, self.offset_index]
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(batch, tokens, channels))
        return projected


@cache
def offset_index(window: int) -> tuple[Tensor, int]:
    """Number each pair's absolute offset, in the order in which the offsets first appear.

    This order matches trained checkpoints: it goes through the offsets from the first position to
    all others, row by row.

    Returns:
        index (window**2, window**2) into the table of offsets; the number of offsets.
    """
    positions = list(product(range(window), range(window)))
    numbers: dict[tuple[int, int], int] = {}
    index = [
        numbers.setdefault((abs(y1 - y2), abs(x1 - x2)), len(numbers))
        for y1, x1 in positions
        for y2, x2 in positions
    ]
    # Always materialised, even if a model is created on the "meta" device before loading.
    table = torch.tensor(index, device="cpu").view(window**2, window**2)
    return table, len(numbers)


class Mlp(nn.Module):
    """Norm, then two linear layers with GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return out


class TinyViTBlock(nn.Module):
    """Window attention, a 3x3 depthwise convolution across the window borders, an MLP."""

    def __init__(
        self, dim: int, num_heads: int, window: int, mlp_ratio: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.window = window
        self.attn = OffsetBiasAttention(dim, num_heads, window)
        self.local_conv = ConvNorm(dim, dim, kernel=3, groups=dim)
        self.mlp = Mlp(dim, dim * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        size_hw = (x_BHWC.shape[1], x_BHWC.shape[2])
        windows, padded_hw = window_partition(x_BHWC, self.window)
        attended = self.attn(windows.flatten(1, 2)).view_as(windows)
        x_BHWC = x_BHWC + self.drop_path(window_merge(attended, padded_hw, size_hw))
        x_BHWC = self.local_conv(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = x_BHWC + self.drop_path(self.mlp(x_BHWC))
        return out


class ConvStage(nn.Module):
    """Stage 0: MBConv blocks, then the downsampling to stage 1."""

    def __init__(self, config: TinyViTConfig, downsample: Downsample) -> None:
        super().__init__()
        dim = config.embed_dims[0]
        self.blocks = Blocks(*(MBConv(dim, rate) for rate in config.drop_path_rates(0)))
        self.downsample = downsample

    def run_blocks(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.blocks(x_BCHW)
        return out


class AttentionStage(nn.Module):
    """Stages 1 to 3: attention blocks, then the downsampling (none after the last stage)."""

    def __init__(self, config: TinyViTConfig, stage: int, downsample: Downsample | None) -> None:
        super().__init__()
        dim, heads, window = (
            config.embed_dims[stage],
            config.num_heads[stage],
            config.window_sizes[stage],
        )
        self.blocks = Blocks(
            *(
                TinyViTBlock(dim, heads, window, config.mlp_ratio, rate)
                for rate in config.drop_path_rates(stage)
            )
        )
        self.downsample = downsample

    def run_blocks(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.blocks(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class TinyViT(nn.Module):
    """Normalised pixels (B, 3, S, S) to features (B, 256, S / 16, S / 16)."""

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.patch_embed = PatchEmbed(dims[0])
        downsamples = [
            Downsample(dims[i], dims[i + 1], stride) for i, stride in enumerate(DOWNSAMPLE_STRIDES)
        ]
        self.layers = nn.ModuleList(
            [
                ConvStage(config, downsamples[0]),
                AttentionStage(config, 1, downsamples[1]),
                AttentionStage(config, 2, downsamples[2]),
                AttentionStage(config, 3, None),
            ]
        )
        self.neck = Neck(dims[3], config.out_channels)

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        return self.levels(pixels_B3SS)[-1]

    def levels(self, pixels_B3SS: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the first three stages, of strides 4, 8 and 16, and the features."""
        x_BCHW = self.patch_embed(pixels_B3SS)
        levels = []
        for layer in self.layers:
            x_BCHW = layer.run_blocks(x_BCHW)  # type: ignore[operator]
            levels.append(x_BCHW)
            if layer.downsample is not None:
                x_BCHW = layer.downsample(x_BCHW)  # type: ignore[operator]
        return (*levels[:-1], self.neck(x_BCHW))
