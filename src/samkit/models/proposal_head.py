"""A dense head that proposes boxes of everything in an image, on an image encoder's features.

It is anchor-free like FCOS (arXiv:1904.01355): each position of four grids, of half, once, twice
and four times the stride of the features, says how good its box is and how far the box reaches to
each side. The coarser grids' context is added to the finer ones (arXiv:1612.03144).

Shape legend: B images, C channels, G side of the features, H x W a grid, N positions of all
grids, finest first.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

KERNEL = 5  # of the depthwise convolutions
EXPANSION = 2
PRIOR = 0.01  # initial objectness (arXiv:1708.02002)
MAX_LOG_REACH = 6.0  # exp of it, in strides, is more than any image


@dataclass(frozen=True, kw_only=True)
class ProposalHeadConfig:
    """Configuration of a proposal head.

    Attributes:
        in_channels: channels of the features.
        stride: pixels of the model's input for each position of the features.
        width: channels of the grids of this stride and coarser ones.
        fine_width: channels of the finest grid.
    """

    in_channels: int = 256
    stride: int = 16
    width: int = 96
    fine_width: int = 48

    @property
    def strides(self) -> tuple[int, int, int, int]:
        """Strides of the grids, finest first."""
        return self.stride // 2, self.stride, self.stride * 2, self.stride * 4


class ConvBlock(nn.Module):
    """Depthwise convolution, norm and MLP, added to the input (arXiv:2201.03545)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, EXPANSION * dim)
        self.act = nn.ReLU()
        self.narrow = nn.Linear(EXPANSION * dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        near = self.filter(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = x_BHWC + self.narrow(self.act(self.widen(self.norm(near))))
        return out


class Halve(nn.Module):
    """A grid of half the side: each 2 x 2 positions become one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.merge = nn.Linear(4 * dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        batch, height, width, dim = x_BHWC.shape
        fours = self.norm(x_BHWC).view(batch, height // 2, 2, width // 2, 2, dim)
        out: Tensor = self.merge(fours.transpose(2, 3).flatten(3))
        return out


class Double(nn.Module):
    """A grid of twice the side: each position becomes 2 x 2."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.split = nn.Linear(in_dim, 4 * out_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        batch, height, width, _ = x_BHWC.shape
        fours = self.split(self.norm(x_BHWC)).view(batch, height, width, 2, 2, -1)
        out: Tensor = fours.transpose(2, 3).reshape(batch, 2 * height, 2 * width, -1)
        return out


class ProposalHead(nn.Module):
    """Features (B, C, H, W) to objectness logits (B, N) and boxes (B, N, 4) in model pixels."""

    def __init__(self, config: ProposalHeadConfig) -> None:
        super().__init__()
        self.config = config
        width, fine = config.width, config.fine_width
        self.stem = nn.Sequential(
            nn.LayerNorm(config.in_channels), nn.Linear(config.in_channels, width), nn.ReLU()
        )
        self.coarser = nn.ModuleList(
            nn.Sequential(Halve(width), ConvBlock(width)) for _ in range(2)
        )
        self.finer = Double(width, fine)
        widths = (fine, width, width, width)
        self.refine = nn.ModuleList(ConvBlock(dim) for dim in widths)
        self.outputs = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 5)) for dim in widths
        )
        for output in self.outputs:
            last = output[1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
            nn.init.constant_(last.bias[:1], math.log(PRIOR / (1 - PRIOR)))

    def forward(self, features_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        grids = [self.stem(features_BCHW.permute(0, 2, 3, 1).contiguous())]
        for layer in self.coarser:
            grids.append(layer(grids[-1]))
        for index in (1, 0):
            grids[index] = grids[index] + doubled(grids[index + 1])
        grids.insert(0, self.finer(grids[0]))
        objectness, boxes = [], []
        for index, x_BHWC in enumerate(grids):
            out_BN5 = self.outputs[index](self.refine[index](x_BHWC)).flatten(1, 2).float()
            stride = self.config.strides[index]
            centers_N2 = grid_centers(x_BHWC.shape[1], x_BHWC.shape[2], stride).to(out_BN5)
            reach_BN4 = out_BN5[..., 1:].clamp(max=MAX_LOG_REACH).exp() * stride
            low, high = centers_N2 - reach_BN4[..., :2], centers_N2 + reach_BN4[..., 2:]
            objectness.append(out_BN5[..., 0])
            boxes.append(torch.cat([low, high], dim=-1))
        return torch.cat(objectness, dim=1), torch.cat(boxes, dim=1)

    def crop(self, features_BCGG: Tensor, visible_wh: tuple[float, float]) -> Tensor:
        """Cut off the padding around an image of this size in the model's input.

        Both sides become multiples of what the coarsest grid needs.
        """
        multiple = self.config.strides[-1] // self.config.stride
        width, height = (
            math.ceil(side / self.config.strides[-1]) * multiple for side in visible_wh
        )
        return features_BCGG[..., :height, :width]

    def centers(self, height: int, width: int) -> Tensor:
        """Centres (N, 2) of all positions in model pixels, for features (C, height, width)."""
        sides = [(2 * height, 2 * width)]
        sides += [(height // part, width // part) for part in (1, 2, 4)]
        pairs = zip(sides, self.config.strides, strict=True)
        return torch.cat([grid_centers(*side, stride) for side, stride in pairs])


def grid_centers(height: int, width: int, stride: int) -> Tensor:
    """Centres (H * W, 2) of a grid's cells in model pixels, xy, row by row."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride


def doubled(x_BHWC: Tensor) -> Tensor:
    """A grid of twice the side, each position four times."""
    return x_BHWC.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
