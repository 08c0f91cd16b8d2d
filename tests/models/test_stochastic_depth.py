from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from samkit.models.layers import DropPath, checkpoint_blocks, drop_path_rates
from samkit.models.sam import EncoderConfig, build_encoder
from samkit.models.tiny_vit import TinyViTConfig
from samkit.models.vit import ViTConfig

CONFIGS: dict[str, EncoderConfig] = {
    "vit": ViTConfig(
        embed_dim=16,
        depth=3,
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
BOTH = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def rates_of(encoder: nn.Module) -> list[float]:
    return [module.rate for module in encoder.modules() if isinstance(module, DropPath)]


def test_a_dropped_branch_is_zero_or_scaled_up_sample_by_sample() -> None:
    layer = DropPath(0.4)
    out = layer(torch.ones(1000, 3, 2))
    assert torch.equal(out, out[:, :1, :1].expand_as(out))  # a sample stays or goes as a whole
    values = out.unique().tolist()
    assert values == pytest.approx([0, 1 / 0.6])


def test_a_branch_keeps_its_expectation() -> None:
    rate, count = 0.4, 20_000
    out = DropPath(rate)(torch.ones(count, 1))
    deviation = (rate / (1 - rate) / count) ** 0.5
    assert out.mean().item() == pytest.approx(1, abs=4 * deviation)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    branch = torch.randn(5, 4)
    assert DropPath(0.9).eval()(branch) is branch
    assert DropPath(0.0)(branch) is branch


def test_rates_grow_linearly_to_the_last_block() -> None:
    assert drop_path_rates(0.4, 5) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert drop_path_rates(0.4, 1) == [0]


@BOTH
def test_an_encoder_has_growing_rates_and_none_by_default(config: EncoderConfig) -> None:
    assert set(rates_of(build_encoder(config))) == {0.0}
    rates = rates_of(build_encoder(replace(config, drop_path=0.3)))
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.3)


@BOTH
def test_stochastic_depth_changes_training_and_neither_weights_nor_evaluation(
    config: EncoderConfig, randomise: Callable[..., None]
) -> None:
    plain, dropping = build_encoder(config), build_encoder(replace(config, drop_path=0.5))
    randomise(plain)
    assert list(dropping.state_dict()) == list(plain.state_dict())
    dropping.load_state_dict(plain.state_dict())
    pixels = torch.randn(4, 3, 80, 80)
    assert torch.equal(dropping.eval()(pixels), plain.eval()(pixels))
    dropping.train()
    assert not torch.equal(dropping(pixels), dropping(pixels))
    torch.manual_seed(1)
    first = dropping(pixels)
    torch.manual_seed(1)
    torch.testing.assert_close(dropping(pixels), first, rtol=1e-3, atol=1e-3)


@BOTH
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_recomputed_blocks_give_equal_results_gradients_and_statistics(
    config: EncoderConfig, randomise: Callable[..., None], *, training: bool
) -> None:
    pixels = torch.randn(3, 3, 80, 80)
    encoders = []
    for on in (False, True):
        encoder = build_encoder(replace(config, drop_path=0.5))
        randomise(encoder)
        encoder.train(training)
        checkpoint_blocks(encoder, on=on)
        torch.manual_seed(5)  # so that the same branches are dropped
        out = encoder(pixels)
        out.square().mean().backward()
        encoders.append((encoder, out))
    (plain, expected), (recomputed, got) = encoders
    torch.testing.assert_close(got, expected)
    expected_grads = {name: p.grad for name, p in plain.named_parameters()}
    torch.testing.assert_close(
        {n: p.grad for n, p in recomputed.named_parameters()}, expected_grads
    )
    torch.testing.assert_close(dict(recomputed.named_buffers()), dict(plain.named_buffers()))


def test_recomputed_blocks_keep_less() -> None:
    config = replace(CONFIGS["vit"], depth=6)

    def kept(*, on: bool) -> int:
        encoder = build_encoder(config)
        checkpoint_blocks(encoder, on=on)
        total = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            encoder(torch.randn(1, 3, 80, 80))
        return total

    assert kept(on=True) < kept(on=False) / 3
