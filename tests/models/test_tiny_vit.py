from collections.abc import Callable

import pytest
import torch

from samkit.models.tiny_vit import OffsetBiasAttention, TinyViT, TinyViTConfig, offset_index

CONFIG = TinyViTConfig(
    embed_dims=(8, 8, 16, 16),
    depths=(1, 1, 2, 1),
    num_heads=(1, 2, 2, 4),
    window_sizes=(3, 3, 4, 3),  # of grids of 10, 5 and 5, so that padding takes part
    image_size=80,
    out_channels=8,
)


@pytest.fixture
def encoder(randomise: Callable[..., None]) -> TinyViT:
    model = TinyViT(CONFIG)
    randomise(model)
    return model.eval()


@pytest.mark.parametrize("window", [1, 2, 7, 14])
def test_offset_index_is_symmetric_and_starts_by_counting(window: int) -> None:
    index, num_offsets = offset_index(window)
    assert num_offsets == window**2
    assert torch.equal(index, index.T)
    assert torch.equal(index[0], torch.arange(window**2))
    assert torch.equal(index.diagonal(), torch.zeros(window**2, dtype=index.dtype))


def test_offset_index_tells_absolute_offsets_apart_and_nothing_else() -> None:
    index, _ = offset_index(4)
    y, x = torch.arange(16) // 4, torch.arange(16) % 4
    offset = 4 * (y[:, None] - y).abs() + (x[:, None] - x).abs()
    assert torch.equal(index, offset)


def test_bias_reaches_each_head_and_pair(randomise: Callable[..., None]) -> None:
    attention = OffsetBiasAttention(dim=8, num_heads=2, window=3)
    randomise(attention)
    with torch.no_grad():
        attention.qkv.weight[:].view(2, 3, 4, 8)[:, :2] = 0  # no content: only the bias decides
        attention.qkv.bias[:].view(2, 3, 4)[:, :2] = 0
    x_BNC = torch.randn(2, 9, 8)
    value = attention.qkv(attention.norm(x_BNC)).view(2, 9, 2, 3, 4)[..., 2, :]
    weights = attention.attention_biases[:, offset_index(3)[0]].softmax(-1)
    mixed = torch.einsum("hqk,bkhd->bqhd", weights, value).flatten(2)
    torch.testing.assert_close(attention(x_BNC), attention.proj(mixed))


def test_a_batch_of_images_equals_a_loop(encoder: TinyViT) -> None:
    pixels = torch.randn(3, 3, 80, 80)
    together = encoder(pixels)
    assert together.shape == (3, 8, 5, 5)
    one_by_one = torch.cat([encoder(image[None]) for image in pixels])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(encoder: TinyViT) -> None:
    encoder.train()
    encoder(torch.randn(2, 3, 80, 80)).square().sum().backward()
    without = [
        name
        for name, parameter in encoder.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert without == []


def test_index_is_real_where_the_weights_are_not_yet() -> None:
    with torch.device("meta"):
        model = TinyViT(CONFIG)
    assert torch.equal(model.layers[2].blocks[0].attn.offset_index, offset_index(4)[0])
