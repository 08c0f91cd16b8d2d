"""CLIP from random weights: loss, batches, tokenizer, and a short training."""

import json
import signal
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from samkit.datasets.synthetic import NamedScenes, Scenes
from samkit.errors import ConfigError, DataError
from samkit.text import Clip
from samkit.text.clip import ClipPixels
from samkit.training.run import train
from samkit.training.settings import OptimRecipe, RunRecipe, override
from samkit.training.text.recipe import ClipRecipe, clip_named
from samkit.training.text.setup import known_words
from samkit.training.text.task import (
    ContrastiveTask,
    CropLoader,
    contrastive_loss,
    make_tokenizer,
    save_clip,
)

PIXELS = ClipPixels(size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
SOURCE = NamedScenes(count=20, size=48, seed=0)


def unit(*shape):
    return nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_of_different_names_the_loss_is_clips():
    images, texts = unit(6, 8), unit(6, 8)
    scale = torch.tensor(10.0)
    logits = scale * images @ texts.T
    target = torch.arange(6)
    expected = (
        nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)
    ) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, target, scale), expected)


def test_equal_names_are_not_told_apart():
    """Where all have one name, the best that can be done is to like all the same."""
    images, texts = unit(4, 8), unit(1, 8).expand(4, -1)
    one = torch.zeros(4, dtype=torch.long)
    loss = contrastive_loss(images, texts, one, torch.tensor(5.0))
    uniform = nn.functional.cross_entropy(torch.zeros(4, 4), torch.full((4, 4), 0.25))
    assert loss > uniform  # pictures differ, so that texts like some more
    same = contrastive_loss(texts, texts, one, torch.tensor(5.0))
    torch.testing.assert_close(same, uniform)


def test_perfect_pairs_have_no_loss():
    codes = torch.eye(5)
    loss = contrastive_loss(codes, codes, torch.arange(5), torch.tensor(100.0))
    assert float(loss) < 1e-6


def test_batches_depend_on_seed_and_step_alone():
    first, again = (CropLoader(SOURCE, PIXELS, crops=10, seed=3) for _ in range(2))
    one = list(islice(first, 4))
    again.load_state_dict({"step": 2})
    for batch, other in zip(one[2:], islice(again, 2), strict=True):
        torch.testing.assert_close(batch.pixels, other.pixels, rtol=0, atol=0)
        assert batch.phrases == other.phrases
    assert first.state_dict() == {"step": 4}
    assert one[0].phrases != one[1].phrases
    other = next(CropLoader(SOURCE, PIXELS, crops=10, seed=3, rank=1))
    assert other.phrases != one[0].phrases


def test_a_batch_is_crops_with_their_names():
    batch = next(CropLoader(SOURCE, PIXELS, crops=12, seed=0))
    assert batch.pixels.shape == (12, 3, 16, 16)
    assert (batch.pixels.min(), batch.pixels.max()) >= (-1, -1)
    assert len(batch.phrases) == len(batch.keys) == len(batch.masks) == 12
    known = {phrase for index in range(20) for phrase in SOURCE[index].phrases}
    assert set(batch.phrases) <= known


def test_images_without_names_are_refused(refusal):
    with refusal(DataError, "its masks have no names"):
        next(CropLoader(Scenes(count=2, size=32), PIXELS, crops=4, seed=0))


def test_the_tokenizer_knows_its_words_and_spells_others():
    tokenizer = make_tokenizer(["red", "ring", "star", "striped"], max_tokens=20)
    ids = tokenizer("a red ring")["input_ids"]
    assert len(ids) == 5
    assert tokenizer.decode(ids[1:-1]) == "a red ring"
    spelled = tokenizer("zebra")["input_ids"]
    assert tokenizer.decode(spelled[1:-1]) == "zebra"
    assert len(spelled) > 4
    assert max(tokenizer.get_vocab().values()) == tokenizer.eos_token_id


def test_the_tokenizer_takes_words_of_any_script():
    tokenizer = make_tokenizer(["日本", "Été"], max_tokens=20)
    assert len(tokenizer("日本")["input_ids"]) == 3
    assert tokenizer.decode(tokenizer("日本 été")["input_ids"][1:-1]) == "日本 été"


def test_masks_without_a_name_are_left_out(refusal):
    sample = SOURCE[0]
    some = replace(sample, phrases=("", *sample.phrases[1:]))
    batch = next(CropLoader([some], PIXELS, crops=9, seed=0))
    assert set(batch.phrases) == set(sample.phrases[1:])
    none = replace(sample, phrases=("",) * len(sample.rles))
    with refusal(DataError, "have no named masks"):
        next(CropLoader([none], PIXELS, crops=4, seed=0))


