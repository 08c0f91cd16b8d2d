"""Trainable and frozen parts, and exports."""

import pytest
import torch
from safetensors.torch import load_file

from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam
from samkit.training.sam.trainable import ModelRecipe, build_trainable, corrections_file
from samkit.training.task import Batch
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model


@pytest.fixture
def weights(tmp_path, randomise):
    torch.manual_seed(3)
    sam = Sam(CONFIGS["tiny"])
    randomise(sam)
    save_checkpoint(sam, tmp_path / "tiny.safetensors", name="tiny")
    return str(tmp_path / "tiny.safetensors")


def build(weights, learns, **changes):
    return build_trainable(ModelRecipe(config="tiny", weights=weights, learns=learns, **changes))


def learning(trainable):
    return {name for name, p in trainable.named_parameters() if p.requires_grad}


def images():
    return Batch(
        pixels=torch.randn(1, 3, 128, 128),
        features=None,
        masks=torch.ones(1, 32, 32, dtype=torch.bool),
        image_index=torch.zeros(1, dtype=torch.long),
        keys=("a",),
    )


def test_each_way_to_train_has_its_parameters(weights):
    names = {name for name, _ in build(weights, "all").named_parameters()}
    encoder = {name for name in names if name.startswith("sam.image_encoder")}
    assert learning(build(weights, "all")) == names
    assert learning(build(weights, "decoder")) == names - encoder
    corrected = learning(build(weights, "lora"))
    assert names - encoder < corrected
    assert all("lora" in name for name in corrected - names)
    assert corrected - names


def test_an_encoder_that_does_not_learn_is_not_disturbed(weights):
    trainable = build(weights, "decoder", drop_path=0.9).train()
    assert not trainable.sam.image_encoder.training
    assert trainable.sam.mask_decoder.training
    batch = images()
    features = trainable.encode(batch).grid
    assert not features.requires_grad
    assert torch.equal(features, trainable.encode(batch).grid)


def test_an_encoder_that_learns_drops_paths(weights):
    trainable = build(weights, "all", drop_path=0.9).train()
    batch = images()
    torch.manual_seed(0)
    features = trainable.encode(batch).grid
    assert features.requires_grad
    assert not torch.equal(features, trainable.encode(batch).grid)
    trainable.eval()
    assert torch.equal(trainable.encode(batch).grid, trainable.encode(batch).grid)


def test_batch_norms_that_came_with_weights_keep_their_statistics():
    trainable = build_trainable(ModelRecipe(learns="all")).train()
    norms = [m for m in trainable.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    fresh = build_trainable(ModelRecipe(weights=None, learns="all")).train()
    assert any(m.training for m in fresh.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_batch_norms_that_came_with_an_encoder_keep_their_statistics(tmp_path, randomise):
    """In training mode, the embedded encoder's folded norms gave features that were 98% off."""
    sam = Sam(CONFIGS["tiny_mobile"])
    randomise(sam)
    save_checkpoint(sam, tmp_path / "encoder.safetensors", name="tiny_mobile")
    recipe = ModelRecipe(
        config="tiny_mobile",
        weights=None,
        encoder_weights=str(tmp_path / "encoder.safetensors"),
        learns="all",
    )
    trainable = build_trainable(recipe)
    pixels = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        expected = trainable.eval().sam.encode(pixels).grid
        assert torch.equal(trainable.train().sam.encode(pixels).grid, expected)


@pytest.mark.parametrize("learns", ["all", "decoder", "lora"])
def test_what_is_exported_is_a_plain_checkpoint(learns, weights, tmp_path):
    trainable = build(weights, learns).eval()
    with torch.no_grad():
        for name, parameter in trainable.named_parameters():
            if parameter.requires_grad:
                generator = torch.Generator().manual_seed(len(name))
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.01)
    trainable.export(tmp_path / "out.safetensors")
    loaded = load_model(tmp_path / "out.safetensors")
    assert loaded.name == "tiny"
    pixels = images().pixels
    with torch.no_grad():
        expected, before = (
            trainable.sam.encode(pixels).grid,
            load_model(weights).model.encode(pixels).grid,
        )
        found = loaded.model.encode(pixels).grid
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(found, before) == (learns == "decoder")
    own = trainable.sam.mask_decoder.state_dict()
    assert all(torch.equal(own[k], v) for k, v in loaded.model.mask_decoder.state_dict().items())


def test_corrections_are_exported_on_their_own_too(weights, tmp_path):
    trainable = build(weights, "lora")
    for name, parameter in trainable.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(parameter, std=0.01)
    trainable.export(tmp_path / "out.safetensors")
    merged = load_model(tmp_path / "out.safetensors").model.image_encoder.state_dict()
    before = load_model(weights).model.image_encoder.state_dict()
    found = load_file(corrections_file(tmp_path / "out.safetensors"))
    layers = {name.removesuffix(".lora_a") for name in found if name.endswith("a")}
    changed = {name for name, value in merged.items() if not torch.equal(value, before[name])}
    assert changed == {f"{layer}.weight" for layer in layers}
    for layer in layers:
        difference = merged[f"{layer}.weight"] - before[f"{layer}.weight"]
        product = found[f"{layer}.lora_b"] @ found[f"{layer}.lora_a"]
        torch.testing.assert_close(product, difference, rtol=1e-3, atol=1e-6)


def test_exporting_leaves_the_training_alone(weights, tmp_path):
    trainable = build(weights, "lora")
    before = learning(trainable)
    trainable.export(tmp_path / "out.safetensors")
    assert learning(trainable) == before


def test_an_encoder_from_another_file(weights, tmp_path, randomise):
    other = Sam(CONFIGS["tiny"])
    randomise(other)
    save_checkpoint(other, tmp_path / "other.safetensors", name="tiny")
    trainable = build(weights, "all", encoder_weights=str(tmp_path / "other.safetensors"))
    state, theirs = trainable.sam.state_dict(), other.state_dict()
    mine = load_model(weights).model.state_dict()
    for name, tensor in state.items():
        expected = theirs if name.startswith("image_encoder") else mine
        assert torch.equal(tensor, expected[name]), name


def test_kept_embeddings_cannot_train_an_encoder(weights):
    batch = Batch(**{**vars(images()), "pixels": None, "features": torch.zeros(1, 32, 8, 8)})
    with pytest.raises(ConfigError, match="cached embeddings cannot train the image encoder"):
        build(weights, "lora").encode(batch)
    assert torch.equal(build(weights, "decoder").encode(batch).grid, batch.features)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": "huge"}, "unknown model 'huge'; known are mobile_sam"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and less than 1; got 1.0"),
        ({"learns": "encoder"}, "learns must be one of all, decoder, lora; got 'encoder'"),
    ],
)
def test_other_models_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ModelRecipe(**settings)
