from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from read_log import read_log
from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam
from samkit.training.encoder_weights import load_encoder
from samkit.training.loop import Progress
from samkit.training.mae.pictures import GAP_PX
from samkit.training.mae.recipe import MAE_RECIPES, MaeRecipe
from samkit.training.mae.setup import PICTURES, build_mae, evaluate_mae
from samkit.training.run import train
from samkit.training.settings import override

Refusal = Callable[..., AbstractContextManager[None]]
SHORT = (
    "mae.decoder_dim=16",
    "mae.decoder_depth=1",
    "data.train=scenes:count=12,size=128",
    "data.val=scenes:count=5,size=128,seed=1",
    "data.images_per_batch=4",
    "held_out_images=5",
    "pictures=3",
    "optim.warmup_steps=0",
    "run.steps=4",
    "run.evaluate_every=2",
    "run.save_every=2",
    "run.log_every=1",
    "run.accelerator=cpu",
)


@pytest.fixture
def recipe() -> MaeRecipe:
    return override(MAE_RECIPES["scenes"](), SHORT)


def test_the_papers_settings() -> None:
    recipe = MAE_RECIPES["vit_h"]()
    assert recipe.mae.mask_ratio == 0.75
    assert (recipe.mae.decoder_dim, recipe.mae.decoder_depth, recipe.mae.decoder_heads) == (
        512,
        8,
        16,
    )
    assert recipe.mae.normalise_patches
    assert recipe.encoder == replace(CONFIGS["sam_vit_h"].encoder, image_size=224)
    assert recipe.optim.betas == (0.9, 0.95)
    assert recipe.optim.lr == pytest.approx(1.5e-4 * 4096 / 256)
    assert recipe.optim.weight_decay == 0.05
    assert recipe.optim.schedule == "cosine"
    assert recipe.optim.warmup_steps / recipe.run.steps == 40 / 800
    assert recipe.run.steps == 800 * (1_281_167 // 4096)


def test_a_run_leaves_weights_logs_and_pictures(
    recipe: MaeRecipe, tiny_sam: Sam, tmp_path: Path
) -> None:
    steps: list[int] = []
    trained = train(recipe, tmp_path, on_step=lambda progress: steps.append(progress.step))
    assert steps == [1, 2, 3, 4]
    assert [int(row["step"]) for row in read_log(tmp_path / "log.csv")] == [1, 2, 3, 4]
    scores = read_log(tmp_path / "scores.csv")
    assert [int(row["step"]) for row in scores] == [2, 4]
    best = max(row["negative_loss"] for row in scores)
    assert trained.best_score == pytest.approx(best, rel=1e-4)
    pictures = sorted((tmp_path / PICTURES).iterdir())
    assert [path.name for path in pictures] == ["000002.png", "000004.png"]
    first, last = (np.asarray(Image.open(path)) for path in pictures)
    assert first.shape == (3 * 128 + 2 * GAP_PX, 3 * 128 + 2 * GAP_PX, 3)
    assert np.array_equal(first[:, : 2 * 128 + GAP_PX], last[:, : 2 * 128 + GAP_PX])
    assert not np.array_equal(first, last)  # the same images and patches, drawn otherwise
    assert load_encoder(tiny_sam, trained.last).loaded


def test_a_resumed_run_is_an_uninterrupted_one(recipe: MaeRecipe, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    expected = load_file(train(recipe, whole).last)

    def stop(progress: Progress) -> None:
        if progress.step == 3:  # one after the last checkpoint
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        train(recipe, halves, on_step=stop)
    got = load_file(train(recipe, halves, resume=True).last)
    assert all((got[name] == tensor).all() for name, tensor in expected.items())


def test_pictures_show_the_averaged_encoder(recipe: MaeRecipe, tmp_path: Path) -> None:
    """An average that hardly moves draws as after the first step; weights alone do not."""
    recipe = override(recipe, ["run.evaluate_every=1", "optim.lr=0.03"])
    slow = override(recipe, ["optim.average_decay=0.999999"])
    last: list[bool] = []
    for name, one in (("plain", recipe), ("averaged", slow)):
        train(one, tmp_path / name)
        first, fourth = (
            np.asarray(Image.open(tmp_path / name / PICTURES / f"00000{step}.png")).astype(int)
            for step in (1, 4)
        )
        last.append(bool(np.abs(first - fourth).max() <= 2))
    assert last == [False, True]


def test_an_evaluation_is_the_same_every_time(recipe: MaeRecipe) -> None:
    task = build_mae(recipe).eval()
    first = evaluate_mae(task, recipe)
    assert evaluate_mae(task, recipe) == first
    assert evaluate_mae(build_mae(recipe).eval(), recipe) == first


def test_what_cannot_be_pretrained_is_refused(recipe: MaeRecipe, refusal: Refusal) -> None:
    for change, parts in (
        ("model=mobile_sam", ("ViT encoders", "mobile_sam", "samkit distill")),
        ("model=no", ("unknown model 'no'", "sam_vit_b")),
        ("image_size=100", ("image_size", "multiple of 16", "got 100")),
        ("pictures=-1", ("pictures", "at least 0", "got -1")),
        ("held_out_images=0", ("held_out_images", "at least 1", "got 0")),
    ):
        with refusal(ConfigError, *parts):
            override(recipe, [change])
