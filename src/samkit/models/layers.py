"""Building blocks shared by several networks.

Shape legend: B batch, P prompts, N tokens, C channels, H x W a grid.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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
        """The same for values with channels last (..., C); sums are accumulated in float32."""
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

    Its weights may have a higher precision than the rest of the encoder.
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


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a residual branch for some samples of a batch.

    The remaining branches are scaled up to preserve the expectation. Random numbers come from
    torch's own state, as for dropout.

    Source: arXiv:1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        survives = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(keep)
        return branch * (survives / keep)


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Drop rates of `depth` blocks, growing linearly from 0 to `last`."""
    return [last * i / max(1, depth - 1) for i in range(depth)]


class Blocks(nn.Sequential):
    """Blocks that run one after another; see `checkpoint_blocks`."""

    checkpointed = False

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = self._run(block, x)
        return x

    def outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the output of each block."""
        for block in self:
            x = self._run(block, x)
            yield x

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointed and torch.is_grad_enabled():
            contexts = partial(_recompute_contexts, block)
            out: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
        else:
            out = block(x)
        return out


def checkpoint_blocks(module: nn.Module, *, on: bool = True) -> None:
    """Store only the inputs of an encoder's blocks, and recompute the rest in the backward pass.

    Results and gradients are unchanged; activation memory shrinks to that of one block, and a
    training step takes about a third longer. Source: arXiv:1604.06174.
    """
    for part in module.modules():
        if isinstance(part, Blocks):
            part.checkpointed = on


def _recompute_contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first computation and of the recomputation of a block."""
    return nullcontext(), _statistics_held(block)


@contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    """Freeze the statistics of batch norms, which must not count a batch twice."""
    norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def window_partition(x_BHWC: Tensor, window: int) -> tuple[Tensor, tuple[int, int]]:
    """Split a map into windows, zero-padded at the bottom and right.

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
    """Undo `window_partition`: windows back to (B, H, W, C), without the padding."""
    window, channels = windows.shape[1], windows.shape[-1]
    rows, cols = padded_hw[0] // window, padded_hw[1] // window
    batch = windows.shape[0] // (rows * cols)
    x = windows.view(batch, rows, cols, window, window, channels).transpose(2, 3)
    x = x.reshape(batch, *padded_hw, channels)
    return x[:, : size_hw[0], : size_hw[1]]
