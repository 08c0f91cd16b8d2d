"""The documents' trainings: fine-tuning, and the flywheel."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

import samkit
from documents.conftest import write_coco
from documents.running import run_page
from read_log import read_log
from samkit.dataengine import Learning, Store, list_learned_models, serving_version
from samkit.datasets.synthetic import NamedScenes
from samkit.learning import Learner, proposers

TRAINING = "docs/training.md"
FLYWHEEL = "docs/flywheel.md"
POINTS = 6  # a side, and as many boxes of a head
pytestmark = pytest.mark.usefixtures("server_ends")


@pytest.mark.slow
def test_fine_tuning_in_ten_lines_changes_the_decoder_alone(folder, capsys):
    before = samkit.Predictor.load("mobile_sam")
    embedding = before.embed("image.jpg")
    run_page(TRAINING, folder, capsys)
    assert [row["step"] for row in read_log(folder / "mine/scores.csv")] == [0, 1, 2]
    tuned, old = load_file("mine/last.safetensors"), before.model.state_dict()
    changed = {name for name, value in tuned.items() if not value.equal(old[name])}
    assert any(name.startswith("mask_decoder") for name in changed)
    assert not any(name.startswith("image_encoder") for name in changed)
    # What was embedded before the training is answered by the new decoder.
    after = samkit.Predictor.load("mine/last.safetensors")
    point = {"points": [[300, 200]], "labels": [1]}
    answers = [predictor.predict(embedding, **point) for predictor in (before, after)]
    assert not np.array_equal(answers[0].logits, answers[1].logits)


@pytest.mark.slow
def test_the_flywheel_turns(folder, capsys, monkeypatch):
    """In two rounds of few steps and points, a judge content with each model, on drawn scenes."""
    images = [NamedScenes(count=16, size=96, seed=5)[index].image for index in range(16)]
    write_coco(folder / "train.json", images)
    monkeypatch.setattr("samkit.learning.learn_recipe.MAX_STEPS", 2)
    monkeypatch.setattr("samkit.learning.learn_recipe.MIN_STEPS", 2)
    monkeypatch.setattr("samkit.learning.judge.MASKS_PER_IMAGE", 1)
    for name in ("BY_GRID", "BY_HEAD"):
        few = replace(getattr(proposers, name), points_per_side=POINTS, max_proposals=POINTS**2)
        monkeypatch.setattr(proposers, name, few)
    monkeypatch.setattr("samkit.learning.GENERAL", "scenes:count=2,size=64,seed=7")
    content = replace(Learning(), max_clicks=1)
    monkeypatch.setattr("samkit.dataengine.Learning", lambda **_: content)
    found = Learner.judge

    def promote(*arguments):
        return replace(found(*arguments), is_better=True)

    monkeypatch.setattr(Learner, "judge", promote)
    run_page(FLYWHEEL, folder, capsys)
    assert len(json.loads((folder / "turn/rounds.json").read_text())["rounds"]) == 2
    with Store.open(folder / "turn/store.db") as store:
        assert len(list_learned_models(store, 1)) >= 2
        assert serving_version(store, 1) == 2
