from collections.abc import Callable

import pytest
import torch
from torch import nn

from samkit.errors import ConfigError
from samkit.models.sam import EncoderConfig, build_encoder
from samkit.models.tiny_vit import TinyViTConfig
from samkit.models.vit import ViTConfig
from samkit.training.sam.lora import LoraLinear, add_lora, merge_lora

RANK, ALPHA = 2, 8.0
CONFIGS: dict[str, EncoderConfig] = {
    "vit": ViTConfig(
        embed_dim=16,
        depth=2,
        num_heads=2,
        global_blocks=(1,),
        image_size=80,
        window_size=3,
        out_channels=8,
    ),
    "tiny_vit": TinyViTConfig(
        embed_dims=(8, 8, 16, 16),
        depths=(1, 1, 2, 1),
        num_heads=(1, 2, 2, 4),
        window_sizes=(3, 3, 4, 3),
        image_size=80,
        out_channels=8,
    ),
}


@pytest.fixture(params=CONFIGS)
def encoder(request: pytest.FixtureRequest, randomise: Callable[..., None]) -> nn.Module:
    model = build_encoder(CONFIGS[request.param])
    randomise(model)
    return model.eval()


def learn_something(encoder: nn.Module) -> None:
    """Give the corrections random values, as training would."""
    for module in encoder.modules():
        if isinstance(module, LoraLinear):
            nn.init.normal_(module.lora_b, std=0.1)


def test_corrections_begin_as_the_identity(encoder: nn.Module) -> None:
    pixels = torch.randn(2, 3, 80, 80)
    before = encoder(pixels)
    add_lora(encoder, rank=RANK, alpha=ALPHA)
    assert torch.equal(encoder(pixels), before)


def test_all_attention_projections_are_corrected_and_nothing_else(encoder: nn.Module) -> None:
    attentions = [n for n, m in encoder.named_modules() if n.endswith(".attn")]
    names = add_lora(encoder, rank=RANK, alpha=ALPHA)
    assert sorted(names) == sorted(f"{n}.{part}" for n in attentions for part in ("qkv", "proj"))


def test_only_corrections_get_gradients_and_all_of_them_do(encoder: nn.Module) -> None:
    add_lora(encoder, rank=RANK, alpha=ALPHA)
    learn_something(encoder)
    encoder(torch.randn(1, 3, 80, 80)).square().sum().backward()
    with_gradient = [n for n, p in encoder.named_parameters() if p.grad is not None]
    assert with_gradient == [n for n, _ in encoder.named_parameters() if ".lora_" in n]
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (".lora_" in name)
        assert parameter.grad is None or parameter.grad.any(), name


def test_a_correction_is_a_low_rank_product_scaled_by_alpha_over_rank() -> None:
    base = nn.Linear(6, 5)
    layer = LoraLinear(base, rank=RANK, alpha=ALPHA)
    nn.init.normal_(layer.lora_b)
    x = torch.randn(3, 6)
    correction = ALPHA / RANK * layer.lora_b @ layer.lora_a
    torch.testing.assert_close(layer(x), base(x) + x @ correction.T)
    torch.testing.assert_close(layer.merged().weight, base.weight + correction)


def test_merged_weights_give_the_same_results_under_the_names_of_before(
    encoder: nn.Module,
) -> None:
    names = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    add_lora(encoder, rank=RANK, alpha=ALPHA)
    learn_something(encoder)
    pixels = torch.randn(2, 3, 80, 80)
    corrected = encoder.double()(pixels.double())
    merge_lora(encoder)
    assert not any(isinstance(module, LoraLinear) for module in encoder.modules())
    assert {name: tensor.shape for name, tensor in encoder.state_dict().items()} == names
    torch.testing.assert_close(encoder(pixels.double()), corrected, rtol=1e-10, atol=1e-10)


def test_merging_without_training_changes_no_bit(encoder: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    add_lora(encoder, rank=RANK, alpha=ALPHA)
    merge_lora(encoder)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_state_has_the_names_of_before_and_two_for_each_correction(encoder: nn.Module) -> None:
    before = set(encoder.state_dict())
    layers = add_lora(encoder, rank=RANK, alpha=ALPHA)
    new = {f"{layer}.{name}" for layer in layers for name in ("lora_a", "lora_b")}
    assert set(encoder.state_dict()) == before | new


def test_what_does_not_fit_is_refused(
    encoder: nn.Module, refusal: Callable[..., pytest.RaisesExc]
) -> None:
    with refusal(ConfigError, "ends with attn.q or attn.k"):
        add_lora(encoder, rank=RANK, alpha=ALPHA, targets=("attn.q", "attn.k"))
    for rank in (0, 17):
        with refusal(ConfigError, "rank must be from 1 to", f"got {rank}"):
            add_lora(encoder, rank=rank, alpha=ALPHA)
    add_lora(encoder, rank=RANK, alpha=ALPHA)
    with refusal(ConfigError, "already", "merge_lora"):
        add_lora(encoder, rank=RANK, alpha=ALPHA)
