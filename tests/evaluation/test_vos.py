from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from samkit.cli.main import main
from samkit.errors import DataError
from samkit.evaluation import (
    evaluate_vos,
    find_vos_sequences,
    outline_accuracy,
    region_similarity,
    vos_markdown,
)
from samkit.video import Video
from video.stub_tracker import StubTracker, level_frames


class StubPredictor:
    """A video predictor whose model is a stub."""

    def __init__(self):
        self.tracker = StubTracker()
        self.predictor = None

    def describe(self):
        return {"tracker": self.tracker.describe()}

    def open_source(self, source):
        return Video(self.tracker, source)


@pytest.fixture
def no_model(monkeypatch):
    monkeypatch.setattr("samkit.evaluation.vos_runner.model_identity", lambda _: {"model": "stub"})


def write_davis(folder, names=("one", "two"), *, count=6):
    """Two objects, 1 and 2, in each sequence; the second one is drawn too large in frame 3."""
    for name in names:
        images, masks = folder / "JPEGImages" / name, folder / "Annotations" / name
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number, frame in enumerate(level_frames(count)):
            Image.fromarray(frame).save(images / f"{number:05d}.png")
            labels = np.zeros(frame.shape[:2], np.uint8)
            labels[frame[..., 1] == 100] = 1
            labels[frame[..., 1] == 200] = 2
            if number == 3:
                labels[30:40, 30:40] = 2
            Image.fromarray(labels).save(masks / f"{number:05d}.png")
    return folder


def square(x, y, side, size=100):
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_j_is_the_iou():
    assert region_similarity(square(0, 0, 10), square(5, 0, 10)) == pytest.approx(50 / 150)
    assert region_similarity(square(0, 0, 0), square(0, 0, 0)) == 1


def test_f_forgives_outlines_that_are_off_by_its_tolerance():
    truth = square(30, 30, 20)  # the diagonal is 141 pixels: two pixels are forgiven
    assert outline_accuracy(truth, truth) == 1
    assert outline_accuracy(square(32, 30, 20), truth) == 1
    assert 0.4 < outline_accuracy(square(33, 30, 20), truth) < 0.7
    assert outline_accuracy(square(70, 70, 20), truth) == 0
    assert outline_accuracy(square(0, 0, 0), truth) == 0
    assert outline_accuracy(square(0, 0, 0), square(0, 0, 0)) == 1


def test_first_and_last_frames_do_not_count_and_objects_before_sequences(tmp_path, no_model):
    sequences = find_vos_sequences(write_davis(tmp_path))
    result = evaluate_vos(StubPredictor(), sequences)
    assert [one["objects"] for one in result.sequences] == [2, 2]
    # Of four frames that count, one has an IoU of a half for the second object.
    assert result.mean("j") == pytest.approx((1 + (3 + 0.5) / 4) / 2)
    assert result.mean("f") > result.mean("j")


def test_measured_sequences_are_not_measured_again(tmp_path, no_model):
    sequences = find_vos_sequences(write_davis(tmp_path / "data"))
    found = []
    path = tmp_path / "records" / "vos.jsonl"
    for _ in range(2):
        evaluate_vos(
            StubPredictor(), sequences, path=path, on_sequence=lambda *one: found.append(one)
        )
    assert found == [("one", True), ("two", True), ("one", False), ("two", False)]


@pytest.mark.parametrize("first", ["mask", "box", "click"])
def test_objects_are_shown_by_mask_box_or_click(tmp_path, no_model, first):
    sequences = find_vos_sequences(write_davis(tmp_path, ["one"]))
    result = evaluate_vos(StubPredictor(), sequences, first=first)
    assert result.mean("j") > 0.9
    assert f"first frame by {first}" in vos_markdown({"stub": result}, first)


def test_a_folder_without_sequences_is_refused(tmp_path, capsys):
    with pytest.raises(DataError, match="no sequences in DAVIS layout"):
        find_vos_sequences(tmp_path)
    assert main(["evaluate", str(tmp_path), "--protocol", "vos", "-o", str(tmp_path / "o")]) == 2
    assert "no sequences in DAVIS layout" in capsys.readouterr().err
    arguments = ["evaluate", str(tmp_path), "--protocol", "vos", "--protocol", "noc"]
    assert main([*arguments, "-o", str(tmp_path / "o")]) == 2
    assert "vos measures videos: give it alone" in capsys.readouterr().err
