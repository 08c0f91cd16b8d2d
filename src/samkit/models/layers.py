"""Blocks that several networks share.

Shape legend: B batch, P prompts, N tokens, C channels, H x W a grid.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (B, C, H, W) map, position by position."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.over_last(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def over_last(self, x: Tensor) -> Tensor:
        """The same for values whose channels come last (..., C); sums are kept in float32."""
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class TransformerMlp(nn.Module):
    """Two linear layers with an activation between them: C -> hidden -> C."""

    def __init__(self, dim: int, hidden_dim: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class Neck(nn.Sequential):
    """Bring encoder features to the decoder's width: 1x1 conv, norm, 3x3 conv, norm.

    Its weights may be of a higher precision than the rest of an encoder.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(
            nn.Conv2d(in_dim, out_dim, kernel_size=1, bias=False),
            LayerNorm2d(out_dim),
            nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_dim),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW.to(next(self.parameters()).dtype)
        for module in self:
            x_BCHW = module(x_BCHW)
        return x_BCHW


def window_partition(x_BHWC: Tensor, window: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut a map into windows, padding bottom and right with zeros.

    Returns:
        windows (B * num_windows, window, window, C) and the padded (H, W).
    """
    batch, height, width, channels = x_BHWC.shape
    pad_h, pad_w = -height % window, -width % window
    if pad_h or pad_w:
        x_BHWC = nn.functional.pad(x_BHWC, (0, 0, 0, pad_w, 0, pad_h))
    padded_hw = (height + pad_h, width + pad_w)
    rows, cols = padded_hw[0] // window, padded_hw[1] // window
    x = x_BHWC.view(batch, rows, window, cols, window, channels)
    windows = x.transpose(2, 3).reshape(batch * rows * cols, window, window, channels)
    return windows, padded_hw


def window_merge(windows: Tensor, padded_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Undo `window_partition`: windows back to (B, H, W, C), padding cut off."""
    window, channels = windows.shape[1], windows.shape[-1]
    rows, cols = padded_hw[0] // window, padded_hw[1] // window
    batch = windows.shape[0] // (rows * cols)
    x = windows.view(batch, rows, cols, window, window, channels).transpose(2, 3)
    x = x.reshape(batch, *padded_hw, channels)
    return x[:, : size_hw[0], : size_hw[1]]
