"""`train` with recipes of all kinds, on named data or a data set object."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import samkit.training
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.training.distill.recipe import DISTILL_RECIPES
from samkit.training.mae.recipe import MAE_RECIPES
from samkit.training.run import train
from samkit.training.sam.recipe import SAM_RECIPES, finetune
from samkit.training.settings import override
from samkit.weights.checkpoint import save_checkpoint

SCENES = {"count": 12, "size": 64, "seed": 3}
SHORT = [
    "data.images_per_batch=2",
    "run.steps=3",
    "run.precision=32-true",
    "run.accelerator=cpu",
]


@pytest.fixture
def tuning(tiny_sam, tmp_path):
    """Fine-tuning of the tiny model on cached embeddings."""
    save_checkpoint(tiny_sam, tmp_path / "tiny.safetensors", name="tiny")
    return override(
        finetune(),
        [
            *SHORT,
            "model.config=tiny",
            f"model.weights={tmp_path / 'tiny.safetensors'}",
            f"embeddings={tmp_path / 'embeddings'}",
            "truth_size=32",
        ],
    )


def weights(path):
    return load_file(path)


def test_a_data_set_object_trains_as_its_name_does(tuning, tmp_path):
    named = override(tuning, ["data.train=scenes:count=12,size=64,seed=3"])
    by_name = train(named, tmp_path / "name")
    by_object = train(tuning, tmp_path / "object", source=Scenes(**SCENES))
    one, other = weights(by_name.last), weights(by_object.last)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_encoding_on_the_way_gives_the_weights_of_encoding_before(tuning, tmp_path):
    """The first run encodes the images of its batches, and no others; the second reads them."""
    told = []
    first = train(
        tuning,
        tmp_path / "first",
        source=Scenes(**SCENES),
        on_embedding=lambda *at: told.append(at),
    )
    assert told == [(done, 12) for done in range(1, 7)]
    second = train(
        tuning, tmp_path / "second", source=Scenes(**SCENES), on_embedding=lambda *_: 1 / 0
    )
    one, other = weights(first.last), weights(second.last)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_resuming_encodes_what_is_left(tuning, tmp_path):
    steps = override(tuning, ["optim.schedule=steps"])
    whole = train(steps, tmp_path / "whole", source=Scenes(**SCENES))
    other = override(steps, [f"embeddings={tmp_path / 'others'}"])
    # The folder of embeddings is one of the recipe's settings: both parts have the same one.
    train(override(other, ["run.steps=1"]), tmp_path / "parts", source=Scenes(**SCENES))
    assert len(list((tmp_path / "others").iterdir())) == 2
    parts = train(other, tmp_path / "parts", source=Scenes(**SCENES), resume=True)
    assert len(list((tmp_path / "others").iterdir())) == 6
    one, two = weights(whole.last), weights(parts.last)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_sharded_training_encodes_on_the_way_too(tuning, tmp_path):
    """The encoder still runs while the weights in training are sharded."""
    plain = train(tuning, tmp_path / "plain", source=Scenes(**SCENES))
    told = []
    sharded = train(
        override(tuning, ["run.strategy=fsdp", f"embeddings={tmp_path / 'others'}"]),
        tmp_path / "sharded",
        source=Scenes(**SCENES),
        on_embedding=lambda *at: told.append(at),
    )
    assert len(told) == 6
    one, other = weights(plain.last), weights(sharded.last)
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4)


def test_without_evaluation_the_best_weights_are_the_last(tuning, tmp_path, caplog):
    trained = train(tuning, tmp_path / "run", source=Scenes(**SCENES))
    assert "data.val" not in caplog.text
    assert trained.best_score is None
    assert trained.best.name == "best.safetensors"
    assert trained.best.read_bytes() == trained.last.read_bytes()


def test_validation_images_that_nobody_evaluates_are_told(tuning, tmp_path, caplog):
    with_val = override(tuning, ["data.val=scenes:count=2,size=64", "run.steps=1"])
    train(with_val, tmp_path / "run", source=Scenes(**SCENES))
    assert "data.val is not evaluated" in caplog.text
    scored = train(
        with_val, tmp_path / "scored", source=Scenes(**SCENES), evaluate=lambda task: {"one": 1.0}
    )
    assert scored.best_score == 1.0


@pytest.mark.parametrize(
    "recipe",
    [
        *(SAM_RECIPES[name] for name in ("finetune", "lora", "vit_b", "vit_l", "vit_h")),
        MAE_RECIPES["vit_b"],
        DISTILL_RECIPES["mobile_sam"],
    ],
)
def test_data_must_be_named_before_anything_else_is_done(recipe, tmp_path, refusal, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.json").write_text("{}")
    changed = override(recipe(), ["run.accelerator=cpu", "run.precision=32-true"])
    with refusal(ConfigError, "no images to train on: give data.train=coco:FILE.json"):
        train(changed, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_face_is_sorted_complete_and_lazy():
    face = samkit.training
    assert face.__all__ == sorted(face.__all__, key=lambda name: (not name.isupper(), name))
    assert set(face.__all__) < set(dir(face))
    assert all(getattr(face, name) is not None for name in face.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = face.no_such_name
    code = "import sys, samkit.training; print('torch' in sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "False"
