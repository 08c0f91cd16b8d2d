"""Training with text prompts from CLIP embeddings of crops, as `samkit train` runs it."""

import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samkit import Predictor
from samkit.errors import ConfigError, DataError, WeightsError
from samkit.models import CONFIGS, Sam
from samkit.text import Clip
from samkit.training.data.crop_embeds import CropRecipe
from samkit.training.distill.recipe import DISTILL_RECIPES
from samkit.training.distill.setup import build_distillation
from samkit.training.run import train
from samkit.training.sam.recipe import SAM_RECIPES, named_text
from samkit.training.sam.trainable import ModelRecipe, build_trainable
from samkit.training.settings import list_settings, override
from samkit.training.text.task import save_clip
from samkit.weights.checkpoint import TextEncoder, save_checkpoint
from samkit.weights.load import load_model


@pytest.fixture
def recipe(clip_folder, tmp_path):
    return override(
        named_text(),
        [
            "model.config=tiny",
            f"model.text_encoder={clip_folder}",
            f"crops.folder={tmp_path / 'crops'}",
            "data.train=named:count=12,size=64,seed=0,things=3",
            "data.val=none",
            "data.images_per_batch=2",
            "truth_size=32",
            "run.steps=4",
            "run.save_every=2",
            "run.accelerator=cpu",
            "evaluation.images=2",
        ],
    )


def test_what_is_trained_can_be_asked_with_words(recipe, clip_folder, clip, tmp_path):
    told = []
    trained = train(recipe, tmp_path / "run", on_crops=lambda *at: told.append(at))
    assert told[-1] == (12, 12)
    predictor = Predictor.load(trained.last, backend="torch", precision="float32")
    assert predictor.text_encoder == TextEncoder(
        source=str(clip_folder), fingerprint=clip.fingerprint, dim=clip.dim
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    answer = predictor.predict_text(predictor.embed(image), ["a red circle", "a blue square"])
    assert answer.phrases == ("a red circle", "a blue square")
    assert not np.allclose(answer.logits[0], answer.logits[1])


def test_crops_are_seen_once(recipe, tmp_path, monkeypatch):
    train(recipe, tmp_path / "one")
    monkeypatch.setattr(Clip, "encode_images", None)
    train(recipe, tmp_path / "two")
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_stopped_training_goes_on_as_if_it_had_not(recipe, tmp_path):
    def stop(progress):
        if progress.step == 2:
            signal.raise_signal(signal.SIGTERM)

    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "parts", on_step=stop)
    train(recipe, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_text_is_added_to_weights_that_have_none(clip, text_encoder, tmp_path, tiny_sam):
    save_checkpoint(tiny_sam, tmp_path / "plain.safetensors", name="tiny")
    model = ModelRecipe(config="tiny", weights=str(tmp_path / "plain.safetensors"))
    trainable = build_trainable(model, text_encoder)
    state = trainable.sam.state_dict()
    assert all(torch.equal(state[name], value) for name, value in tiny_sam.state_dict().items())
    assert state["prompt_encoder.text_projection.weight"].shape == (32, clip.dim)
    assert build_trainable(model).sam.config.text_dim is None


def test_text_weights_are_kept_and_go_with_their_clip(
    text_sam, text_encoder, clip_folder, tmp_path, refusal
):
    path = tmp_path / "text.safetensors"
    save_checkpoint(text_sam, path, name="tiny", text_encoder=text_encoder)
    model = ModelRecipe(config="tiny", weights=str(path))
    for given in (None, text_encoder):
        trainable = build_trainable(model, given)
        assert trainable.text_encoder == text_encoder
        state = trainable.sam.state_dict()
        assert all(torch.equal(state[name], value) for name, value in text_sam.state_dict().items())
    trainable.export(tmp_path / "again.safetensors")
    again = Predictor.load(tmp_path / "again.safetensors", backend="torch", precision="float32")
    assert again.text_encoder == text_encoder
    other = Clip.load(clip_folder)
    other.model.text_projection.weight.data *= 2
    save_clip(other, tmp_path / "other")
    another = TextEncoder(source="other", fingerprint=other.fingerprint, dim=other.dim)
    with refusal(WeightsError, "has text prompts of the CLIP", "not of other"):
        build_trainable(model, another)


def test_recipes_with_text():
    for name in ("named_text", "text"):
        values = list_settings(SAM_RECIPES[name]())
        assert values["session.prompts.text_probability"] > 0.5
        assert values["evaluation.prompt"] == "text"
    assert list_settings(SAM_RECIPES["text"]())["crops.min_area_px"] == 10_000
    assert CropRecipe().min_area_px == 100 * 100
    assert all(SAM_RECIPES[name]().model.text_encoder is None for name in ("scenes", "finetune"))


def test_masks_that_are_all_too_small_are_told(recipe, tmp_path, refusal):
    small = override(recipe, ["crops.min_area_px=100000"])
    with refusal(DataError, "no mask has the 100000 pixels", "lower crops.min_area_px"):
        train(small, tmp_path / "run")


def test_few_masks_with_text_are_told(recipe, tmp_path, caplog):
    train(override(recipe, ["crops.min_area_px=450"]), tmp_path / "run")
    assert "of the masks have the 450 pixels that text prompts need" in caplog.text


def test_a_student_takes_over_its_teachers_text(text_sam, text_encoder, tmp_path):
    save_checkpoint(
        text_sam, tmp_path / "teacher.safetensors", name="tiny", text_encoder=text_encoder
    )
    recipe = override(
        DISTILL_RECIPES["scenes"](),
        [f"teacher={tmp_path / 'teacher.safetensors'}", "run.accelerator=cpu"],
    )
    task = build_distillation(recipe)
    task.export(tmp_path / "student.safetensors")
    student = load_model(tmp_path / "student.safetensors")
    assert student.text_encoder == text_encoder
    name = "prompt_encoder.text_projection.weight"
    assert torch.equal(student.model.state_dict()[name], text_sam.state_dict()[name])


def test_text_needs_a_clip(refusal):
    with refusal(ConfigError, "text prompts need a CLIP: model.text_encoder"):
        override(named_text(), ["model.text_encoder=none"])
    with refusal(ConfigError, "text prompts need a CLIP"):
        override(SAM_RECIPES["scenes"](), ["evaluation.prompt=text"])


def test_crops_of_streams_are_refused(recipe, tmp_path, refusal):
    from samkit.training.sam.setup import with_crop_embeds
    from samkit.training.setup import Context

    class Stream:
        def read(self, epoch, rank, world, *, start=0):
            return iter(())

    with refusal(ConfigError, "unpack tar shards"):
        with_crop_embeds(Stream(), recipe, None, Context(fabric=Fabric(), folder=tmp_path))


class Fabric:
    global_rank, world_size = 0, 1


def test_configurations_stay_without_text():
    assert all(config.text_dim is None for config in CONFIGS.values())
    with torch.device("meta"):
        assert not any("text" in name for name in Sam(CONFIGS["tiny"]).state_dict())
