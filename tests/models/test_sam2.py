from dataclasses import replace

import pytest
import torch
from torch import Tensor

from samkit.image_spec import ImageSpec
from samkit.models import CONFIGS, ImageFeatures, PromptTensors, Sam2, Sam2Config, build_sam
from samkit.models.mask_decoder import finer_tokens
from samkit.models.sam2 import choose_stable

# Parts of SAM 2.1, whatever its size; and of the image encoder: trunk, and neck without the two
# projections for the decoder.
PARTS = {
    "memory.attention": 5_922_304,
    "memory.encoder": 1_384_608,
    "prompt_encoder": 6_220,
}
CONV_S = 256 * 32 + 32 + 256 * 64 + 64
DECODER = 4_215_109
REMAINING = 215_121  # with no_mem_embed
TRUNKS = {"tiny": 26_849_472, "small": 33_947_328, "base_plus": 68_675_712, "large": 212_149_296}
NECKS = {"tiny": 369_664, "small": 369_664, "base_plus": 431_104, "large": 553_984}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("size", TRUNKS)
def test_each_part_has_as_many_parameters_as_the_published_one(size: str) -> None:
    with torch.device("meta"):
        model = build_sam(CONFIGS[f"sam2.1_hiera_{size}"])
    assert {name: count(model.get_submodule(name)) for name in PARTS} == PARTS
    assert count(model.get_submodule("image_encoder.trunk")) == TRUNKS[size]
    assert count(model.get_submodule("image_encoder.neck")) == NECKS[size] + CONV_S
    assert count(model.mask_decoder) == DECODER - CONV_S
    known = sum(count(model.get_submodule(name)) for name in ("memory.attention", "memory.encoder"))
    assert count(model.get_submodule("memory")) - known + 256 == REMAINING


def test_sam_2_lacks_what_2_1_added() -> None:
    with torch.device("meta"):
        old, new = (build_sam(CONFIGS[f"{name}_hiera_tiny"]) for name in ("sam2", "sam2.1"))
    assert count(new) - count(old) == 16_512


@pytest.fixture
def model(tiny_sam2: Sam2) -> Sam2:
    return tiny_sam2


@pytest.fixture
def features(model: Sam2) -> ImageFeatures:
    with torch.no_grad():
        return model.encode(torch.randn(1, 3, 128, 128))


def test_levels_have_the_stated_shapes(model: Sam2, features: ImageFeatures) -> None:
    expected = [(1, channels, side, side) for channels, side in model.level_shapes]
    assert [tuple(level.shape) for level in features.levels] == expected
    with torch.device("meta"):
        large = build_sam(CONFIGS["sam2.1_hiera_large"])
        levels = large.encode(torch.empty(1, 3, 1024, 1024)).levels
    assert [tuple(level.shape[1:]) for level in levels] == [
        (32, 256, 256),
        (64, 128, 128),
        (256, 64, 64),
    ]


def test_images_are_stretched() -> None:
    assert CONFIGS["sam2.1_hiera_tiny"].image_spec == ImageSpec(size=1024, fit="stretch")


def prompts(count: int = 3) -> PromptTensors:
    generator = torch.Generator().manual_seed(3)
    return PromptTensors(
        points_xy=torch.rand(count, 2, 2, generator=generator) * 128,
        labels=torch.tensor([[1, 0], [1, 1], [0, 1]])[:count],
        boxes_xyxy=torch.tensor([[8.0, 8, 64, 50], [1, 70, 50, 127], [40, 40, 90, 99]])[:count],
        mask_logits=torch.randn(count, 1, 32, 32, generator=generator),
    )


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("with_mask", [True, False], ids=["mask", "no mask"])
@torch.no_grad()
def test_a_batch_of_prompts_equals_a_loop_and_images_of_their_own(
    model: Sam2, features: ImageFeatures, *, multimask: bool, with_mask: bool
) -> None:
    given = prompts() if with_mask else prompts()._replace(mask_logits=None)
    together = model.decode(features, given, multimask=multimask)
    copied = ImageFeatures(tuple(level.expand(3, -1, -1, -1) for level in features.levels))
    own = model.decode(copied, given, multimask=multimask)
    torch.testing.assert_close(together, own, atol=1e-4, rtol=1e-4)
    for row in range(3):
        alone = model.decode(features, given.rows(slice(row, row + 1)), multimask=multimask)
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.iou_pred[row], alone.iou_pred[0])


