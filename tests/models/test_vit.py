from collections.abc import Callable

import pytest
import torch

from samkit.models.vit import ImageEncoderViT, RelPosAttention, ViTConfig, relative_table

CONFIG = ViTConfig(
    embed_dim=16,
    depth=2,
    num_heads=2,
    global_blocks=(1,),
    image_size=80,
    window_size=3,
    out_channels=8,
)


@pytest.fixture
def encoder(randomise: Callable[..., None]) -> ImageEncoderViT:
    model = ImageEncoderViT(CONFIG)
    randomise(model)
    return model.eval()


def test_relative_table_looks_up_the_offset_of_each_pair() -> None:
    offsets = torch.arange(-3, 4)[:, None]  # a table whose entries are the offsets themselves
    position = torch.arange(4)
    assert torch.equal(relative_table(offsets, 4)[..., 0], position[:, None] - position)


def test_position_bias_is_the_sum_of_a_row_and_a_column_term(
    randomise: Callable[..., None],
) -> None:
    attention = RelPosAttention(dim=8, num_heads=2, grid_size=3)
    randomise(attention)
    q = torch.randn(1, 2, 9, 4)
    bias = attention.position_bias(q, 3, 3).view(2, 3, 3, 3, 3)
    for i, j, k, m in torch.cartesian_prod(*[torch.arange(3)] * 4).tolist():
        query = q[0, :, 3 * i + j]
        row, col = attention.rel_pos_h[i - k + 2], attention.rel_pos_w[j - m + 2]
        torch.testing.assert_close(bias[:, i, j, k, m], query @ row + query @ col)


def test_a_window_sees_only_itself_and_a_global_block_everything(
    encoder: ImageEncoderViT,
) -> None:
    x_BHWC = torch.randn(1, 5, 5, 16)
    changed = x_BHWC.clone()
    changed[0, 0, 0] = torch.randn(16)
    moved = [(block(changed) - block(x_BHWC)).abs().sum(-1)[0] > 1e-6 for block in encoder.blocks]
    in_window = torch.zeros(5, 5, dtype=torch.bool)
    in_window[:3, :3] = True
    assert torch.equal(moved[0], in_window)
    assert moved[1].all()


def test_a_batch_of_images_equals_a_loop(encoder: ImageEncoderViT) -> None:
    pixels = torch.randn(3, 3, 80, 80)
    together = encoder(pixels)
    assert together.shape == (3, 8, 5, 5)
    one_by_one = torch.cat([encoder(image[None]) for image in pixels])
    torch.testing.assert_close(together, one_by_one)
