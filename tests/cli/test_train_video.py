"""`samkit train` of SAM 2 on videos."""

import json

import pytest

from read_log import read_log
from samkit.cli.main import main
from samkit.video import Sam2Tracker, VideoPredictor

SHORT = [
    "data.train=moving:scenes:count=6,size=48,seed=0,things=4",
    "data.val=moving:scenes:count=2,size=48,seed=1,things=4",
    "data.clips_per_batch=1",
    "data.frames=3",
    "evaluation.clips=1",
    "evaluation.frames=3",
    "run.steps=2",
    "run.log_every=1",
    "run.evaluate_every=1",
    "run.accelerator=cpu",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_training_leaves_weights_that_track(folder, capsys):
    assert main(["train", "video_scenes", *SHORT, "-o", "run"]) == 0
    shown = capsys.readouterr()
    assert "run/best.safetensors, J&F " in shown.out
    assert "2 steps of 1 clip of 3 frames, up to 2 objects each" in shown.err
    assert "(6 videos)" in shown.err
    scores = read_log(folder / "run/scores.csv")
    assert [row["step"] for row in scores] == [1, 2]
    assert set(scores[0]) == {"step", "j_and_f", "j", "f"}
    assert len(read_log(folder / "run/log.csv")) == 2
    assert isinstance(VideoPredictor.load(folder / "run/best.safetensors").tracker, Sam2Tracker)
    assert main(["train", "video_scenes", *SHORT, "-o", "run"]) == 2
    assert "contains a training: --resume it" in capsys.readouterr().err


def test_settings_are_shown(capsys):
    assert main(["train", "video", "--show", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["model.weights"] == "sam2.1_hiera_tiny"
    assert settings["data.frames"] == 8
    assert settings["session.prompts.mask_probability"] == 0.5
    assert settings["session.loss.focal"] == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.train=none", "no videos to train on: give data.train=davis:FOLDER"),
        ("data.train=coco:train.json", "videos to train on are davis:FOLDER or moving:DATA"),
        ("data.train=davis:none", "none has no sequences in DAVIS layout"),
        ("data.val=moving:nothing", "no such file or folder: nothing"),
        ("model.config=tiny", "only SAM 2 has a memory to train"),
        ("data.length=8", "unknown setting 'data.length'"),
    ],
)
def test_bad_input_is_one_line(change, message, capsys):
    assert main(["train", "video_scenes", *SHORT, change, "-o", "run"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
