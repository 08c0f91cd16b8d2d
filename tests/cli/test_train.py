"""`samkit train`: from a recipe to weights that other commands load."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import samkit
from read_log import read_log
from samkit.cli.main import main
from samkit.models import CONFIGS, Sam
from samkit.training.sam.recipe import SAM_RECIPES
from samkit.training.settings import list_settings
from samkit.weights.checkpoint import save_checkpoint

SHORT = [
    "data.train=scenes:count=12,size=64,seed=0",
    "data.val=scenes:count=3,size=64,seed=1",
    "data.images_per_batch=2",
    "run.steps=6",
    "run.log_every=1",
    "run.save_every=2",
    "run.evaluate_every=3",
    "run.accelerator=cpu",
]


def without_plan(error):
    """Lines of standard error but the plan, which comes before what only the training finds."""
    lines = error.strip().splitlines()
    return [line for line in lines if re.match(r"samkit: [\d,]+ steps? of ", line) is None]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_training_leaves_weights_that_segment(folder, capsys):
    assert main(["train", "scenes", *SHORT, "-o", "run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["best"] == "run/best.safetensors"
    scores = read_log(folder / "run/scores.csv")
    assert [row["step"] for row in scores] == [3, 6]
    assert report["best_score"] == pytest.approx(max(row["miou"] for row in scores), rel=1e-5)
    assert len(read_log(folder / "run/log.csv")) == 6
    assert list((folder / "run/tensorboard").iterdir())
    predictor = samkit.Predictor.load(folder / "run/best.safetensors")
    assert predictor.model_name == "tiny"
    image = np.zeros((40, 50, 3), np.uint8)
    answer = predictor.predict(predictor.embed(image), points=[[9, 9]], labels=[1])
    assert answer.masks.shape == (3, 40, 50)


def test_of_several_processes_one_tells_the_result(folder, capsys, monkeypatch):
    for rank, told in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        assert main(["train", "scenes", *SHORT, "run.steps=1", "-o", rank]) == 0
        output = capsys.readouterr()
        assert ("best.safetensors" in output.out) is told
        assert ("samkit: 1 step of 2 images, up to" in output.err) is told


def test_an_evaluation_without_masks_is_one_line(folder, capsys):
    tiny = "data.val=scenes:count=2,size=16"
    assert main(["train", "scenes", *SHORT, tiny, "run.evaluate_first=true"]) == 2
    error = capsys.readouterr().err
    assert "scenes:count=2,size=16: the first 40 images have no mask of 100 pixels" in error
    assert len(without_plan(error)) == 1


def test_a_resumed_training_is_the_same_training(folder):
    steps = [*SHORT, "optim.schedule=steps"]  # rates that do not depend on the last step
    assert main(["train", "scenes", *steps, "-o", "whole"]) == 0
    assert main(["train", "scenes", *steps, "run.steps=4", "-o", "parts"]) == 0
    assert main(["train", "scenes", *steps, "-o", "parts", "--resume"]) == 0
    whole, parts = (load_file(folder / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.fixture
def tiny_weights(folder, randomise):
    sam = Sam(CONFIGS["tiny"])
    randomise(sam)
    save_checkpoint(sam, folder / "tiny.safetensors", name="tiny")
    return "tiny.safetensors"


@pytest.fixture
def own_images(folder):
    """Three images of two instances, and one that is broken."""
    for name in ("images", "masks"):
        (folder / "own" / name).mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)
        instances = np.zeros((60, 80), np.uint8)
        instances[10:30, 5:40], instances[35:55, 30:70] = 1, 2
        Image.fromarray(pixels).save(folder / f"own/images/{number}.png")
        Image.fromarray(instances).save(folder / f"own/masks/{number}.png")
    (folder / "own/images/bad.png").write_text("no picture")
    Image.fromarray(instances).save(folder / "own/masks/bad.png")
    return "png:own"


def test_finetuning_on_own_images_from_kept_embeddings(folder, tiny_weights, own_images, caplog):
    changes = [
        f"model.weights={tiny_weights}",
        "model.config=tiny",
        f"data.train={own_images}",
        f"data.val={own_images}",  # with a broken one, which is left out
        "truth_size=32",
        "data.images_per_batch=2",
        "run.steps=3",
        "run.accelerator=cpu",
    ]
    assert main(["train", "finetune", *changes, "-o", "run"]) == 0
    assert len(list((folder / "embeddings").iterdir())) == 3
    assert "bad" in caplog.text
    before, after = (load_file(folder / name) for name in (tiny_weights, "run/last.safetensors"))
    changed = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert changed
    assert not any(name.startswith("image_encoder") for name in changed)


def test_all_settings_can_be_seen(capsys):
    for name, recipe in SAM_RECIPES.items():
        assert main(["train", name, "--show", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown == json.loads(json.dumps(list_settings(recipe())))
    assert main(["train", "vit_h", "optim.lr=0.5", "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "optim.lr=0.5" in lines
    assert "optim.layer_decay=0.8" in lines


def test_the_papers_recipe():
    paper = list_settings(SAM_RECIPES["vit_h"]())
    expected = {
        "model.config": "sam_vit_h",
        "model.drop_path": 0.4,
        "truth_size": 1024,
        "data.max_masks_per_image": 64,
        "data.max_area_fraction": 0.9,
        "data.scale_jitter": None,
        "session.prompts.corrections": 8,
        "session.loss.focal": 20.0,
        "session.loss.dice": 1.0,
        "session.loss.iou": 1.0,
        "optim.lr": 8e-4,
        "optim.betas": (0.9, 0.999),
        "optim.weight_decay": 0.1,
        "optim.layer_decay": 0.8,
        "optim.warmup_steps": 250,
        "optim.milestones": (60_000, 86_666),
        "optim.decay_factor": 0.1,
        "run.steps": 90_000,
    }
    assert {name: paper[name] for name in expected} == expected
    base, large = (list_settings(SAM_RECIPES[name]()) for name in ("vit_b", "vit_l"))
    for name, values in {
        "optim.lr": (8e-4, 4e-4),
        "optim.layer_decay": (0.6, 0.8),
        "model.drop_path": (0.6, 0.4),
        "run.steps": (180_000, 180_000),
    }.items():
        assert (base[name], large[name]) == values


BAD = {
    "unknown recipe": (["train", "vit_x"], "'vit_x' is not one of"),
    "unknown setting": (["train", "scenes", "optim.rate=1"], "unknown setting 'optim.rate'"),
    "bad value": (["train", "scenes", "run.steps=many"], "run.steps must be a whole number"),
    "no data": (["train", "finetune"], "no images to train on: give data.train=coco:FILE.json"),
    "missing data": (
        ["train", "finetune", "data.train=train.json"],
        "no such file or folder: train.json",
    ),
    "no weights": (
        ["train", "finetune", "data.train=scenes", "model.weights=none.safetensors"],
        "no such file: none",
    ),
    "kept and learning": (
        ["train", "lora", "embeddings=kept"],
        "cached embeddings cannot train the image encoder",
    ),
    "kept and jittered": (
        ["train", "finetune", "data.train=scenes:count=1,size=32", "data.flip=true"],
        "cached embeddings are of images without augmentation",
    ),
    "huge truth": (["train", "scenes", "truth_size=4096"], "truth_size must be at least 1 and at"),
    "unwritable": (["train", "scenes", *SHORT, "-o", "file/run"], "cannot write to"),
}


@pytest.mark.parametrize("arguments", [pytest.param(a, id=name) for name, a in BAD.items()])
def test_bad_input_is_one_line(arguments, folder, capsys):
    (folder / "file").touch()
    command, message = arguments
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(without_plan(error)) == 1


def test_a_folder_with_a_training_is_not_overwritten(folder, capsys):
    assert main(["train", "scenes", *SHORT, "run.steps=1", "-o", "run"]) == 0
    before = (folder / "run/last.safetensors").read_bytes()
    assert main(["train", "scenes", *SHORT, "-o", "run"]) == 2
    assert "run contains a training: --resume it" in capsys.readouterr().err
    assert main(["train", "scenes", *SHORT, "optim.lr=1", "-o", "run", "--resume"]) == 2
    assert "of another recipe: resume it with optim.lr=0.002" in capsys.readouterr().err
    assert (folder / "run/last.safetensors").read_bytes() == before
