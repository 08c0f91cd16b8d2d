"""EdgeTAM's memory, part by part, against `transformers.EdgeTamVideoModel` on copied weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sam2_parity import video_pair
from samkit.models import RememberedFrame, RememberedPointer, Sam2

ATOL = 1e-4
SPAN = 5
SHARPENED = 4.0  # attention of random weights is nearly the same everywhere


@pytest.fixture(scope="module")
def pair(randomise: Callable[..., None]) -> tuple[Sam2, Any]:
    """A pair whose attention tells tokens apart."""
    ours, theirs = video_pair("tiny_edgetam", randomise)
    assert ours.memory is not None
    for model in (ours.memory.attention, theirs.memory_attention):
        for layer in model.layers:
            layer.cross_attn_image.k_proj.weight.data *= SHARPENED
    return ours, theirs


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("binarise", [True, False])
@torch.no_grad()
def test_what_is_remembered_of_a_frame_is_as_theirs(
    pair: tuple[Sam2, Any], *, binarise: bool
) -> None:
    ours, theirs = pair
    assert ours.memory is not None
    grid, masks = noise(1, 128, 8, 8, seed=1), 4 * noise(1, 1, 128, 128, seed=2)
    found = ours.memory.encode(grid, masks, torch.tensor([True]), binarise=binarise)
    tokens, places = type(theirs)._encode_new_memory(
        theirs, grid.flatten(2).permute(2, 0, 1), masks, torch.ones(1, 1), binarise
    )
    assert found.shape == (1, 64, 6 + 16)
    torch.testing.assert_close(found.transpose(1, 2), tokens, atol=ATOL, rtol=ATOL)
    torch.testing.assert_close(ours.memory.positions, places, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_frame_sees_memories_as_theirs(pair: tuple[Sam2, Any]) -> None:
    """A prompted frame and two others, and two pointers, which have no place."""
    ours, theirs = pair
    memory = ours.memory
    assert memory is not None
    grid, pointers = noise(1, 128, 8, 8, seed=3), noise(2, 1, 128, seed=4)
    maps, steps = noise(3, 1, 64, 22, seed=5), (0, 2, 1)
    frames = [RememberedFrame(one, step) for one, step in zip(maps, steps, strict=True)]
    shown = [RememberedPointer(one, 1) for one in pointers]
    found = memory.recall(memory.attention.begin(grid), frames, shown, span=SPAN)

    times = theirs.memory_temporal_positional_encoding[:, 0]
    places = [theirs_positions(theirs) + times[step - 1] for step in steps]
    still = pointers.view(1, 4, 64)
    expected = theirs.memory_attention(
        current_vision_features=grid.flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=memory.attention.positions.transpose(0, 1),
        memory=torch.cat([*(one.transpose(1, 2) for one in maps), still], dim=1).transpose(0, 1),
        memory_posision_embeddings=torch.cat([*places, 0 * still], dim=1).transpose(0, 1),
        num_object_pointer_tokens=4,
        num_spatial_memory_tokens=3,
    )
    expected = expected.reshape(64, 128).T.reshape(1, 128, 8, 8)
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=ATOL)


def theirs_positions(theirs: Any) -> Tensor:
    """Positions (1, T, E) that they add to the tokens of a frame."""
    maps = torch.zeros(1, 64, 8, 8)
    positions: Tensor = theirs.spatial_perceiver(maps, maps)[1]
    return positions


@torch.no_grad()
def test_several_objects_are_remembered_and_seen_as_each_alone(pair: tuple[Sam2, Any]) -> None:
    memory = pair[0].memory
    assert memory is not None
    grid, masks = noise(1, 128, 8, 8, seed=6), 4 * noise(3, 1, 128, 128, seed=7)
    present = torch.tensor([True, False, True])

    def seen(rows: slice) -> Tensor:
        maps = memory.encode(grid, masks[rows], present[rows], binarise=False)
        return memory.recall(memory.attention.begin(grid), [RememberedFrame(maps, 1)], [], span=5)

    each = torch.cat([seen(slice(row, row + 1)) for row in range(3)])
    assert (each[0] - each[1]).abs().max() > 0.01
    torch.testing.assert_close(seen(slice(None)), each, atol=ATOL, rtol=ATOL)
