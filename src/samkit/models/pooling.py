"""Tokens of a grid that is fine in some blocks of cells and pooled in the others.

Attention costs the product of its queries and keys, and most of a frame has nothing to do with an
object: there, one token stands for a block. A key that stands for n cells counts n times, by log n
added to its logits, as in arXiv:2210.09461; its angle is the block's centre's.

Shape legend: P objects, N cells of a grid, T tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GridPooling:
    """Which blocks of a square grid are pooled.

    Tokens are the cells of fine blocks, block by block, then one token for each other block.

    Attributes:
        fine, pooled: numbers of blocks, by rows.
        blocks: number of blocks along a side.
        size: cells along a side of a block.
    """

    fine: Tensor
    pooled: Tensor
    blocks: int
    size: int

    @classmethod
    def around(cls, fine: Tensor, size: int) -> GridPooling:
        """The pooling of a grid whose blocks (B, B) are bool, True where they are fine."""
        flat = fine.flatten()
        return cls(flat.nonzero()[:, 0], (~flat).nonzero()[:, 0], len(fine), size)

    def pool(self, cells: Tensor) -> Tensor:
        """Cells (P, N, C) to tokens (P, T, C)."""
        side = (self.blocks, self.size)
        by_block = cells.view(len(cells), *side, *side, -1).transpose(2, 3).flatten(3, 4)
        by_block = by_block.flatten(1, 2)  # (P, blocks, cells of a block, C)
        means = by_block[:, self.pooled].mean(2)
        return torch.cat([by_block[:, self.fine].flatten(1, 2), means], dim=1)

    def unpool(self, tokens: Tensor) -> Tensor:
        """Tokens (P, T, C) to cells (P, N, C), all cells of a pooled block alike."""
        count, channels = len(tokens), tokens.shape[2]
        by_block = tokens.new_empty(count, self.blocks**2, self.size**2, channels)
        num_fine = len(self.fine) * self.size**2
        by_block[:, self.fine] = tokens[:, :num_fine].view(count, -1, self.size**2, channels)
        by_block[:, self.pooled] = tokens[:, num_fine:, None]
        grid = by_block.view(count, self.blocks, self.blocks, self.size, self.size, channels)
        return grid.transpose(2, 3).reshape(count, -1, channels)

    def log_sizes(self) -> Tensor:
        """Logarithms (T,) of the numbers of cells that tokens stand for."""
        num_fine = len(self.fine) * self.size**2
        sizes = torch.ones(num_fine + len(self.pooled), device=self.fine.device)
        sizes[num_fine:] = self.size**2
        return sizes.log()


class MemoryPooling(NamedTuple):
    """How a frame and the maps of one object's memory are pooled."""

    image: GridPooling
    maps: Sequence[GridPooling]
