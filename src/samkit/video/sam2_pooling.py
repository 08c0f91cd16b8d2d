"""Where SAM 2 looks closely: what is pooled of a frame and of an object's memory.

Shape legend: L side of the mask logits, B blocks along a side of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samkit.models import GridPooling, MemoryPooling, RememberedFrame

# Rings of blocks around the object that are not pooled: in its maps, and in a frame, where it may
# have moved. With blocks of 4 cells a ring is 64 of 1024 pixels wide.
MAP_RINGS, IMAGE_RINGS = 1, 2


def blocks_with(logits: Tensor, blocks: int) -> Tensor:
    """Blocks (B, B) with pixels of a mask, bool, of its logits (L, L)."""
    inside = (logits > 0).float()[None]
    return nn.functional.adaptive_max_pool2d(inside, blocks)[0] > 0


def grow(blocks: Tensor, rings: int) -> Tensor:
    """Blocks (B, B) and those around them."""
    size = 2 * rings + 1
    return nn.functional.max_pool2d(blocks.float()[None], size, stride=1, padding=rings)[0] > 0


def pooling_for(
    frames: Sequence[RememberedFrame], near: Tensor | None, cells: int
) -> MemoryPooling:
    """How a frame and an object's maps are pooled.

    Args:
        frames: the maps, with the blocks in which the object is.
        near: blocks in which it was in the frame before; None if it is searched in all of this one.
        cells: side of a block.
    """
    seen = [frame.near for frame in frames if frame.near is not None]
    fine = torch.ones_like(seen[0]) if near is None else grow(near, IMAGE_RINGS)
    return MemoryPooling(
        GridPooling.around(fine, cells),
        [GridPooling.around(grow(one, MAP_RINGS), cells) for one in seen],
    )
