import pytest
import torch
from torch import nn

from samkit.models.layers import LayerNorm2d, window_merge, window_partition


@pytest.mark.parametrize("window", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size_hw", [(6, 6), (7, 5), (2, 9)])
def test_merging_windows_undoes_partition(window: int, size_hw: tuple[int, int]) -> None:
    x_BHWC = torch.randn(2, *size_hw, 3)
    windows, padded_hw = window_partition(x_BHWC, window)
    assert torch.equal(window_merge(windows, padded_hw, size_hw), x_BHWC)


def test_padding_fills_the_last_windows_with_zeros() -> None:
    windows, padded_hw = window_partition(torch.ones(2, 7, 5, 3), 4)
    assert padded_hw == (8, 8)
    assert windows.shape == (2 * 2 * 2, 4, 4, 3)
    assert windows.sum() == 2 * 7 * 5 * 3
    last = windows[3, :, :, 0]  # of the first image: 3 rows and 1 column are of the map
    assert last.sum() == last[:3, :1].sum() == 3


def test_windows_come_row_by_row_and_image_by_image() -> None:
    x_BHWC = torch.arange(2 * 6 * 9).view(2, 6, 9, 1)
    windows, padded_hw = window_partition(x_BHWC, 3)
    assert padded_hw == (6, 9)
    for number, window in enumerate(windows):
        image, rest = divmod(number, 2 * 3)
        row, col = divmod(rest, 3)
        expected = x_BHWC[image, 3 * row : 3 * row + 3, 3 * col : 3 * col + 3]
        assert torch.equal(window, expected)


def test_layer_norm_2d_is_a_layer_norm_over_channels() -> None:
    own, reference = LayerNorm2d(6), nn.LayerNorm(6, eps=1e-6)
    with torch.no_grad():
        for mine, other in zip(own.parameters(), reference.parameters(), strict=True):
            other.copy_(mine.copy_(torch.randn(6)))
    x_BCHW = 3 + 2 * torch.randn(2, 6, 4, 5)
    expected = reference(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(own(x_BCHW), expected)
