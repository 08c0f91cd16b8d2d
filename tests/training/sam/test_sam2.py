"""Training of a SAM 2's decoder and encoder on images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.datasets import Sample
from samkit.errors import ConfigError
from samkit.geometry import encode_rle
from samkit.models import ImageFeatures, Sam2
from samkit.predict import EmbeddingCache, Predictor
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.embeddings import CachingEncoder, EmbeddedData
from samkit.training.data.loader import BatchLoader
from samkit.training.data.placement import place_image, place_mask, plain_placement
from samkit.training.distill.task import check_compatible
from samkit.training.sam.clicks import clicks_to_tokens, first_clicks
from samkit.training.sam.prompts import PromptRecipe
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
from samkit.training.sam.trainable import ModelRecipe, Trainable, build_trainable
from samkit.weights.checkpoint import save_checkpoint, weights_sha256
from samkit.weights.load import load_model

TRUTH = 32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Images:
    """Wide images with one square each."""

    def __len__(self):
        return 3

    def key(self, index):
        return str(index)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 90, (40, 100, 3), np.uint8)
        mask = np.zeros((40, 100), bool)
        mask[8:30, 10 + 20 * index : 40 + 20 * index] = True
        image[mask] += 120
        return Sample(key=str(index), image=image, rles=(encode_rle(mask),))


@pytest.fixture
def weights(tiny_sam2, tmp_path):
    save_checkpoint(tiny_sam2, tmp_path / "weights.safetensors", name="tiny_sam2")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def batch(tiny_sam2, tmp_path):
    """All images, from cached embeddings."""
    predictor = Predictor(tiny_sam2, model_name="tiny_sam2")
    cache = EmbeddingCache(tmp_path / "cache")
    return next(
        BatchLoader(
            EmbeddedData(Images(), cache, predictor.encoder_checksum),
            DataRecipe(images_per_batch=3),
            128,
            TRUTH,
            seed=0,
            encoder=CachingEncoder(predictor, cache, num_images=3),
            fit="stretch",
        )
    )


def test_cached_embeddings_have_all_levels_of_stretched_images(batch, tiny_sam2):
    predictor = Predictor(tiny_sam2, model_name="tiny_sam2")
    for row, key in enumerate(batch.keys):
        expected = predictor.embed(Images()[int(key)].image).features.levels
        for level, theirs in zip((*batch.finer, batch.features), expected, strict=True):
            assert torch.equal(level[row], theirs[0])
    assert not batch.ignored.any()  # nothing is padding
    assert batch.masks.any(2).sum(1).tolist() == [round(22 / 40 * TRUTH)] * 3


def test_images_and_masks_are_stretched_alike(tiny_sam2):
    sample = Images()[1]
    placement = plain_placement((40, 100), 128, "stretch")
    predictor = Predictor(tiny_sam2, model_name="tiny_sam2")
    with torch.no_grad():
        features = tiny_sam2.encode(place_image(sample.image, placement)[None])
    assert torch.equal(features.grid, predictor.embed(sample.image).features.grid)
    mask = place_mask(sample.rles[0], placement, 40)
    assert np.flatnonzero(mask.any(0)).tolist() == [*range(12, 24)]
    assert np.flatnonzero(mask.any(1)).tolist() == [*range(8, 30)]


def task_of(weights, learns="decoder", **prompts):
    trainable = build_trainable(
        ModelRecipe(config="tiny_sam2", weights=str(weights), learns=learns)
    )
    recipe = InteractiveRecipe(prompts=PromptRecipe(corrections=2, **prompts))
    return InteractiveTask(trainable, recipe)


def test_decoder_fine_tuning_learns_and_leaves_the_rest_alone(weights, batch, tmp_path):
    task = task_of(weights).train()
    encoder = weights_sha256(task.sam.image_encoder)
    memory = weights_sha256(task.sam.memory)
    learning = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=3e-3)
    losses = []
    for step in range(12):
        loss = task(batch, generator(step)).loss
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in learning)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    task.export(tmp_path / "tuned.safetensors")
    loaded = load_model(tmp_path / "tuned.safetensors")
    assert loaded.name == "tiny_sam2"
    assert weights_sha256(loaded.model.image_encoder) == encoder
    assert weights_sha256(loaded.model.memory) == memory


@pytest.mark.parametrize("learns", ["all", "lora"])
def test_the_encoder_learns(weights, batch, learns):
    task = task_of(weights, learns).train()
    pixels = torch.randn(3, 3, 128, 128)
    task(replace(batch, features=None, finer=(), pixels=pixels), generator()).loss.backward()
    grads = {n for n, p in task.sam.image_encoder.named_parameters() if p.grad is not None}
    expected = {n for n, p in task.sam.image_encoder.named_parameters() if p.requires_grad}
    assert grads == expected
    assert expected


def test_depths_count_the_blocks_of_the_trunk(weights):
    depths = task_of(weights, "all").trainable.parameter_depths()
    prefix = "sam.image_encoder.trunk."
    assert depths[f"{prefix}pos_embed"] == 0
    assert [depths[f"{prefix}blocks.{block}.norm1.weight"] for block in range(5)] == [1, 2, 3, 4, 5]
    assert not any("neck" in name for name in depths)


@pytest.mark.parametrize(("probability", "tokens"), [(0.0, 2), (1.0, 3)], ids=["points", "boxes"])
def test_prompts_in_training_are_those_of_prediction(tiny_sam2, batch, probability, tokens):
    recipe = PromptRecipe(box_probability=probability)
    clicks = first_clicks(batch.masks, 128, recipe, generator(), alike=True)
    assert clicks.from_box.all() == clicks.from_box.any() == bool(probability)
    assert clicks_to_tokens(clicks, tiny_sam2.prompt_encoder).shape == (3, tokens, 128)


def test_a_model_for_images_alone_stays_one(tiny_sam2, tmp_path):
    config = replace(tiny_sam2.config, memory=None)
    save_checkpoint(Sam2(config), tmp_path / "image.safetensors", name="tiny_sam2")
    trainable = build_trainable(
        ModelRecipe(config="tiny_sam2", weights=str(tmp_path / "image.safetensors"))
    )
    assert trainable.sam.memory is None


def test_distillation_refuses_several_levels(tiny_sam, tiny_sam2, refusal):
    for student, teacher in ((tiny_sam, tiny_sam2), (tiny_sam2, tiny_sam2)):
        with refusal(ConfigError, "one level"):
            check_compatible(student, teacher)


def test_features_of_trainable_are_all_levels(tiny_sam2, batch):
    trainable = Trainable(tiny_sam2, ModelRecipe(config="tiny_sam2", weights=None))
    features = trainable.encode(batch)
    assert isinstance(features, ImageFeatures)
    assert len(features.levels) == 3
