import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import samkit.models
from reference.decode import decode
from samkit.models import CONFIGS, Sam, SamConfig, build_sam
from samkit.models.mask_decoder import MaskDecoderConfig
from samkit.models.tiny_vit import TinyViTConfig
from samkit.weights.catalog import CATALOG

NUM_PROMPTS = 3


def prompts_of_all_kinds() -> dict[str, dict[str, Tensor]]:
    """Three prompts of each kind for a frame of 128 pixels, by kind."""
    generator = torch.Generator().manual_seed(3)
    points = {
        "points_xy": torch.rand(NUM_PROMPTS, 2, 2, generator=generator) * 128,
        "labels": torch.tensor([[1, 0], [1, 1], [0, -1]]),
    }
    boxes = {
        "boxes_xyxy": torch.tensor(
            [[8.0, 8.0, 64.0, 50.0], [1.0, 70.0, 50.0, 127.0], [40.0, 40.0, 90.0, 99.0]]
        )
    }
    masks = {"mask_logits": torch.randn(NUM_PROMPTS, 1, 32, 32, generator=generator)}
    return {
        "points": points,
        "boxes": boxes,
        "masks": masks,
        "points and boxes": points | boxes,
        "points and masks": points | masks,
        "all": points | boxes | masks,
    }


KINDS = sorted(prompts_of_all_kinds())


@pytest.fixture
def features() -> Tensor:
    return torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_prompts_equals_a_loop(
    tiny_sam: Sam, features: Tensor, kind: str, *, multimask: bool
) -> None:
    prompts = prompts_of_all_kinds()[kind]
    together = decode(tiny_sam, features, prompts, multimask=multimask)
    num_masks = 3 if multimask else 1
    assert together[0].shape == (NUM_PROMPTS, num_masks, 32, 32)
    assert together[1].shape == (NUM_PROMPTS, num_masks)
    for i in range(NUM_PROMPTS):
        one = {name: tensor[i : i + 1] for name, tensor in prompts.items()}
        alone = decode(tiny_sam, features, one, multimask=multimask)
        torch.testing.assert_close((together[0][i : i + 1], together[1][i : i + 1]), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_features_copied_for_each_prompt_equal_shared_features(
    tiny_sam: Sam, features: Tensor, kind: str
) -> None:
    prompts = prompts_of_all_kinds()[kind]
    shared = decode(tiny_sam, features, prompts)
    copied = decode(tiny_sam, features.expand(NUM_PROMPTS, -1, -1, -1), prompts)
    torch.testing.assert_close(copied, shared)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_for_each_image_equals_a_loop_over_images(tiny_sam: Sam, kind: str) -> None:
    prompts = prompts_of_all_kinds()[kind]
    with torch.no_grad():
        features = tiny_sam.encode(torch.randn(NUM_PROMPTS, 3, 128, 128)).grid
        together = decode(tiny_sam, features, prompts)
        for i in range(NUM_PROMPTS):
            one = {name: tensor[i : i + 1] for name, tensor in prompts.items()}
            alone = decode(tiny_sam, features[i : i + 1], one)
            torch.testing.assert_close((together[0][i : i + 1], together[1][i : i + 1]), alone)


TINY_MOBILE = SamConfig(
    encoder=TinyViTConfig(
        embed_dims=(8, 8, 16, 16),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 4),
        window_sizes=(3, 3, 4, 3),
        image_size=128,
        out_channels=32,
    ),
    decoder=CONFIGS["tiny"].decoder,
)


@pytest.mark.parametrize("config", [CONFIGS["tiny"], TINY_MOBILE], ids=["vit", "tiny_vit"])
def test_gradients_reach_every_parameter(config: SamConfig, randomise: Callable[..., None]) -> None:
    model = Sam(config)
    randomise(model)
    model.train()
    features = model.encode(torch.randn(1, 3, 128, 128))
    loss = torch.zeros(())
    for prompts in prompts_of_all_kinds().values():
        for multimask in (True, False):
            logits, iou_pred = decode(model, features, prompts, multimask=multimask)
            loss = loss + logits.square().mean() + iou_pred.square().mean()
    loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert without == []


@pytest.mark.parametrize("name", CATALOG)
def test_parameter_counts_are_those_of_the_catalog(name: str) -> None:
    with torch.device("meta"):
        model = build_sam(CONFIGS[CATALOG[name].config])
    assert sum(parameter.numel() for parameter in model.parameters()) == CATALOG[name].parameters


@pytest.mark.parametrize("name", [*CATALOG, "tiny", "tiny_sam2"])
def test_a_forward_pass_stays_on_the_models_device(name: str) -> None:
    # On "meta" nothing is computed, but arithmetic with a tensor of another device raises.
    with torch.device("meta"):
        model = build_sam(CONFIGS[CATALOG[name].config if name in CATALOG else name])
    model.to("meta")  # MobileSAM's index tables are made on the CPU
    size, dim = model.config.image_size, model.config.decoder.dim
    grid = size // 16
    with torch.device("meta"):
        pixels = torch.empty(1, 3, size, size)
        prompts = {
            "points_xy": torch.empty(2, 3, 2),
            "labels": torch.empty(2, 3),
            "boxes_xyxy": torch.empty(2, 4),
            "mask_logits": torch.empty(2, 1, 4 * grid, 4 * grid),
        }
    features = model.encode(pixels)
    assert features.grid.shape == (1, dim, grid, grid)
    logits, iou_pred = decode(model, features, prompts)
    assert logits.device.type == iou_pred.device.type == "meta"
    assert logits.shape == (2, 3, 4 * grid, 4 * grid)


def test_published_models_share_one_decoder() -> None:
    decoders = {CONFIGS[CATALOG[name].config].decoder for name in CATALOG}
    assert decoders == {MaskDecoderConfig()}


def test_networks_import_only_torch_and_each_other() -> None:
    allowed = {
        "__future__",
        "torch",
        "samkit.image_spec",
        "samkit.models",
        "collections",
        "contextlib",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "typing",
    }
    (room,) = samkit.models.__path__
    for path in Path(room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                own = ("samkit.models", "samkit.image_spec")
                root = next((one for one in own if name.startswith(one)), name.split(".")[0])
                assert root in allowed, f"{path.name} imports {name}"
