"""SAM's image encoder: a plain ViT with windowed and global attention.

Source: arXiv:2304.02643, appendix A; ViTDet, arXiv:2203.16527; relative positions as in MViTv2,
arXiv:2112.01526. Shape legend: B batch, N tokens, C channels, H x W token grid, D channels per
head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samkit.models.layers import (
    Blocks,
    DropPath,
    Neck,
    TransformerMlp,
    drop_path_rates,
    window_merge,
    window_partition,
)

LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Configuration of a ViT image encoder; `global_blocks` use global attention, others windows.

    `drop_path` is the last block's rate in training; it does not affect the weights.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    mlp_ratio: int = 4
    out_channels: int = 256
    drop_path: float = 0.0

    @property
    def grid_size(self) -> int:
        """Side of the token grid (and of the embedding), in tokens."""
        return self.image_size // self.patch_size


class PatchEmbed(nn.Module):
    """Image to patch tokens: a convolution whose stride equals its kernel size."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixels_B3HW: Tensor) -> Tensor:
        """Return tokens (B, H / patch, W / patch, C)."""
        tokens: Tensor = self.proj(pixels_B3HW)
        return tokens.permute(0, 2, 3, 1)


class RelPosAttention(nn.Module):
    """Self-attention over a square grid, with decomposed relative positions.

    The logit of query (i, j) and key (k, l) gains q . rel_pos_h[i - k] + q . rel_pos_w[j - l];
    unlike the content logit, these two terms use the unscaled query.
    """

    def __init__(self, dim: int, num_heads: int, grid_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid_size - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid_size - 1, head_dim))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        batch, height, width, channels = x_BHWC.shape
        qkv = self.qkv(x_BHWC).view(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D)
        bias = self.position_bias(q, height, width)
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = out.transpose(1, 2).reshape(batch, height, width, channels)
        projected: Tensor = self.proj(out)
        return projected

    def attend_tokens(self, x_BNC: Tensor) -> Tensor:
        """The same over any set of tokens, without relative positions."""
        batch, tokens, channels = x_BNC.shape
        qkv = self.qkv(x_BNC).view(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(batch, tokens, channels))
        return projected

    def position_bias(self, q: Tensor, height: int, width: int) -> Tensor:
        """Bias (B, heads, N, N) that the relative positions add to the attention logits."""
        table_h = relative_table(self.rel_pos_h, height)  # (H, H, D)
        table_w = relative_table(self.rel_pos_w, width)  # (W, W, D)
        grid = q.view(*q.shape[:2], height, width, -1)  # (B, heads, H, W, D)
        bias_h = torch.einsum("bnhwd,hkd->bnhwk", grid, table_h)
        bias_w = torch.einsum("bnhwd,wkd->bnhwk", grid, table_w)
        bias = bias_h[..., :, None] + bias_w[..., None, :]  # (B, heads, H, W, H, W)
        return bias.flatten(2, 3).flatten(3, 4)


def relative_table(rel_pos: Tensor, size: int) -> Tensor:
    """Embedding (size, size, D) of each pair's offset, from a table (2 * size - 1, D)."""
    position = torch.arange(size, device=rel_pos.device)
    return rel_pos[position[:, None] - position[None, :] + size - 1]


class Block(nn.Module):
    """Pre-norm transformer block; `window_size` 0 means attention over the full grid."""

    def __init__(self, config: ViTConfig, window_size: int, drop_path: float = 0.0) -> None:
        super().__init__()
        dim = config.embed_dim
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = RelPosAttention(dim, config.num_heads, window_size or config.grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = TransformerMlp(dim, dim * config.mlp_ratio, nn.GELU)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = x_BHWC + self.drop_path(self.attend(self.norm1(x_BHWC)))
        out: Tensor = x_BHWC + self.drop_path(self.mlp(self.norm2(x_BHWC)))
        return out

    def forward_tokens(self, x_BNC: Tensor) -> Tensor:
        """The same over any set of tokens: no windows, no relative positions."""
        x_BNC = x_BNC + self.drop_path(self.attn.attend_tokens(self.norm1(x_BNC)))
        out: Tensor = x_BNC + self.drop_path(self.mlp(self.norm2(x_BNC)))
        return out

    def attend(self, x_BHWC: Tensor) -> Tensor:
        if not self.window_size:
            attended: Tensor = self.attn(x_BHWC)
            return attended
        # Padding comes after the norm, and padded tokens take part as keys, as in SAM's training.
        windows, padded_hw = window_partition(x_BHWC, self.window_size)
        return window_merge(self.attn(windows), padded_hw, (x_BHWC.shape[1], x_BHWC.shape[2]))


class ImageEncoderViT(nn.Module):
    """ViT-B, -L or -H: normalised pixels (B, 3, S, S) to features (B, 256, S / 16, S / 16)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        grid = config.grid_size
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, config.embed_dim))
        self.blocks = Blocks(
            *(
                Block(config, 0 if i in config.global_blocks else config.window_size, rate)
                for i, rate in enumerate(drop_path_rates(config.drop_path, config.depth))
            )
        )
        self.neck = Neck(config.embed_dim, config.out_channels)

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        x_BHWC = self.blocks(self.patch_embed(pixels_B3SS) + self.pos_embed)
        features: Tensor = self.neck(x_BHWC.permute(0, 3, 1, 2))
        return features
