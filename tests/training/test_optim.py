"""Learning rates by step and by depth."""

import copy
import math

import pytest
import torch

from samkit.models import CONFIGS, Sam
from samkit.training.optim import (
    make_optimiser,
    orthogonalised,
    parameter_groups,
    rate_factor,
)
from samkit.training.sam.trainable import encoder_depths
from samkit.training.settings import OptimRecipe


def test_the_papers_schedule():
    recipe = OptimRecipe(warmup_steps=250, milestones=(60_000, 86_666))
    factors = {step: rate_factor(step, 90_000, recipe) for step in (0, 124, 249, 250, 59_999)}
    assert factors == {0: 1 / 250, 124: 0.5, 249: 1, 250: 1, 59_999: 1}
    assert rate_factor(60_000, 90_000, recipe) == pytest.approx(0.1)
    assert rate_factor(89_999, 90_000, recipe) == pytest.approx(0.01)


def test_cosine_falls_to_nothing_at_the_end():
    recipe = OptimRecipe(warmup_steps=10, schedule="cosine")
    factors = [rate_factor(step, 110, recipe) for step in range(110)]
    assert factors[10] == 1
    assert factors[60] == pytest.approx(0.5)
    assert factors[109] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))
    assert factors[10:] == sorted(factors[10:], reverse=True)


@pytest.fixture(scope="module")
def sam():
    return Sam(CONFIGS["tiny"])


def test_each_parameter_that_learns_is_in_one_group(sam):
    sam.image_encoder.patch_embed.requires_grad_(False)
    groups = parameter_groups(sam, {}, OptimRecipe())
    found = [id(parameter) for group in groups for parameter in group["params"]]
    expected = [id(p) for p in sam.parameters() if p.requires_grad]
    sam.image_encoder.patch_embed.requires_grad_(True)
    assert sorted(found) == sorted(expected)
    assert len(set(found)) == len(found)


def test_only_weights_of_layers_decay(sam):
    groups = parameter_groups(sam, {}, OptimRecipe(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    by_name = {name: decay[id(p)] for name, p in sam.named_parameters()}
    for name in (
        "image_encoder.pos_embed",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.blocks.0.norm1.weight",
        "image_encoder.blocks.0.attn.qkv.bias",
        "mask_decoder.iou_token.weight",
        "mask_decoder.mask_tokens.weight",
        "prompt_encoder.no_mask_embed.weight",
        "prompt_encoder.point_embeddings.0.weight",
    ):
        assert by_name[name] == 0, name
    for name in (
        "image_encoder.patch_embed.proj.weight",
        "image_encoder.blocks.0.attn.qkv.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight",
    ):
        assert by_name[name] == 0.1, name


def test_rates_fall_with_the_distance_from_the_output(sam):
    depths = {f"image_encoder.{k}": v for k, v in encoder_depths(sam.image_encoder).items()}
    groups = parameter_groups(sam, depths, OptimRecipe(lr=1.0, layer_decay=0.5))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    by_name = {name: rate[id(p)] for name, p in sam.named_parameters()}
    # Four blocks: the patches are five layers below the neck.
    assert by_name["image_encoder.pos_embed"] == 0.5**5
    assert by_name["image_encoder.patch_embed.proj.weight"] == 0.5**5
    assert by_name["image_encoder.blocks.0.attn.qkv.weight"] == 0.5**4
    assert by_name["image_encoder.blocks.3.mlp.lin1.weight"] == 0.5
    assert by_name["image_encoder.neck.0.weight"] == 1
    assert by_name["mask_decoder.iou_token.weight"] == 1


def test_blocks_of_all_stages_count():
    with torch.device("meta"):
        encoder = Sam(CONFIGS["mobile_sam"]).image_encoder
    depths = encoder_depths(encoder)
    assert depths["patch_embed.seq.0.c.weight"] == 0
    assert max(depths.values()) == 2 + 2 + 6 + 2
    assert depths["layers.1.blocks.0.attn.qkv.weight"] == 3
    assert not any(name.startswith("neck") for name in depths)


def test_the_rate_follows_the_schedule():
    layer = torch.nn.Linear(2, 2)
    recipe = OptimRecipe(lr=0.5, warmup_steps=2, milestones=(3,))
    optimiser, schedule = make_optimiser(layer, {}, recipe, steps=5)
    rates = []
    for _ in range(5):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.05, 0.05])


def one_step(sam, optimiser):
    """Weights after a step along gradients that are the same each time."""
    generator = torch.Generator().manual_seed(0)
    for parameter in sam.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step()
    return {name: p.detach().clone() for name, p in sam.named_parameters()}


