"""Weights with which a memory begins: it finds again what looks alike, before any training.

Random weights attend to all of a memory alike, and what they bring back is the same for all cells
but for a thousandth of their size, so that a training learns what needs no memory, and stays there.
Even random features of an image tell its objects from each other: so queries and keys begin as the
image's own channels, and values as the mask.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from samkit.models import Sam2

MASK_SHARE = 4  # one channel in so many of a memory is for the mask
GRID_STD = 0.56  # of the grid's channels, in image encoders with random weights
MASK_GAIN = 4.0  # makes the mask's channels as large as the image's
SHARPNESS = 3.0  # of queries; masks are brought back about as well with 1 to 8
VALUE_GAIN = 2.0  # so that a mask changes the image's tokens by about their own size


@torch.no_grad()
def begin_from_likeness(sam: Sam2) -> None:
    """Set the memory's projections; random numbers come from torch's global generator."""
    assert sam.memory is not None
    memory, encoder = sam.memory, sam.memory.encoder
    dim, own = sam.config.decoder.dim, memory.config.dim
    # Keys contain positions: in the channels that these change least, images are compared.
    by_change = memory.positions[0].std(dim=0).argsort(descending=True)
    of_mask, of_image = by_change[: own // MASK_SHARE], by_change[own // MASK_SHARE :]
    directions = nn.init.orthogonal_(torch.empty(dim, dim))
    compared = directions[: len(of_image)]
    written = directions[len(of_image) : own]

    image_weight = encoder.pix_feat_proj.weight.flatten(1).clone()
    image_weight[of_image], image_weight[of_mask] = compared / GRID_STD, 0
    _set(encoder.pix_feat_proj, image_weight)
    last = cast("nn.Conv2d", encoder.mask_downsampler.encoder[-1])
    mask_weight = MASK_GAIN * last.weight.flatten(1)
    mask_weight[of_image] = 0
    _set(last, mask_weight)
    _set(encoder.out_proj, torch.eye(own, dim))
    for layer in memory.attention.layers:
        attention: Any = layer.cross_attn_image
        _set(attention.q_proj, SHARPNESS * torch.eye(dim))
        key_weight, value_weight = torch.zeros(dim, own), torch.zeros(dim, own)
        key_weight[:, of_image] = compared.T
        value_weight[:, of_mask] = VALUE_GAIN * written.T
        _set(attention.k_proj, key_weight)
        _set(attention.v_proj, value_weight)
        _set(attention.out_proj, torch.eye(dim))


def _set(layer: nn.Module, weight: Tensor) -> None:
    """Set a linear layer, or a convolution of single pixels; its bias becomes 0."""
    layer = cast("nn.Linear | nn.Conv2d", layer)
    layer.weight.copy_(weight.view_as(layer.weight))
    assert layer.bias is not None
    layer.bias.zero_()
