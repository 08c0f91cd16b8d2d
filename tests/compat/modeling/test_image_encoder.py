"""The image encoder by the original's arguments, and with wrapped layers (LoRA)."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

from samkit.compat.segment_anything.errors import SettingError
from samkit.compat.segment_anything.modeling import ImageEncoderViT
from samkit.compat.segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    window_partition,
    window_unpartition,
)

SMALL = {"img_size": 64, "embed_dim": 16, "depth": 2, "num_heads": 2, "out_chans": 8}


def test_names_and_defaults_are_the_originals():
    parameters = inspect.signature(ImageEncoderViT).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "img_size": 1024,
        "patch_size": 16,
        "in_chans": 3,
        "embed_dim": 768,
        "depth": 12,
        "num_heads": 12,
        "mlp_ratio": 4.0,
        "out_chans": 256,
        "qkv_bias": True,
        "norm_layer": nn.LayerNorm,
        "act_layer": nn.GELU,
        "use_abs_pos": True,
        "use_rel_pos": False,
        "rel_pos_zero_init": True,
        "window_size": 0,
        "global_attn_indexes": (),
    }


def test_arguments_shape_the_network():
    encoder = ImageEncoderViT(
        **SMALL,
        patch_size=8,
        in_chans=4,
        mlp_ratio=2.5,
        qkv_bias=False,
        norm_layer=partial(nn.LayerNorm, eps=0.5),
        act_layer=nn.ReLU,
        use_rel_pos=True,
        rel_pos_zero_init=False,
        window_size=3,
        global_attn_indexes=(1,),
    )
    first, second = encoder.blocks
    assert encoder.img_size == 64
    assert encoder.patch_embed.proj.weight.shape == (16, 4, 8, 8)
    assert encoder.pos_embed.shape == (1, 8, 8, 16)
    assert first.norm1.eps == 0.5
    assert first.mlp.lin1.out_features == 40
    assert isinstance(first.mlp.act, nn.ReLU)
    assert first.attn.qkv.bias is None
    assert (first.window_size, second.window_size) == (3, 0)
    assert first.attn.rel_pos_h.shape == (5, 8)
    assert second.attn.rel_pos_w.shape == (15, 8)
    assert second.attn.rel_pos_w.std() > 0.1
    assert encoder(torch.randn(2, 4, 64, 64)).shape == (2, 8, 8, 8)


def test_positions_may_be_left_out():
    encoder = ImageEncoderViT(**SMALL, use_abs_pos=False)
    assert encoder.pos_embed is None
    assert not [name for name in encoder.state_dict() if "pos" in name]
    # Without any positions, patches that change places take their features along.
    encoder.neck = nn.Identity()
    pixels = torch.randn(1, 3, 64, 64)
    turned = encoder(pixels.unflatten(2, (4, 16)).flip(2).flatten(2, 3))
    torch.testing.assert_close(turned.flip(2), encoder(pixels), rtol=0, atol=1e-5)


def test_relative_positions_of_windows_and_of_the_whole_grid_agree():
    """A window as large as the grid is the grid."""
    torch.manual_seed(1)
    settings = {"dim": 16, "num_heads": 2, "use_rel_pos": True, "rel_pos_zero_init": False}
    whole = Block(**settings, window_size=0, input_size=(4, 4))
    windowed = Block(**settings, window_size=4)
    windowed.load_state_dict(whole.state_dict())
    x = torch.randn(1, 4, 4, 16)
    torch.testing.assert_close(windowed(x), whole(x), rtol=0, atol=1e-6)


def test_relative_positions_need_the_grids_size(refusal):
    with refusal(SettingError, "input_size"):
        Attention(16, 2, use_rel_pos=True)


def test_windows_come_back_together(refusal):
    x = torch.randn(2, 5, 7, 3)
    windows, padded_hw = window_partition(x, 3)
    assert torch.equal(window_unpartition(windows, 3, padded_hw, (5, 7)), x)
    with refusal(SettingError, "sides of 2"):
        window_unpartition(windows, 2, padded_hw, (5, 7))


class LoraQkv(nn.Module):
    """Low-rank updates of queries and values, as public fine-tuning programs write them."""

    def __init__(self, qkv, rank):
        super().__init__()
        self.qkv = qkv
        self.dim = qkv.in_features
        self.down_q, self.up_q, self.down_v, self.up_v = (
            nn.Linear(*widths, bias=False) for widths in 2 * [(self.dim, rank), (rank, self.dim)]
        )
        nn.init.zeros_(self.up_q.weight)
        nn.init.zeros_(self.up_v.weight)

    def forward(self, x):
        qkv = self.qkv(x)  # B, H, W, 3 * C
        qkv[:, :, :, : self.dim] += self.up_q(self.down_q(x))
        qkv[:, :, :, -self.dim :] += self.up_v(self.down_v(x))
        return qkv


def test_lora_on_the_blocks_learns(sam):
    encoder = sam.image_encoder
    pixels = torch.randn(2, 3, 128, 128)
    before = encoder(pixels).detach()
    encoder.requires_grad_(False)
    for block in encoder.blocks:
        block.attn.qkv = LoraQkv(block.attn.qkv, rank=2)
    assert torch.equal(encoder(pixels), before)  # updates start at zero

    ups = [up for block in encoder.blocks for up in (block.attn.qkv.up_q, block.attn.qkv.up_v)]
    for up in ups:
        nn.init.normal_(up.weight)
    target = encoder(pixels).detach()  # what some update would give
    for up in ups:
        nn.init.zeros_(up.weight)

    trained = [p for p in encoder.parameters() if p.requires_grad]
    assert len(trained) == 4 * len(encoder.blocks)
    optimizer = torch.optim.Adam(trained, lr=0.05)
    losses = []
    for _ in range(15):
        loss = (encoder(pixels) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses
    assert all(block.attn.qkv.up_q.weight.any() for block in encoder.blocks)
    lora = {name for name in encoder.state_dict() if ".up_" in name or ".down_" in name}
    assert len(lora) == 4 * len(encoder.blocks)


@pytest.mark.parametrize("wrapped", ["qkv", "proj"])
def test_layers_of_attention_are_called_on_maps(sam, wrapped):
    shapes = []
    for block in sam.image_encoder.blocks:
        layer = getattr(block.attn, wrapped)
        layer.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    sam.image_encoder(torch.randn(1, 3, 128, 128))
    # 8 x 8 tokens in 3 x 3 windows of 3 x 3, or all of them
    assert shapes == 2 * [(9, 3, 3, 32), (1, 8, 8, 32)]
