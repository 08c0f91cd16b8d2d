from pathlib import Path

import pytest
import torch

from read_log import read_log
from samkit.errors import ConfigError, WeightsError
from samkit.models import CONFIGS, Sam
from samkit.training.distill.recipe import DISTILL_RECIPES, DistillRecipe
from samkit.training.distill.setup import Distilled, build_distillation
from samkit.training.run import train
from samkit.training.settings import override
from samkit.weights.checkpoint import save_checkpoint
from samkit.weights.load import load_model


@pytest.fixture
def recipe(tiny_sam: Sam, tmp_path: Path) -> DistillRecipe:
    save_checkpoint(tiny_sam, tmp_path / "teacher.safetensors", name="tiny")
    return override(
        DISTILL_RECIPES["scenes"](),
        [
            f"teacher={tmp_path / 'teacher.safetensors'}",
            "data.train=scenes:count=8,size=128",
            "data.val=scenes:count=4,size=128,seed=1",
            "data.images_per_batch=4",
            "held_out_images=4",
            "optim.warmup_steps=0",
            "run.steps=6",
            "run.evaluate_every=3",
            "run.accelerator=cpu",
        ],
    )


def test_mobile_sam_learns_from_vit_h() -> None:
    recipe = DISTILL_RECIPES["mobile_sam"]()
    assert (recipe.teacher, recipe.student) == ("sam_vit_h", "mobile_sam")
    assert recipe.data.scale_jitter is None  # the features are of images as in prediction
    assert recipe.run.steps * recipe.data.images_per_batch == 8 * 100_000


def test_the_student_of_the_tiny_model_is_smaller() -> None:
    sizes = [
        sum(parameter.numel() for parameter in Sam(CONFIGS[name]).image_encoder.parameters())
        for name in ("tiny_mobile", "tiny")
    ]
    assert sizes[0] < sizes[1]


def test_a_run_leaves_a_whole_model_and_compares_before_and_after(
    recipe: DistillRecipe, tiny_sam: Sam, tmp_path: Path
) -> None:
    distilled = train(recipe, tmp_path / "out")
    assert isinstance(distilled, Distilled)
    before, after = distilled.before, distilled.after
    assert after.embedding_error < before.embedding_error
    assert after.masks == before.masks > 4
    loaded = load_model(distilled.last)
    assert loaded.name == "tiny_mobile"
    decoder = tiny_sam.mask_decoder.state_dict()
    assert all(
        torch.equal(t, decoder[n]) for n, t in loaded.model.mask_decoder.state_dict().items()
    )
    scores = read_log(tmp_path / "out" / "scores.csv")
    assert [int(row["step"]) for row in scores] == [3, 6]
    assert scores[-1]["negative_error"] == pytest.approx(-after.embedding_error, rel=1e-4)
    assert distilled.best_score == pytest.approx(max(s["explained"] for s in scores), 1e-4)


def test_a_student_that_begins_with_weights_keeps_its_norms(
    recipe: DistillRecipe, tmp_path: Path
) -> None:
    assert not build_distillation(recipe).holds_norms
    task = build_distillation(recipe)
    task.export(tmp_path / "student.safetensors")
    again = build_distillation(
        override(recipe, [f"student_weights={tmp_path / 'student.safetensors'}"])
    )
    assert again.holds_norms
    state = task.student.image_encoder.state_dict()
    for name, tensor in again.student.image_encoder.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_what_cannot_be_distilled_is_refused(recipe: DistillRecipe) -> None:
    with pytest.raises(ConfigError, match="unknown model 'no'"):
        override(recipe, ["student=no"])
    with pytest.raises(WeightsError, match="no such file"):
        build_distillation(override(recipe, ["teacher=no.safetensors"]))
    with pytest.raises(ConfigError, match="image size must be the teacher's, 128; got 1024"):
        build_distillation(override(recipe, ["student=mobile_sam"]))
