"""The report of several models."""

import json

import pytest
from PIL import Image

from samkit.evaluation import (
    BoxPrompts,
    Edges,
    Interactive,
    MaskChoice,
    ModelReport,
    OneClick,
    Recall,
    Report,
    TextToMask,
    report_model,
)
from samkit.evaluation.plots import PLOTS, write_plots
from samkit.evaluation.protocol import Curve, Summary, both_means
from samkit.evaluation.records import Record
from samkit.evaluation.report import LABELS, ProtocolReport
from samkit.evaluation.runner import ModelResult

ALL = MaskChoice(masks_per_image=None, min_area_px=1)
IDENTITY = {"kind": "tiny", "checksum": "0", "backend": "torch", "precision": "float32"}
PROTOCOLS = (OneClick(), Interactive(max_clicks=3))


def record(key, result, seconds, embed_seconds=0.5):
    return Record(
        key=key, checksum="0", result=result, seconds=seconds, embed_seconds=embed_seconds
    )


def model(shift):
    one_click = [
        {"masks": 1, "ious": [[0.5 + shift, 0.75]], "iou_pred": [[0.9, 0.8]]},
        {
            "masks": 2,
            "ious": [[0.25, 0.75], [0.75, 1.0]],
            "iou_pred": [[0.9, 0.8], [0.9, 0.8]],
        },
    ]
    noc = [
        {"masks": 1, "ious": [[0.5, 0.9, 0.9]]},
        {"masks": 2, "ious": [[0.95], [0.1, 0.2, 0.3 + shift]]},
    ]
    records = {
        "one-click": [record(str(n), one, 1.0 + n) for n, one in enumerate(one_click)],
        "noc": [record(str(n), one, 3.0) for n, one in enumerate(noc)],
    }
    return report_model(ModelResult(records=records, skipped=()), PROTOCOLS, IDENTITY)


@pytest.fixture
def report():
    return Report(data="val.json", models={"before": model(0), "after": model(0.25)})


def test_table(report):
    lines = report.to_markdown().splitlines()
    assert lines[0] == (
        "val.json; before (torch float32), after (torch float32)."
        " one-click: 2 images, 3 masks; noc: 2 images, 3 masks."
    )
    assert lines[2:4] == ["| measure | before | after |", "| --- | --- | --- |"]
    assert "| 1-click mIoU, top-ranked | 0.500 (0.500) | 0.583 (0.625) |" in lines
    assert "| 1-click mIoU, oracle of three | 0.833 (0.812) | 0.833 (0.812) |" in lines
    assert "| NoC@90 | 2.00 (2.00) | 2.00 (2.00) |" in lines
    assert "| seconds to embed an image | 0.50 | 0.50 |" in lines
    assert "| seconds per image, one-click | 1.50 | 1.50 |" in lines
    assert "Means over masks; in brackets the mean of images' means. Seconds are medians." in lines
    assert lines[-4:] == [
        "Differences from the published protocols:",
        "",
        "- one-click: up to 10 masks an image, masks of at least 100 px",
        "- noc: up to 10 masks an image, masks of at least 100 px, at most 3 clicks instead of 20",
    ]


@pytest.mark.parametrize(
    ("protocol", "differences"),
    [
        (Interactive(choice=ALL), ()),
        (OneClick(choice=ALL), ()),
        (Recall(), ()),
        (Edges(), ()),
        (Interactive(choice=ALL, feed_back=False), ("logits are not fed back",)),
        (OneClick(), ("up to 10 masks an image", "masks of at least 100 px")),
        (Recall(points_per_side=32), ("32 x 32 points instead of 64 x 64",)),
        (Recall(box_nms_thresh=0.7), ("duplicates from box IoU 0.7 instead of 0.9",)),
        (Edges(thresholds=9), ("thresholds 9 instead of 99",)),
        (BoxPrompts(), ("boxes of the true masks, not a detector's", "no classes")),
        (TextToMask(choice=ALL), ("a protocol of samkit's own",)),
    ],
)
def test_differences_from_published_protocols(protocol, differences):
    assert protocol.differences() == differences


def test_results_as_published_are_not_marked():
    protocol = OneClick(choice=ALL)
    result = ModelResult(records={"one-click": []}, skipped=())
    text = Report(data="x", models={"one": report_model(result, [protocol], IDENTITY)})
    assert "Differences" not in text.to_markdown()


def test_json_has_everything(report):
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    own = content["models"]["after"]["protocols"]["noc"]
    assert own["settings"]["max_clicks"] == 3
    assert (own["images"], own["masks"]) == (2, 3)
    assert own["summary"]["metrics"]["noc85"] == pytest.approx(2)
    curve = own["summary"]["curves"]["iou_by_clicks"]
    assert curve["x"] == [1, 2, 3]
    assert curve["y"] == pytest.approx([1.55 / 3, 2.05 / 3, 2.4 / 3])
    assert content["models"]["before"]["identity"] == IDENTITY


def test_models_with_different_measures_have_empty_cells(report):
    protocol = ProtocolReport(
        settings={}, images=1, masks=1, seconds_per_image=1.0, summary=Summary(metrics={})
    )
    other = ModelReport(
        identity=IDENTITY, embed_seconds=0.0, protocols={"one-click": protocol}, skipped=()
    )
    one = ModelReport(
        identity=IDENTITY,
        embed_seconds=0.0,
        protocols={"one-click": report.models["before"].protocols["one-click"]},
        skipped=(),
    )
    text = Report(data="x", models={"other": other, "one": one}).to_markdown()
    assert "| 1-click mIoU, top-ranked |  | 0.500 (0.500) |" in text


def test_both_means_of_nothing():
    assert both_means("iou", []) == both_means("iou", [[], []]) == {}


def test_every_metric_has_a_label():
    names = [
        name
        for model_report in [model(0)]
        for own in model_report.protocols.values()
        for name in own.summary.metrics
    ]
    assert {name.removesuffix("_images") for name in names} <= LABELS.keys()


def test_plots(report, tmp_path):
    noc = report.models["before"].protocols["noc"]
    curves = {name: Curve(x=(0.2, 0.5, 0.9), y=(0.9, 0.7, 0.1)) for name in PLOTS}
    full = ProtocolReport(
        settings={},
        images=1,
        masks=1,
        seconds_per_image=0.0,
        summary=Summary(metrics={}, curves=curves | dict(noc.summary.curves)),
    )
    identity = report.models["before"].identity
    models = {
        name: ModelReport(identity=identity, embed_seconds=0.0, protocols={"noc": full}, skipped=())
        for name in ("one", "two")
    }
    paths = write_plots(Report(data="x", models=models), tmp_path)
    assert [path.name for path in paths] == [f"{name}.png" for name in PLOTS]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (750, 540)
            low, high = picture.convert("L").getextrema()
            assert high - low > 100


def test_only_curves_that_are_there_are_drawn(report, tmp_path):
    names = [path.name for path in write_plots(report, tmp_path)]
    assert names == ["iou_by_clicks.png", "noc85_histogram.png", "noc90_histogram.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
