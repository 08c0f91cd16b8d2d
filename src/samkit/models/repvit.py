"""EdgeTAM's image encoder: RepViT, a convolutional network in four stages, and SAM 2's neck.

Source: RepViT, arXiv:2307.09283; EdgeTAM, arXiv:2501.07256, section 3. Shape legend: B batch,
C channels, H x W a stage's map, S side of the input, G side of the grid that prompts attend to.
"""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from samkit.models.fpn_neck import FpnEncoder
from samkit.models.layers import Blocks, DropPath, drop_path_rates
from samkit.models.tiny_vit import ConvNorm

GRID_STRIDE = 16  # input pixels per position that prompts attend to
KERNEL = 3
MLP_RATIO = 2
SQUEEZE_RATIO, SQUEEZE_MULTIPLE = 4, 8  # of the channels between the layers of squeeze-and-excite


@dataclass(frozen=True, kw_only=True)
class RepViTConfig:
    """Configuration of a RepViT image encoder, one entry per stage; by default RepViT-M1.

    Attributes:
        stage_dims: channels.
        depths: blocks, besides those that make a map smaller.
        out_channels: channels of the level that prompts attend to.
        drop_path: the last block's rate in training; it does not affect the weights.
    """

    stage_dims: tuple[int, int, int, int] = (48, 96, 192, 384)
    depths: tuple[int, int, int, int] = (2, 2, 14, 2)
    image_size: int = 1024
    out_channels: int = 256
    drop_path: float = 0.0

    @property
    def grid_size(self) -> int:
        """Side of the level that prompts attend to, in positions."""
        return self.image_size // GRID_STRIDE


class TokenMixer(nn.Module):
    """Filters each channel by itself: 3 x 3, 1 x 1 and the identity, added up."""

    conv1: ConvNorm | None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = ConvNorm(dim, dim, kernel=KERNEL, groups=dim)
        self.conv1 = ConvNorm(dim, dim, groups=dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mixed: Tensor = self.conv(x_BCHW)
        return mixed if self.conv1 is None else mixed + self.conv1(x_BCHW) + x_BCHW

    @torch.no_grad()
    def merge(self) -> None:
        """Make it one convolution that does the same; batch norms must be folded before."""
        if self.conv1 is None:
            return
        only, centre = self.conv.c, KERNEL // 2
        assert only.bias is not None
        assert self.conv1.c.bias is not None
        only.weight[:, :, centre, centre] += self.conv1.c.weight[:, :, 0, 0] + 1
        only.bias += self.conv1.c.bias
        self.conv1 = None


class SqueezeExcite(nn.Module):
    """Scales each channel by what the means of all channels say. Source: arXiv:1709.01507."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        multiple = SQUEEZE_MULTIPLE
        hidden = max(multiple, (dim // SQUEEZE_RATIO + multiple // 2) // multiple * multiple)
        self.fc1 = nn.Conv2d(dim, hidden, kernel_size=1)
        self.fc2 = nn.Conv2d(hidden, dim, kernel_size=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        means = x_BCHW.mean((2, 3), keepdim=True)
        scaled: Tensor = x_BCHW * self.fc2(self.fc1(means).relu()).sigmoid()
        return scaled


class ChannelMixer(nn.Module):
    """Two 1 x 1 convolutions with a wider map between them, added to the input."""

    def __init__(self, dim: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, MLP_RATIO * dim)
        self.conv2 = ConvNorm(MLP_RATIO * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.conv1(x_BCHW))
        mixed: Tensor = x_BCHW + self.drop_path(self.conv2(hidden))
        return mixed


class RepViTBlock(nn.Module):
    """Mixes positions, then channels."""

    def __init__(self, dim: int, *, squeezes: bool, drop_path: float = 0.0) -> None:
        super().__init__()
        self.token_mixer = TokenMixer(dim)
        self.se = SqueezeExcite(dim) if squeezes else nn.Identity()
        self.channel_mixer = ChannelMixer(dim, drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mixed: Tensor = self.channel_mixer(self.se(self.token_mixer(x_BCHW)))
        return mixed


class RepViTDownsample(nn.Module):
    """A map to one of half the side and more channels."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.pre_block = RepViTBlock(dim, squeezes=False)
        self.spatial_downsample = ConvNorm(dim, dim, kernel=KERNEL, stride=2, groups=dim)
        self.channel_downsample = ConvNorm(dim, out_dim)
        self.ffn = ChannelMixer(out_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        smaller = self.spatial_downsample(self.pre_block(x_BCHW))
        out: Tensor = self.ffn(self.channel_downsample(smaller))
        return out


class RepViTStem(nn.Module):
    """Pixels (B, 3, S, S) to a map (B, C, S / 4, S / 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, dim // 2, kernel=KERNEL, stride=2)
        self.conv2 = ConvNorm(dim // 2, dim, kernel=KERNEL, stride=2)

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        out: Tensor = self.conv2(nn.functional.gelu(self.conv1(pixels_B3SS)))
        return out


class RepViTStage(nn.Module):
    """Blocks of one size of the map, of which every other one squeezes, beginning with the first.

    `in_dim` is None for the first stage, which makes nothing smaller; there is one block for each
    of `drop_paths`, their rates.
    """

    def __init__(self, in_dim: int | None, dim: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.downsample = nn.Identity() if in_dim is None else RepViTDownsample(in_dim, dim)
        self.blocks = Blocks(
            *(
                RepViTBlock(dim, squeezes=number % 2 == 0, drop_path=rate)
                for number, rate in enumerate(drop_paths)
            )
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.downsample(x_BCHW))
        return out


class RepViT(nn.Module):
    """The trunk: normalised pixels (B, 3, S, S) to a map of each stage, finest first."""

    def __init__(self, config: RepViTConfig) -> None:
        super().__init__()
        dims = config.stage_dims
        self.stem = RepViTStem(dims[0])
        rates = iter(drop_path_rates(config.drop_path, sum(config.depths)))
        self.stages = nn.ModuleList(
            RepViTStage(before, dim, list(islice(rates, depth)))
            for before, dim, depth in zip((None, *dims[:-1]), dims, config.depths, strict=True)
        )

    def forward(self, pixels_B3SS: Tensor) -> list[Tensor]:
        x = self.stem(pixels_B3SS)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class RepViTEncoder(FpnEncoder):
    """RepViT and SAM 2's neck."""

    def __init__(self, config: RepViTConfig) -> None:
        super().__init__(RepViT(config), config.stage_dims, config.out_channels)
        self.config = config
