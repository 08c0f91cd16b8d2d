"""`samkit pretrain`, followed by `samkit train` and `samkit distill`."""

import json
import re

import pytest

from samkit.cli import distill, pretrain
from samkit.cli.main import main
from samkit.models import CONFIGS, Sam
from samkit.training.distill.recipe import DISTILL_RECIPES
from samkit.training.mae.recipe import MAE_RECIPES
from samkit.training.settings import list_settings
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model

SHORT = [
    "data.train=scenes:count=8,size=64",
    "data.val=scenes:count=3,size=64,seed=1",
    "data.images_per_batch=3",
    "held_out_images=3",
    "run.steps=2",
    "run.accelerator=cpu",
]
TRAIN = [change for change in SHORT if not change.startswith("held_out")]
VERBS = {
    "pretrain": (pretrain.RECIPE_NAMES, MAE_RECIPES),
    "distill": (distill.RECIPE_NAMES, DISTILL_RECIPES),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def teacher(folder, randomise):
    sam = Sam(CONFIGS["tiny"])
    randomise(sam)
    save_checkpoint(sam, folder / "teacher.safetensors", name="tiny")
    return "teacher=teacher.safetensors"


def test_a_pretrained_encoder_is_trained_further(folder, capsys):
    assert main(["pretrain", "scenes", *SHORT, "-o", "mae", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["last"] == "mae/last.safetensors"
    assert [path.name for path in (folder / report["pictures"]).iterdir()] == ["000002.png"]
    weights = f"model.encoder_weights={report['last']}"
    assert main(["train", "scenes", *TRAIN, weights, "-o", "sam"]) == 0
    assert load_model(folder / "sam/last.safetensors").name == "tiny"


def test_a_distillation_reports_before_and_after(folder, teacher, capsys):
    steps = [*SHORT, "optim.schedule=steps"]  # cosine cannot be made longer
    assert main(["distill", "scenes", teacher, *steps, "-o", "student", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["before"]["masks"] == report["after"]["masks"] > 0
    assert report["after"]["embedding_error"] < report["before"]["embedding_error"]
    assert load_model(folder / report["last"]).name == "tiny_mobile"
    assert main(["distill", "scenes", teacher, *steps, "run.steps=3", "-o", "student"]) == 2
    assert "student contains a training: --resume" in capsys.readouterr().err
    command = ["distill", "scenes", teacher, *steps, "run.steps=3", "-o", "student", "--resume"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert f"IoU of masks, for a box               {report['before']['box_iou']:.3f}" in text


@pytest.mark.parametrize("verb", VERBS)
def test_all_settings_of_all_recipes_can_be_seen(verb, capsys):
    names, recipes = VERBS[verb]
    assert names == tuple(recipes)
    for name, recipe in recipes.items():
        assert main([verb, name, "--show", "--json"]) == 0
        expected = json.loads(json.dumps(list_settings(recipe())))
        assert json.loads(capsys.readouterr().out) == expected


BAD = {
    "unknown recipe": (["pretrain", "vit_x"], "'vit_x' is not one of"),
    "unknown setting": (["pretrain", "scenes", "mae.ratio=1"], "unknown setting 'mae.ratio'"),
    "not a ViT": (["pretrain", "scenes", "model=mobile_sam"], "train it from another model"),
    "no images": (["pretrain", "vit_b", "run.accelerator=cpu"], "no images to train on"),
    "no teacher": (["distill", "scenes"], "no such file: samkit-training/best.safetensors"),
    "unknown student": (["distill", "scenes", "student=x"], "unknown model 'x'"),
    "unwritable": (["pretrain", "scenes", *SHORT, "-o", "file/run"], "cannot write to"),
}


@pytest.mark.parametrize("arguments", [pytest.param(a, id=name) for name, a in BAD.items()])
def test_bad_input_is_one_line(arguments, folder, capsys):
    (folder / "file").touch()
    command, message = arguments
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    plan = re.compile(r"samkit: [\d,]+ steps? of ")  # before what only the training finds
    assert len([line for line in error.strip().splitlines() if not plan.match(line)]) == 1
