"""Grids that are fine in some blocks and pooled in the others."""

import pytest
import torch
from torch import Tensor

from samkit.models import (
    GridPooling,
    Memory,
    MemoryPooling,
    RememberedFrame,
    RememberedPointer,
    Sam2,
)
from samkit.models.memory_attention import AxialRope, RopeAttention

GRID, SIZE = 8, 2


def pooling(*fine: tuple[int, int]) -> GridPooling:
    blocks = torch.zeros(GRID // SIZE, GRID // SIZE, dtype=torch.bool)
    for row, column in fine:
        blocks[row, column] = True
    return GridPooling.around(blocks, SIZE)


def test_tokens_are_fine_cells_and_means_of_the_other_blocks() -> None:
    cells = torch.arange(GRID * GRID).float().view(1, -1, 1)
    tokens = pooling((1, 2)).pool(cells)[0, :, 0].tolist()
    assert tokens[:4] == [20, 21, 28, 29]  # rows 2 and 3, columns 4 and 5
    assert tokens[4:6] == [4.5, 6.5]  # blocks of rows 0 and 1
    assert len(tokens) == 4 + 15


def test_tokens_stand_for_all_cells() -> None:
    some = pooling((0, 0), (3, 1))
    assert float(some.log_sizes().exp().sum()) == pytest.approx(GRID * GRID)
    cells = torch.randn(2, GRID * GRID, 3)
    unpooled = some.unpool(some.pool(cells))
    torch.testing.assert_close(unpooled.mean(1), cells.mean(1))
    grid, given = (x.view(2, GRID, GRID, 3) for x in (unpooled, cells))
    assert torch.equal(grid[:, 6:, 2:4], given[:, 6:, 2:4])
    assert torch.equal(grid[:, 0, 2], grid[:, 1, 3])


def test_keys_that_are_alike_may_be_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all cells of a block are the same, wherever they are, nothing is lost."""
    monkeypatch.setattr(AxialRope, "forward", lambda _, x, *__, **___: x)
    attention = RopeAttention(32, 8, num_heads=2, grid=GRID)
    some = pooling((1, 1), (1, 2))
    values = some.unpool(some.pool(torch.randn(1, GRID * GRID, 8)))
    q = torch.randn(1, 5, 32)
    places = AxialRope(16, GRID).places([some])
    alike = attention(q, some.pool(values), some.pool(values), k_places=places)
    torch.testing.assert_close(alike, attention(q, values, values), atol=1e-5, rtol=1e-5)


def test_rotations_without_gradients_are_the_same() -> None:
    rope, x = AxialRope(16, GRID), torch.randn(2, 3, GRID * GRID + 2, 16)
    with_gradients = rope(x, num_still=2)
    with torch.no_grad():
        torch.testing.assert_close(rope(x, num_still=2), with_gradients, atol=1e-6, rtol=1e-5)


def recall(memory: Memory, begun: Tensor, maps: Tensor, how: MemoryPooling | None) -> Tensor:
    frames = [RememberedFrame(one, steps) for steps, one in enumerate(maps)]
    pointers = [RememberedPointer(torch.linspace(-1, 1, 128)[None], 2)]
    return memory.recall(begun, frames, pointers, span=5, pooling=how)


@torch.no_grad()
def test_a_memory_that_is_fine_everywhere_is_not_pooled(tiny_sam2: Sam2) -> None:
    memory = tiny_sam2.memory
    assert memory is not None
    begun = memory.attention.begin(torch.randn(1, 128, GRID, GRID))
    maps = torch.randn(3, 1, 64, GRID, GRID)
    exact = recall(memory, begun, maps, None)
    fine = GridPooling.around(torch.ones(4, 4, dtype=torch.bool), SIZE)
    same = recall(memory, begun, maps, MemoryPooling(fine, [fine] * 3))
    torch.testing.assert_close(same, exact, atol=1e-4, rtol=1e-4)
    some = pooling((1, 1), (2, 1))
    other = recall(memory, begun, maps, MemoryPooling(some, [some] * 3))
    assert other.shape == exact.shape
    assert (other - exact).abs().max() > 0.01
