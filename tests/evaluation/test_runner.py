"""Evaluation runs: resumed, repeated, with broken images."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.stub import BROKEN, ListSource, make_sample, rectangle
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError, OutputError
from samkit.evaluation import (
    BoxPrompts,
    Edges,
    Interactive,
    MaskChoice,
    OneClick,
    Recall,
    evaluate_model,
    model_identity,
    report_model,
)
from samkit.evaluation.records import Record, Records, sample_checksum
from samkit.predict import Predictor

CHOICE = MaskChoice(masks_per_image=3, min_area_px=20)
PROTOCOLS = (
    OneClick(choice=CHOICE),
    Interactive(choice=CHOICE, max_clicks=3),
    Recall(points_per_side=3),
    BoxPrompts(),
    Edges(points_per_side=3, thresholds=3),
)
SOURCE = Scenes(count=3, size=64)


@pytest.fixture
def predictor(tiny_sam):
    return Predictor(tiny_sam, model_name="tiny")


def without_seconds(result):
    return {
        name: [(record.key, record.checksum, record.result) for record in records]
        for name, records in result.records.items()
    }


class StoppedError(Exception):
    pass


def stop_after(images):
    done = []

    def on_image(key, new_masks):
        done.append(key)
        if len(done) == images:
            raise StoppedError

    return on_image


def test_resumed_run_equals_an_uninterrupted_one(predictor, tmp_path, monkeypatch):
    whole = evaluate_model(predictor, SOURCE, PROTOCOLS, folder=tmp_path / "whole")
    with pytest.raises(StoppedError):
        evaluate_model(
            predictor, SOURCE, PROTOCOLS, folder=tmp_path / "parts", on_image=stop_after(2)
        )
    path = tmp_path / "parts" / "noc.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # killed while it wrote the second image
    calls = []
    embed = predictor.embed
    monkeypatch.setattr(predictor, "embed", lambda image: calls.append(1) or embed(image))
    new_masks = {}
    resumed = evaluate_model(
        predictor, SOURCE, PROTOCOLS, folder=tmp_path / "parts", on_image=new_masks.__setitem__
    )
    assert without_seconds(resumed) == without_seconds(whole)
    assert len(calls) == 2  # of the image that was half done, and the one that was not
    assert next(iter(new_masks.values())) == 0
    assert new_masks[SOURCE.key(1)] == len(CHOICE.choose(SOURCE[1]))
    reports = [report_model(one, PROTOCOLS, {}) for one in (whole, resumed)]
    assert [own.summary for own in reports[0].protocols.values()] == [
        own.summary for own in reports[1].protocols.values()
    ]
    # All is there now.
    again = evaluate_model(predictor, SOURCE, PROTOCOLS, folder=tmp_path / "parts")
    assert without_seconds(again) == without_seconds(whole)
    assert len(calls) == 2


def test_each_image_is_embedded_once_for_all_protocols(predictor, monkeypatch):
    calls = []
    embed = predictor.embed
    monkeypatch.setattr(predictor, "embed", lambda image: calls.append(1) or embed(image))
    one = evaluate_model(predictor, SOURCE, PROTOCOLS, images=2)
    assert len(calls) == 2
    assert {name: len(own) for name, own in one.records.items()} == dict.fromkeys(
        ("one-click", "noc", "recall", "boxes", "edges"), 2
    )
    assert without_seconds(one) == without_seconds(
        evaluate_model(predictor, SOURCE, PROTOCOLS, images=2)
    )


def test_protocols_and_images_can_be_added(predictor, tmp_path):
    evaluate_model(predictor, SOURCE, PROTOCOLS[:1], images=1, folder=tmp_path)
    first = (tmp_path / "one-click.jsonl").read_text()
    evaluate_model(predictor, SOURCE, PROTOCOLS[:2], folder=tmp_path)
    assert (tmp_path / "one-click.jsonl").read_text().startswith(first)
    assert len((tmp_path / "noc.jsonl").read_text().splitlines()) == 1 + 3


def test_broken_images_are_skipped_and_told(predictor, tmp_path):
    good = make_sample(rectangle(10, 10, 40, 40), key="good")
    source = ListSource(BROKEN, good)
    told = []
    result = evaluate_model(
        predictor, source, PROTOCOLS[:1], folder=tmp_path, on_skipped=told.append
    )
    assert [record.key for record in result.records["one-click"]] == ["good"]
    assert [(one.image, one.error) for one in result.skipped] == [
        ("broken 0", "half.jpg is truncated")
    ]
    assert tuple(told) == result.skipped


def test_broken_annotations_are_logged_once(predictor, caplog):
    sample = replace(make_sample(rectangle(10, 10, 40, 40)), faults=("annotation 3: malformed",))
    evaluate_model(predictor, ListSource(sample), PROTOCOLS[:2])
    assert [record.getMessage() for record in caplog.records] == [
        "image: left out annotation 3: malformed"
    ]


def test_other_settings_are_refused(predictor, tmp_path, refusal):
    evaluate_model(predictor, SOURCE, PROTOCOLS[:1], images=1, folder=tmp_path)
    other = OneClick(choice=replace(CHOICE, masks_per_image=4))
    message = "one-click.jsonl holds results with settings.masks_per_image 3, not 4"
    with refusal(ConfigError, message, "--output"):
        evaluate_model(predictor, SOURCE, [other], images=1, folder=tmp_path)


def test_another_model_is_refused(predictor, tmp_path, refusal, randomise):
    evaluate_model(predictor, SOURCE, PROTOCOLS[:1], images=1, folder=tmp_path)
    before = model_identity(predictor)
    randomise(predictor.model.mask_decoder, seed=1)
    assert model_identity(predictor)["checksum"] != before["checksum"]
    with refusal(ConfigError, "holds results with model.checksum"):
        evaluate_model(predictor, SOURCE, PROTOCOLS[:1], images=1, folder=tmp_path)


def test_changed_images_and_masks_are_measured_again(predictor, tmp_path):
    mask = rectangle(10, 10, 40, 40)
    sample = make_sample(mask)
    other_image = replace(sample, image=sample.image + np.uint8(9))
    other_mask = make_sample(mask | rectangle(0, 0, 12, 12))
    checksums = {sample_checksum(one) for one in (sample, other_image, other_mask)}
    assert len(checksums) == 3
    assert sample_checksum(sample) == sample_checksum(make_sample(mask))
    measured = []
    for one in (sample, other_image, other_mask, other_mask):
        evaluate_model(
            predictor,
            ListSource(one),
            PROTOCOLS[:1],
            folder=tmp_path,
            on_image=lambda key, new_masks: measured.append(new_masks),
        )
    assert measured == [1, 1, 1, 0]


RECORD = Record(key="a", checksum="0", result={"masks": 1}, seconds=1.0, embed_seconds=0.5)


def test_every_cut_of_the_file_leaves_whole_records(tmp_path):
    path = tmp_path / "records.jsonl"
    with Records.writing(path, {"n": 1}) as records:
        for number in range(3):
            records.add(replace(RECORD, key=str(number)))
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        with Records.writing(path, {"n": 1}) as records:
            found = [records.find(str(number), "0") is not None for number in range(3)]
            records.add(replace(RECORD, key="new"))
        whole = sum(end <= size for end in ends) - 1
        assert found == [number < whole for number in range(3)]
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == max(whole, 0) + 2


def test_damaged_and_foreign_files_are_refused(tmp_path, refusal):
    path = tmp_path / "records.jsonl"
    for content in (b"{\n", b"[]\n", b'{"a": 1}\n'):
        path.write_bytes(content)
        with refusal(OutputError, "is damaged"), Records.writing(path, {}):
            pass
    path.write_bytes(b'{"format": "samkit-evaluation-99"}\n')
    with refusal(OutputError, "another version"), Records.writing(path, {}):
        pass
    with refusal(OutputError, "cannot write"), Records.writing(path / "below", {}):
        pass


def test_two_runs_cannot_write_to_one_file(tmp_path, refusal):
    path = tmp_path / "records.jsonl"
    with (
        Records.writing(path, {}),
        refusal(OutputError, "another run is writing"),
        Records.writing(path, {}),
    ):
        pass
    with Records.writing(path, {}):
        pass
