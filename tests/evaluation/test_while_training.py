"""Scores of a SAM in training on the recipe's validation images."""

import pytest
import torch

from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError, DataError
from samkit.evaluation import OneClick, validation_scores
from samkit.evaluation.truth import MaskChoice
from samkit.evaluation.while_training import readable_images
from samkit.predict import Predictor
from samkit.training import SAM_RECIPES, InteractiveTask, build_trainable, override

CHANGES = ["data.val=scenes:count=3,size=64,seed=1", "evaluation.images=3"]


@pytest.fixture
def recipe():
    return override(SAM_RECIPES["scenes"](), CHANGES)


@pytest.fixture
def task(recipe):
    torch.manual_seed(0)
    return InteractiveTask(build_trainable(recipe.model), recipe.session)


def test_scores_are_those_of_the_protocol(recipe, task):
    scores = validation_scores(recipe)(task)
    protocol = OneClick(choice=MaskChoice(masks_per_image=recipe.evaluation.masks_per_image))
    predictor = Predictor(task.sam.eval(), model_name="tiny")
    samples = [Scenes(count=3, size=64, seed=1)[index] for index in range(3)]
    results = [protocol.measure(predictor, predictor.embed(s.image), s) for s in samples]
    metrics = protocol.summarise(results).metrics
    assert next(iter(scores)) == "miou"
    assert scores == {name: metrics[name] for name in scores}


@pytest.mark.parametrize(("learns", "runs"), [("decoder", 3), ("all", 6)])
def test_a_frozen_encoder_runs_once_for_each_image(recipe, learns, runs, monkeypatch):
    recipe = override(recipe, [f"model.learns={learns}"])
    task = InteractiveTask(build_trainable(recipe.model), recipe.session)
    embed, images = Predictor.embed, []
    monkeypatch.setattr(
        Predictor, "embed", lambda self, image: images.append(1) or embed(self, image)
    )
    evaluate = validation_scores(recipe)
    assert evaluate(task) == evaluate(task)
    assert len(images) == runs


def test_broken_images_are_left_out_and_logged(make_source, caplog):
    assert readable_images(make_source(5, broken=(1, 3)), 4) == [0, 2]
    assert "skipped 1.png" in caplog.text


def test_what_cannot_be_evaluated_is_refused(
    recipe, task, tmp_path, write_tar, sa1b_files, refusal
):
    assert validation_scores(override(recipe, ["data.val=none"])) is None
    with refusal(DataError, "no such file or folder"):
        validation_scores(override(recipe, ["data.val=no.json"]))
    shard = write_tar(tmp_path / "a.tar", sa1b_files(range(2)))
    with refusal(ConfigError, "evaluations during training (data.val)", "tar shards"):
        validation_scores(override(recipe, [f"data.val=shards:{shard}"]))
    empty = override(recipe, ["data.val=scenes:count=2,size=16"])
    with refusal(DataError, "the first 3 images have no mask of 100 pixels or more"):
        validation_scores(empty)(task)