def test_words_are_those_of_names_and_sentences():
    words = known_words(SOURCE)
    assert {"a", "photo", "of", "star"} <= set(words)
    assert "{}" not in words
    assert len(words) == len(set(words))


def test_a_saved_clip_is_the_same(clip, tmp_path):
    save_clip(clip, tmp_path / "copy")
    again = Clip.load(tmp_path / "copy")
    np.testing.assert_array_equal(again.encode_texts(["red car"]), clip.encode_texts(["red car"]))
    picture = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    np.testing.assert_array_equal(again.encode_images([picture]), clip.encode_images([picture]))
    assert again.fingerprint == clip.fingerprint


def test_gradients_reach_both_sides(clip):
    clip.model.requires_grad_(True)
    task = ContrastiveTask(clip)
    batch = next(CropLoader(SOURCE, clip.pixels, crops=8, seed=0))
    task(batch, torch.Generator().manual_seed(0)).loss.backward()
    for name in ("visual_projection", "text_projection"):
        assert float(getattr(clip.model, name).weight.grad.abs().max()) > 0
    assert clip.model.logit_scale.grad is not None


def test_the_scale_is_limited_and_comes_back(clip):
    clip.model.requires_grad_(True)
    task = ContrastiveTask(clip)
    batch = next(CropLoader(SOURCE, clip.pixels, crops=8, seed=0))
    optimiser = torch.optim.SGD([clip.model.logit_scale], lr=1.0)
    clip.model.logit_scale.data.fill_(5.0)
    task.constrain()
    assert clip.logit_scale == pytest.approx(100)  # what is used is what was trained
    result = task(batch, torch.Generator().manual_seed(0))
    assert float(result.parts["scale"]) == pytest.approx(100)
    # These crops and names are random, so that a smaller scale is better; a clamp in the loss
    # would have no slope there.
    result.loss.backward()
    assert float(clip.model.logit_scale.grad) > 0
    optimiser.step()
    task.constrain()
    assert clip.logit_scale < 100


def test_training_limits_the_scale_after_each_step(tmp_path, monkeypatch):
    monkeypatch.setattr("samkit.training.text.task.MAX_SCALE", 5.0)
    scales = []
    train(
        override(short_recipe(), ["temperature=0.1"]),
        tmp_path,
        on_step=lambda progress: scales.append(progress.values["scale"]),
    )
    assert scales[0] == pytest.approx(10)
    assert scales[1:] == pytest.approx([5] * 5, rel=0.1)
    assert max(scales[1:]) <= 5.00001
    assert Clip.load(tmp_path / "clip").logit_scale <= 5.00001


def short_recipe(**run):
    return ClipRecipe(
        image_size=16,
        vision_width=32,
        vision_layers=1,
        text_width=32,
        text_layers=1,
        dim=16,
        crops=16,
        train="named:count=200,size=48,seed=0,things=3",
        val="named:count=20,size=48,seed=1,things=3",
        held_out_crops=16,
        optim=OptimRecipe(lr=2e-3, warmup_steps=2),
        run=RunRecipe(**{"steps": 6, "accelerator": "cpu", "save_every": 2, **run}),
    )


def test_training_leaves_a_clip_that_can_be_loaded(tmp_path):
    trained = train(short_recipe(), tmp_path)
    assert 0 <= trained.best_score <= 1
    clip = Clip.load(tmp_path / "clip")
    name = "text_projection.weight"
    assert torch.equal(clip.model.state_dict()[name], load_file(trained.last)[name])
    assert clip.encode_texts(["a red ring"]).shape == (1, 16)
    assert len(clip.tokenizer("a red ring")["input_ids"]) == 5


def test_it_learns(tmp_path):
    losses = []
    recipe = override(short_recipe(steps=80), ["optim.lr=3e-3"])
    train(recipe, tmp_path, on_step=lambda p: losses.append(p.values["loss"]))
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:10])


def test_a_stopped_training_goes_on_as_if_it_had_not(tmp_path):
    def stop(progress):
        if progress.step == 3:
            signal.raise_signal(signal.SIGTERM)

    train(short_recipe(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(short_recipe(), tmp_path / "parts", on_step=stop)
    train(short_recipe(), tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert json.loads((tmp_path / "parts/clip/config.json").read_text())["model_type"] == "clip"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("image_size=50", "image_size must be a multiple of 8"),
        ("text_width=66", "text_width must be a multiple of 4"),
        ("temperature=0.009", "temperature must be at least 0.01"),
        ("crops=0", "crops must be at least 1"),
    ],
)
def test_bad_recipes_are_refused(change, told, refusal):
    with refusal(ConfigError, told):
        override(clip_named(), [change])
