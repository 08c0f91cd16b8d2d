"""The ViT image encoder, assembled from the original's arguments.

The blocks are those of `samkit.models.vit`, whose attention calls `qkv` on (B, H, W, C) and `proj`
on the result: programs that wrap these layers (LoRA) find the layout that they expect.

Source: arXiv:2304.02643, appendix A. Shape legend: B images, or windows of them, H x W token grid,
C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from samkit.compat.segment_anything.errors import SettingError
from samkit.compat.segment_anything.modeling.common import MLPBlock
from samkit.models import Block as NetworkBlock
from samkit.models import Neck, RelPosAttention, TinyViTConfig, window_merge, window_partition
from samkit.models import TinyViT as TinyViTNetwork

__all__ = [
    "Attention",
    "Block",
    "ImageEncoderViT",
    "PatchEmbed",
    "TinyViT",
    "window_partition",
    "window_unpartition",
]


class ImageEncoderViT(nn.Module):
    """ViT with windowed and global attention: pixels (B, 3, S, S) to features (B, C, h, w)."""

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        out_chans: int = 256,
        qkv_bias: bool = True,  # noqa: FBT001, FBT002
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        act_layer: type[nn.Module] = nn.GELU,
        use_abs_pos: bool = True,  # noqa: FBT001, FBT002
        use_rel_pos: bool = False,  # noqa: FBT001, FBT002
        rel_pos_zero_init: bool = True,  # noqa: FBT001, FBT002
        window_size: int = 0,
        global_attn_indexes: tuple[int, ...] = (),
    ) -> None:
        """Build an encoder with fresh weights.

        Args:
            img_size: side of the square image, a multiple of `patch_size`.
            patch_size: side of a patch, which becomes one token.
            in_chans: channels of the image.
            embed_dim: width of the tokens.
            depth: number of blocks.
            num_heads: attention heads in each block.
            mlp_ratio: hidden width of a block's MLP over `embed_dim`.
            out_chans: channels of the features.
            qkv_bias: whether queries, keys and values have a bias.
            norm_layer: factory of norms, given their width.
            act_layer: activation of the MLPs.
            use_abs_pos: learned absolute positions.
            use_rel_pos: learned relative positions in each attention.
            rel_pos_zero_init: start relative positions at zero, else at random.
            window_size: side of the windows in tokens; 0 for global attention everywhere.
            global_attn_indexes: blocks with global attention.
        """
        super().__init__()
        self.img_size = img_size
        grid = img_size // patch_size
        self.patch_embed = PatchEmbed(
            (patch_size, patch_size), (patch_size, patch_size), (0, 0), in_chans, embed_dim
        )
        self.pos_embed: nn.Parameter | None = None
        if use_abs_pos:
            self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                dim=embed_dim,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                norm_layer=norm_layer,
                act_layer=act_layer,
                use_rel_pos=use_rel_pos,
                rel_pos_zero_init=rel_pos_zero_init,
                window_size=0 if index in global_attn_indexes else window_size,
                input_size=(grid, grid),
            )
            for index in range(depth)
        )
        self.neck = Neck(embed_dim, out_chans)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return features


class PatchEmbed(nn.Module):
    """Image to patch tokens (B, H, W, C): a convolution."""

    def __init__(
        self,
        kernel_size: tuple[int, int] = (16, 16),
        stride: tuple[int, int] = (16, 16),
        padding: tuple[int, int] = (0, 0),
        in_chans: int = 3,
        embed_dim: int = 768,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x)
        return tokens.permute(0, 2, 3, 1)


class Block(NetworkBlock):
    """Pre-norm transformer block with attention in windows, or global for `window_size` 0."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,  # noqa: FBT001, FBT002
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        act_layer: type[nn.Module] = nn.GELU,
        use_rel_pos: bool = False,  # noqa: FBT001, FBT002
        rel_pos_zero_init: bool = True,  # noqa: FBT001, FBT002
        window_size: int = 0,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        nn.Module.__init__(self)  # the parent's modules are created here, from other arguments
        self.norm1 = norm_layer(dim)  # type: ignore[assignment]
        self.attn = Attention(
            dim,
            num_heads,
            qkv_bias,
            use_rel_pos,
            rel_pos_zero_init,
            (window_size, window_size) if window_size else input_size,
        )
        self.norm2 = norm_layer(dim)  # type: ignore[assignment]
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio), act_layer)
        self.window_size = window_size
        self.drop_path = nn.Identity()  # type: ignore[assignment]


class Attention(RelPosAttention):
    """Self-attention over a token grid (B, H, W, C), with optional relative positions."""

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        qkv_bias: bool = True,  # noqa: FBT001, FBT002
        use_rel_pos: bool = False,  # noqa: FBT001, FBT002
        rel_pos_zero_init: bool = True,  # noqa: FBT001, FBT002
        input_size: tuple[int, int] | None = None,
    ) -> None:
        """Build an attention.

        Raises:
            SettingError: relative positions without `input_size`, the (H, W) of the grid.
        """
        nn.Module.__init__(self)  # the parent's modules are created here, from other arguments
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.scale = head_dim**-0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.use_rel_pos = use_rel_pos
        if not use_rel_pos:
            return
        if input_size is None:
            raise SettingError("use_rel_pos needs input_size, the (H, W) of the token grid")
        init = torch.zeros if rel_pos_zero_init else torch.randn
        self.rel_pos_h = nn.Parameter(init(2 * input_size[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(init(2 * input_size[1] - 1, head_dim))

    def position_bias(  # type: ignore[override]
        self, q: Tensor, height: int, width: int
    ) -> Tensor | None:
        """Bias (B, heads, N, N) of the relative positions; None without them."""
        return super().position_bias(q, height, width) if self.use_rel_pos else None


class TinyViT(TinyViTNetwork):
    """MobileSAM's encoder: pixels (B, 3, S, S) to features (B, C, S / 16, S / 16)."""

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__(config)
        self.img_size = config.image_size


def window_unpartition(
    windows: Tensor, window_size: int, pad_hw: tuple[int, int], hw: tuple[int, int]
) -> Tensor:
    """Undo `window_partition`: windows back to a map (B, H, W, C).

    Args:
        windows: (B * number of windows, window_size, window_size, C).
        window_size: side of a window.
        pad_hw: (H, W) with padding, from `window_partition`.
        hw: (H, W) without.
    """
    if windows.shape[1] != window_size:
        raise SettingError(f"windows must have sides of {window_size}; got {windows.shape[1]}")
    return window_merge(windows, pad_hw, hw)
