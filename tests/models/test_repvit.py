"""EdgeTAM's image encoder: published numbers, and a trunk written as in the paper's figures."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from samkit.models import CONFIGS, RepViTConfig, Sam2, build_sam
from samkit.models.repvit import RepViT
from samkit.weights.sam2_layouts import to_sam2_original

PARAMETERS = 13_895_794  # of the published edgetam.pt
CLASSES = 1000  # of RepViT-M1, which has two heads: a norm and a linear layer each
REPVIT_M1_MILLIONS = 5.5
# Tensors of edgetam.pt, by the beginnings of their names.
TENSORS = {
    "": 982,
    "image_encoder.trunk.": 676,
    "image_encoder.neck.": 8,
    "spatial_perceiver.": 44,
    "memory_attention.": 54,
    "memory_encoder.": 40,
    "sam_prompt_encoder.": 17,
    "obj_ptr_proj.": 6,
}


@pytest.fixture(scope="module")
def edgetam() -> Sam2:
    with torch.device("meta"):
        model = build_sam(CONFIGS["edgetam"])
    assert isinstance(model, Sam2)
    return model


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_as_many_as_published(edgetam: Sam2) -> None:
    assert count(edgetam) == PARAMETERS
    trunk = edgetam.image_encoder.get_submodule("trunk")
    dim = RepViTConfig().stage_dims[-1]
    heads = 2 * (2 * dim + (dim + 1) * CLASSES)
    assert round((count(trunk) + heads) / 1e6, 1) == REPVIT_M1_MILLIONS


def test_tensors_are_as_many_as_in_the_published_file(edgetam: Sam2) -> None:
    names = list(to_sam2_original(edgetam.state_dict()))
    found = {start: sum(name.startswith(start) for name in names) for start in TENSORS}
    assert found == TENSORS


def test_levels_have_the_stated_shapes(edgetam: Sam2) -> None:
    levels = edgetam.eval().encode(torch.empty(1, 3, 1024, 1024, device="meta")).levels
    assert [tuple(level.shape[1:]) for level in levels] == [
        (32, 256, 256),
        (64, 128, 128),
        (256, 64, 64),
    ]


def test_stochastic_depth_grows_over_the_stages() -> None:
    trunk = RepViT(RepViTConfig(depths=(1, 1, 2, 1), drop_path=0.4))
    blocks = [block for stage in trunk.stages for block in stage.blocks]  # type: ignore[union-attr]
    rates = [block.channel_mixer.drop_path.rate for block in blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


class Reference:
    """RepViT-M1 by the names of its published tensors, without modules."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def normed(self, x: Tensor, name: str, *, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.c.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        mean, var, scale, shift = (
            self.state[f"{name}.bn.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def mlp(self, x: Tensor, name: str) -> Tensor:
        return self.normed(functional.gelu(self.normed(x, f"{name}.conv1")), f"{name}.conv2")

    def block(self, x: Tensor, name: str) -> Tensor:
        mixer = f"{name}.token_mixer"
        x = x + self.normed(x, f"{mixer}.conv") + self.normed(x, f"{mixer}.conv1")
        if f"{name}.se.fc1.weight" in self.state:
            squeezed = x.mean((2, 3))
            for part, act in (("fc1", torch.relu), ("fc2", torch.sigmoid)):
                weight, bias = (self.state[f"{name}.se.{part}.{one}"] for one in ("weight", "bias"))
                squeezed = act(squeezed @ weight.flatten(1).T + bias)
            x = x * squeezed[..., None, None]
        return x + self.mlp(x, f"{name}.channel_mixer")

    def maps(self, x: Tensor) -> list[Tensor]:
        x = self.normed(x, "stem.conv1", stride=2)
        x = self.normed(functional.gelu(x), "stem.conv2", stride=2)
        found = []
        for stage, depth in enumerate((1, 1, 2, 1)):
            if stage > 0:
                down = f"stages_{stage}.downsample"
                x = self.block(x, f"{down}.pre_block")
                x = self.normed(x, f"{down}.spatial_downsample", stride=2)
                x = self.normed(x, f"{down}.channel_downsample")
                x = x + self.mlp(x, f"{down}.ffn")
            for number in range(depth):
                x = self.block(x, f"stages_{stage}.blocks.{number}")
            found.append(x)
        return found


@torch.no_grad()
def test_the_trunk_does_what_its_published_names_say(randomise: Callable[..., None]) -> None:
    config = CONFIGS["tiny_edgetam"].encoder
    assert isinstance(config, RepViTConfig)
    trunk = RepViT(config).eval()
    randomise(trunk)
    state = {f"image_encoder.trunk.{name}": part for name, part in trunk.state_dict().items()}
    named = {
        name.removeprefix("image_encoder.trunk.body."): part
        for name, part in to_sam2_original(state).items()
    }
    assert len([name for name in named if name.endswith("se.fc1.weight")]) == 4
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for own, expected in zip(trunk(pixels), Reference(named).maps(pixels), strict=True):
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
