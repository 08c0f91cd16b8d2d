"""SAM 2's neck: maps of a trunk's four stages to the levels that the model sees.

Source: SAM 2, arXiv:2408.00714, appendix D. Shape legend: B batch, C channels, H x W a stage's
map, S side of the input, G side of the grid that prompts attend to.
"""

from torch import Tensor, nn


class Lateral(nn.Module):
    """The projection of one stage."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel_size=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.conv(x_BCHW)
        return out

    def then(self, conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
        """Apply the projection and another one after it, as one: they are linear.

        The map between them, 64 MB of the finest level, need not be computed.
        """
        assert self.conv.bias is not None
        assert conv.bias is not None
        second = conv.weight.flatten(1)
        weight = second @ self.conv.weight.flatten(1)
        bias = second @ self.conv.bias + conv.bias
        return nn.functional.conv2d(x_BCHW, weight[..., None, None], bias)


class FpnNeck(nn.Module):
    """Maps of the four stages to the levels of `ImageFeatures`, finest first.

    The two finest are projected for the mask decoder's upscaling. In published files these
    projections are the decoder's; here they belong to the image encoder, since they act once for
    each image: an embedding takes a fifth of the memory, and is not stale when a decoder was
    trained further.

    Its weights may have a higher precision than the rest of the encoder.
    """

    def __init__(self, stage_dims: tuple[int, ...], out_dim: int) -> None:
        super().__init__()
        # Coarsest first, as in published files.
        self.convs = nn.ModuleList(Lateral(dim, out_dim) for dim in reversed(stage_dims))
        self.conv_s0 = nn.Conv2d(out_dim, out_dim // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(out_dim, out_dim // 4, kernel_size=1)

    def forward(self, stages: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        dtype = self.conv_s0.weight.dtype
        finest, finer, grid, coarse = (stage.to(dtype) for stage in stages)
        to_coarse, to_grid, to_finer, to_finest = self.convs
        above = nn.functional.interpolate(to_coarse(coarse), scale_factor=2.0, mode="nearest")
        return (
            to_finest.then(self.conv_s0, finest),  # type: ignore[operator]
            to_finer.then(self.conv_s1, finer),  # type: ignore[operator]
            to_grid(grid) + above,
        )


class FpnEncoder(nn.Module):
    """Pixels (B, 3, S, S) to levels (B, 32, 4 G, 4 G), (B, 64, 2 G, 2 G) and (B, 256, G, G).

    The trunk gives the maps of the four stages, finest first.
    """

    def __init__(self, trunk: nn.Module, stage_dims: tuple[int, ...], out_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = FpnNeck(stage_dims, out_dim)

    def forward(self, pixels_B3SS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels: tuple[Tensor, Tensor, Tensor] = self.neck(self.trunk(pixels_B3SS))
        return levels
