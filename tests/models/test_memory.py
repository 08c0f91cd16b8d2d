import math

import pytest
import torch

from samkit.models import (
    CONFIGS,
    RememberedFrame,
    RememberedPointer,
    Sam2,
    build_sam,
    memory_attention,
)
from samkit.models.memory_attention import (
    AxialRope,
    RopeAttention,
    sine_of_distance,
    sine_positions,
)

GRID, DIM = 5, 16


@pytest.fixture
def rope() -> AxialRope:
    return AxialRope(DIM, GRID)


def test_the_real_form_of_rotations_is_the_complex_one(rope: AxialRope) -> None:
    x = torch.randn(2, GRID**2, DIM)
    speeds = 1 / 10_000 ** (torch.arange(0, DIM, 4) / DIM)
    cell = torch.arange(GRID**2)
    angles = torch.cat([torch.outer(cell % GRID, speeds), torch.outer(cell // GRID, speeds)], 1)
    pairs = torch.view_as_complex(x.view(2, GRID**2, DIM // 2, 2))
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    torch.testing.assert_close(rope(x), turned, atol=1e-5, rtol=1e-5)


def test_products_depend_on_the_offset_alone(rope: AxialRope) -> None:
    q, k = torch.randn(DIM), torch.randn(DIM)
    products = rope(q.expand(1, GRID**2, -1))[0] @ rope(k.expand(1, GRID**2, -1))[0].T
    by_offset: dict[tuple[int, int], list[float]] = {}
    for a in range(GRID**2):
        for b in range(GRID**2):
            offset = (a % GRID - b % GRID, a // GRID - b // GRID)
            by_offset.setdefault(offset, []).append(float(products[a, b]))
    assert len(by_offset) == (2 * GRID - 1) ** 2
    assert all(max(same) - min(same) < 1e-4 for same in by_offset.values())
    assert max(map(max, by_offset.values())) - min(map(min, by_offset.values())) > 1


def test_rotations_repeat_for_each_map_and_leave_pointers_alone(rope: AxialRope) -> None:
    x, pointers = torch.randn(1, GRID**2, DIM), torch.randn(1, 3, DIM)
    turned = rope(torch.cat([x, x, pointers], dim=1), num_still=3)
    once = rope(x)
    assert torch.equal(turned, torch.cat([once, once, pointers], dim=1))


def test_positions_are_sines_of_rows_then_columns() -> None:
    positions = sine_positions(4, 8)[0]
    place = 2 * math.pi * 3 / 4  # of the third of four
    speeds = [1, 1 / 100]
    expected = [f(place * speed) for speed in speeds for f in (math.sin, math.cos)]
    torch.testing.assert_close(positions[:4, 2, 0], torch.tensor(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(positions[4:, 1, 2], torch.tensor(expected), atol=1e-5, rtol=0)


def test_distances_have_a_sign() -> None:
    one, other = (sine_of_distance(torch.tensor(x), 8) for x in (0.5, -0.5))
    torch.testing.assert_close(one[:4], -other[:4])
    torch.testing.assert_close(one[4:], other[4:])


@pytest.mark.parametrize(("name", "tokens"), [("tiny_sam2", 4 * 64 + 2), ("sam2.1_hiera_tiny", 0)])
def test_memory_is_as_long_as_stated(name: str, tokens: int, monkeypatch) -> None:
    """At full size 7 maps of 4096 tokens, and 4 tokens for each of 16 pointers."""
    with torch.device("meta"):
        model = build_sam(CONFIGS[name])
    model.to("meta")
    assert isinstance(model, Sam2)
    memory = model.memory
    assert memory is not None
    grid, dim = model.config.encoder.grid_size, model.config.decoder.dim
    seen = {}
    monkeypatch.setattr(
        memory.attention,
        "forward",
        lambda begun, tokens, places, still, _: (
            seen.update(shape=tokens.shape, still=still) or begun
        ),
    )
    config = memory.config
    shape = (2, config.dim, grid, grid)
    with torch.device("meta"):
        frames = [RememberedFrame(torch.empty(shape), steps) for steps in range(config.num_frames)]
        pointers = [RememberedPointer(torch.empty(2, dim), d) for d in range(config.num_pointers)]
        memory.recall(torch.empty(1, grid**2, dim), frames, pointers, span=16)
    still = config.num_pointers * dim // config.dim
    assert seen["still"] == still
    assert seen["shape"] == (2, config.num_frames * grid**2 + still, config.dim)
    if name != "tiny_sam2":
        assert seen["shape"][1] == 7 * 4096 + 64


@torch.no_grad()
def test_absent_objects_are_marked(tiny_sam2: Sam2) -> None:
    memory = tiny_sam2.memory
    assert memory is not None
    grid, masks = torch.randn(1, 128, 8, 8), torch.randn(2, 1, 128, 128)
    there = torch.tensor([True, False])
    maps = memory.encode(grid, masks, there, binarise=False)
    plain = memory.encode(grid, masks, torch.tensor([True, True]), binarise=False)
    assert torch.equal(maps[0], plain[0])
    expected = memory.no_obj_embed_spatial[0, :, None, None].expand(-1, 8, 8)
    torch.testing.assert_close(maps[1] - plain[1], expected)
    pointers = memory.point(torch.randn(2, 128), there)
    assert torch.equal(pointers[1], memory.no_obj_ptr[0])
    assert not torch.equal(pointers[0], memory.no_obj_ptr[0])


@torch.no_grad()
def test_binary_masks_have_no_uncertainty(tiny_sam2: Sam2) -> None:
    memory = tiny_sam2.memory
    assert memory is not None
    grid, masks = torch.randn(1, 128, 8, 8), torch.randn(1, 1, 128, 128)
    there = torch.tensor([True])
    one, other = (
        memory.encode(grid, scale * masks, there, binarise=True) for scale in (0.01, 30.0)
    )
    assert torch.equal(one, other)
    sure = memory.encode(grid, 1e4 * masks.sign(), there, binarise=False)
    torch.testing.assert_close(one, sure, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_objects_together_see_what_they_see_alone(tiny_sam2: Sam2) -> None:
    memory = tiny_sam2.memory
    assert memory is not None
    grid = torch.randn(1, 128, 8, 8)
    maps, pointer = torch.randn(3, 2, 64, 8, 8), torch.randn(2, 128)
    begun = memory.attention.begin(grid)

    def recall(rows: slice) -> torch.Tensor:
        frames = [RememberedFrame(one[rows], steps) for steps, one in enumerate(maps)]
        return memory.recall(begun, frames, [RememberedPointer(pointer[rows], 2)], span=5)

    together = recall(slice(0, 2))
    for row in range(2):
        alone = recall(slice(row, row + 1))
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_gradients_reach_the_memory(tiny_sam2: Sam2) -> None:
    memory = tiny_sam2.train().memory
    assert memory is not None
    grid, masks = torch.randn(1, 128, 8, 8), torch.randn(2, 1, 128, 128)
    there = torch.tensor([True, False])
    maps = memory.encode(grid, masks, there, binarise=False)
    pointers = memory.point(torch.randn(2, 128), there)
    frames = [RememberedFrame(maps, steps) for steps in range(4)]
    begun = memory.attention.begin(grid)
    seen = memory.recall(begun, frames, [RememberedPointer(pointers, 3)], span=5)
    (seen.square().mean() + memory.mask_downsample(masks).square().mean()).backward()
    without = {n for n, p in memory.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"no_mem_pos_enc"}


@pytest.mark.parametrize("num_heads", [1, 2])
def test_values_projected_after_attention_are_the_same(
    num_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = RopeAttention(32, 8, num_heads=num_heads, grid=GRID)
    torch.nn.init.normal_(attention.v_proj.bias)
    q, k, v = torch.randn(1, GRID**2, 32), torch.randn(3, 53, 8), torch.randn(3, 53, 8)
    with torch.no_grad():
        before = attention(q, k, v, num_still=3)
        monkeypatch.setattr(memory_attention, "MANY_KEYS", 50)
        monkeypatch.setattr(memory_attention, "QUERIES_AT_ONCE", 7)
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", None)
        after = attention(q, k, v, num_still=3)
        alone = attention(q, k[:1], v[:1], num_still=3)
    assert after.shape == (3, GRID**2, 32)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    assert torch.equal(after[:1], alone)