def fresh(recipe):
    torch.manual_seed(0)
    sam = Sam(CONFIGS["tiny"])
    return sam, *make_optimiser(sam, {}, recipe, steps=10)


def test_muon_takes_matrices_and_adamw_the_rest():
    recipe = OptimRecipe(method="muon", lr=1e-3, weight_decay=0.1, warmup_steps=0)
    sam, optimiser, _ = fresh(recipe)
    places = (
        "pos_embed",
        "rel_pos",
        "iou_token",
        "mask_tokens",
        "_embed.weight",
        "point_embeddings",
    )
    matrices = {
        name
        for name, p in sam.named_parameters()
        if p.ndim == 2 and not any(place in name for place in places)
    }
    assert {
        "image_encoder.blocks.0.attn.qkv.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight",
    } <= matrices
    found = one_step(sam, optimiser)

    adam, adamw, _ = fresh(OptimRecipe(lr=1e-3, weight_decay=0.1, warmup_steps=0))
    expected = one_step(adam, adamw)
    other, *_ = fresh(recipe)
    chosen = [p for name, p in other.named_parameters() if name in matrices]
    muon = torch.optim.Muon(chosen, lr=1e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    expected |= {k: v for k, v in one_step(other, muon).items() if k in matrices}
    for name, value in found.items():
        # torch orthogonalises in bfloat16: 3 digits of steps of 1e-3.
        tolerance = 3e-5 if name in matrices else 0
        torch.testing.assert_close(value, expected[name], rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16)])
def test_orthogonalised_matrices_have_singular_values_near_1(shape):
    """Each by itself, by a polynomial, so that directions stay as they are."""
    coefficients = (3.4445, -4.775, 2.0315)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    sizes = sizes / sizes.norm()
    for _ in range(5):
        sizes = sum(c * sizes**power for c, power in zip(coefficients, (1, 3, 5), strict=True))
    found = orthogonalised(matrix, coefficients, 5, 1e-7)
    torch.testing.assert_close(found, left * sizes @ right, rtol=0, atol=1e-4)
    assert 0.5 < sizes.min() < sizes.max() < 1.5


def test_on_a_processor_muon_never_rounds_to_bfloat16(monkeypatch):
    """Where it has no bfloat16, that takes ten times as long."""
    recipe = OptimRecipe(method="muon", lr=1e-3, warmup_steps=0)
    sam, optimiser, _ = fresh(recipe)

    def refuse(*_):
        raise AssertionError("rounded")

    monkeypatch.setattr(torch.Tensor, "bfloat16", refuse)
    one_step(sam, optimiser)


def test_the_schedule_and_a_saved_state_reach_both_parts_of_muon():
    recipe = OptimRecipe(method="muon", lr=1e-3, warmup_steps=4)
    sam, optimiser, schedule = fresh(recipe)
    one_step(sam, optimiser)
    schedule.step()
    assert {group["lr"] for group in optimiser.param_groups} == {1e-3 * 2 / 4}
    weights, state, place = (copy.deepcopy(one.state_dict()) for one in (sam, optimiser, schedule))
    expected = one_step(sam, optimiser)

    again, optimiser, schedule = fresh(recipe)
    again.load_state_dict(weights)
    optimiser.load_state_dict(state)
    schedule.load_state_dict(place)
    assert {group["lr"] for group in optimiser.param_groups} == {1e-3 * 2 / 4}
    for name, value in one_step(again, optimiser).items():
        assert torch.equal(value, expected[name]), name
    schedule.step()
    assert {group["lr"] for group in optimiser.param_groups} == {1e-3 * 3 / 4}


def test_tables_of_embeddings_are_neither_decayed_nor_orthogonalised(clip):
    recipe = OptimRecipe(weight_decay=0.1, method="muon")
    clip.model.requires_grad_(True)
    groups = parameter_groups(clip.model, {}, recipe)
    group_of = {id(p): group for group in groups for p in group["params"]}
    found = {name: group_of[id(p)] for name, p in clip.model.named_parameters()}
    for name in (
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "vision_model.embeddings.position_embedding.weight",
        "vision_model.embeddings.class_embedding",
        "logit_scale",
    ):
        assert found[name]["weight_decay"] == 0, name
        assert not found[name]["is_matrix"], name
    patches = found["vision_model.embeddings.patch_embedding.weight"]
    assert patches["weight_decay"] == 0.1
    assert found["text_projection.weight"]["is_matrix"]