def test_finer_tokens_are_in_the_order_of_nested_halves() -> None:
    side = 3
    half = torch.arange(4 * side**2).view(1, 1, 2 * side, 2 * side)
    quarter = torch.arange(16 * side**2).view(1, 1, 4 * side, 4 * side)
    halves, quarters = finer_tokens(half, quarter)
    for token in range(16 * side**2):
        position, rest = divmod(token, 16)
        (hy, hx), (qy, qx) = divmod(rest // 4, 2), divmod(rest % 4, 2)
        y, x = divmod(position, side)
        assert halves[0, token // 4, 0] == half[0, 0, 2 * y + hy, 2 * x + hx]
        assert quarters[0, token, 0] == quarter[0, 0, 4 * y + 2 * hy + qy, 4 * x + 2 * hx + qx]


def square(value: float) -> Tensor:
    """Logits of a square of 100 cells, with 3 cells in doubt, of 4 masks."""
    logits = torch.full((1, 4, 20, 20), -5.0)
    logits[:, :, :10, :10] = 5.0
    logits[:, 0, 15, :3] = value
    return logits


@pytest.mark.parametrize(("value", "chosen"), [(-1.0, 0), (-0.04, 2), (0.04, 2), (1.0, 0)], ids=str)
def test_an_unstable_mask_is_replaced_by_the_best_other(value: float, chosen: int) -> None:
    iou_pred = torch.tensor([[0.99, 0.2, 0.7, 0.3]])
    assert choose_stable(square(value), iou_pred).tolist() == [chosen]


def test_an_empty_mask_is_stable() -> None:
    logits = torch.full((1, 4, 8, 8), -3.0)
    assert choose_stable(logits, torch.tensor([[0.0, 1.0, 1.0, 1.0]])).tolist() == [0]


@torch.no_grad()
def test_the_single_mask_answers_unless_it_is_unstable(
    model: Sam2, features: ImageFeatures
) -> None:
    sparse, dense = model.embed_prompts(prompts())
    context = model.prepare(features, dense)
    attended = model.attend(sparse, context)
    every = model.mask_decoder.upscale(attended.image, attended.kernels, *context.finer)
    chosen = choose_stable(every, attended.iou_pred)
    answer = model.decode(features, prompts(), multimask=False)
    rows = torch.arange(3)
    torch.testing.assert_close(answer.logits[:, 0], every[rows, chosen])
    torch.testing.assert_close(answer.iou_pred[:, 0], attended.iou_pred[rows, chosen])
    model.train()
    trained = model.decode(features, prompts(), multimask=False)
    torch.testing.assert_close(trained.logits[:, 0], every[:, 0])


def test_gradients_reach_all_that_images_use(model: Sam2) -> None:
    model.train()
    features = model.encode(torch.randn(1, 3, 128, 128))
    loss = torch.zeros(())
    for given in (prompts(), prompts()._replace(mask_logits=None)):
        for multimask in (True, False):
            sparse, dense = model.embed_prompts(given)
            context = model.prepare(features, dense)
            attended = model.attend(sparse, context)
            answer = model.upscale(model.select(attended, multimask=multimask), context)
            assert attended.object_logits is not None
            for part in (*answer, attended.object_logits):
                loss = loss + part.square().mean()
    loss.backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    assert without == {name for name, _ in model.named_parameters() if name.startswith("memory.")}


def test_a_model_for_images_alone_has_no_memory() -> None:
    config = CONFIGS["tiny_sam2"]
    assert isinstance(config, Sam2Config)
    model = Sam2(replace(config, memory=None))
    assert model.memory is None
    assert not any(name.startswith("memory.") for name in model.state_dict())
