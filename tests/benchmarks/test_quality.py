"""The quality benchmark: its data, metrics and verdicts on images with known answers."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from evaluation.stub import StubPredictor, make_sample, rectangle
from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError
from samkit.evaluation import BoxPrompts, Interactive, MaskChoice, OneClick
from samkit.evaluation.records import Record
from samkit.predict import Predictor

SMALL, MEDIUM, LARGE = rectangle(0, 0, 6, 6), rectangle(0, 20, 20, 40), rectangle(24, 0, 64, 40)


@pytest.fixture
def quality(request, monkeypatch):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import quality

    return quality


@pytest.fixture
def metrics(quality):
    import quality_metrics

    return quality_metrics


def records(*results, keys=None):
    keys = keys or [f"{number}.jpg" for number in range(len(results))]
    return [
        Record(key=key, checksum="0", result=result, seconds=0, embed_seconds=0)
        for key, result in zip(keys, results, strict=True)
    ]


def results_of(images, keys=None):
    """Results of images with one mask each: its share of the image, IoUs of the three candidates,
    their predicted IoUs, and IoUs after each click."""
    one_click, noc, boxes, automatic = [], [], [], []
    for fraction, ious, iou_pred, by_click in images:
        own = {"masks": 1, "area_fractions": [fraction]}
        one_click.append({**own, "ious": [ious], "iou_pred": [iou_pred]})
        noc.append({**own, "ious": [by_click], "iou_pred": [[0.75] * len(by_click)]})
        boxes.append({**own, "ious": [ious[0]], "matches": []})
        found = np.zeros((4, 3, 10), int)
        found[0, 1, :5] = 1  # at IoU 0.50 to 0.70, among the best 100
        found[0, 2] = 1
        automatic.append({"masks": 1, "proposals": 200, "truths": [1] * 4, "found": found.tolist()})
    found = {"one-click": one_click, "noc": noc, "boxes": boxes, "automatic": automatic}
    return {name: records(*own, keys=keys) for name, own in found.items()}


IMAGES = [
    (0.005, [0.2, 0.6, 0.4], [0.95, 0.5, 0.1], [0.2, 0.86]),
    (0.01, [0.8, 0.5, 0.9], [0.75, 0.3, 0.7], [0.8, 0.7, 0.96]),
    (0.1, [1.0, 0.5, 0.5], [1.05, 0.5, 0.5], [1.0]),
]


def test_metrics_of_hand_made_results(metrics):
    found = metrics.data_set_metrics(results_of(IMAGES), str)
    values = {key: sums.value for key, sums in found.items()}
    expected = {
        ("miou", "all"): (0.2 + 0.8 + 1) / 3,
        ("oracle_miou", "all"): (0.6 + 0.9 + 1) / 3,
        ("noc85", "all"): (2 + 3 + 1) / 3,
        ("noc90", "all"): (20 + 3 + 1) / 3,
        ("noc95", "all"): (20 + 3 + 1) / 3,
        ("iou_after_2", "all"): (0.86 + 0.7 + 1) / 3,
        ("iou_after_10", "all"): (0.86 + 0.96 + 1) / 3,
        ("box_miou", "all"): (0.2 + 0.8 + 1) / 3,
        ("ar_100", "all"): 0.5,
        # Predictions 0.95 and 1.05, which counts as 1, are in one bin: 0.75 on average too high.
        ("ece_top", "all"): (abs(0.95 + 1 - 0.2 - 1) + abs(0.75 - 0.8)) / 3,
        ("ece_all", "all"): (0.75 + 0.1 + 0.3 + 0.25 + 0.2) / 9,  # bins of 0.9, 0.5, 0.1, 0.7, 0.3
        ("ece_later", "all"): abs(3 * 0.75 - 0.86 - 0.7 - 0.96) / 3,
    }
    assert {key: values[key] for key in expected} == pytest.approx(expected)


def test_sizes_begin_at_1_and_10_percent(metrics):
    found = metrics.data_set_metrics(results_of(IMAGES), str)
    for size, iou, clicks in (("small", 0.2, 20), ("medium", 0.8, 3), ("large", 1, 1)):
        assert found["miou", size].value == pytest.approx(iou)
        assert found["noc95", size].value == clicks
    without_large = metrics.data_set_metrics(results_of(IMAGES[:2]), str)
    assert ("miou", "large") not in without_large
    assert ("miou", "medium") in without_large


def test_frames_of_a_sequence_are_one_group(quality, metrics):
    keys = ["bear/0.jpg", "boat/0.jpg", "bear/1.jpg"]
    found = metrics.data_set_metrics(results_of(IMAGES, keys), quality.sequence_of)
    assert all(len(sums.sums) == 2 for sums in found.values())
    np.testing.assert_allclose(found["miou", "all"].sums, [[1.2, 2], [0.8, 1]])


def report_of(quality, shift, images=8):
    """A model whose clicks are better by `shift` in all images, and whose boxes are the same."""
    baseline = [(0.2, [0.5, 0.4, 0.3], [0.9, 0.5, 0.4], [0.5, 0.7])] * images
    other = [(0.2, [0.5, 0.4, 0.3], [0.9, 0.5, 0.4], [0.5 + shift, 0.7 + shift])] * images
    return quality.QualityReport(
        identities={name: {"backend": "torch", "precision": "float32"} for name in ("a", "b")},
        results={"a": {"voc": results_of(baseline)}, "b": {"voc": results_of(other)}},
        groups={"voc": str},
    )


@pytest.mark.parametrize(("shift", "noc", "iou"), [(0.2, 2, "better"), (-0.2, 20, "worse")])
def test_verdicts(quality, tmp_path, shift, noc, iou):
    quality.write_report(report_of(quality, shift), tmp_path)
    rows = json.loads((tmp_path / "quality.json").read_text())["rows"]
    found = {(row["set"], row["metric"]): row for row in rows if row["size"] == "all"}
    for name in ("voc", "mean of sets"):
        after_2 = found[name, "iou_after_2"]
        assert after_2["verdict"] == iou
        assert (after_2["low"], after_2["high"]) == pytest.approx((shift, shift))
        assert found[name, "box_miou"]["verdict"] == "no difference"
    clicks = found["voc", "noc85"]
    assert (clicks["baseline"], clicks["value"]) == (20, noc)
    assert clicks["verdict"] == ("better" if noc < 20 else "no difference")  # fewer is better
    text = (tmp_path / "report.md").read_text()
    assert f"| mIoU after 3 clicks | {0.7 + shift:.3f} ({shift:+.3f} **{iou}**) |" in text
    for picture in ("iou_by_clicks.png", "reliability.png"):
        with Image.open(tmp_path / picture) as image:
            assert image.width > 300


def test_a_handful_of_images_decides_nothing(quality):
    rows = report_of(quality, 0.2, images=5).to_json()["rows"]
    assert {row["verdict"] for row in rows} == {"no difference"}
    assert {row["low"] for row in rows} == {None}


def test_the_baseline_alone_has_no_differences(quality):
    report = quality.QualityReport(
        identities={"a": {"backend": "torch", "precision": "float32"}},
        results={"a": {"voc": results_of(IMAGES)}},
        groups={"voc": str},
    )
    assert "| 1-click mIoU, top-ranked | 0.667 | 0.667 |" in report.main_tables()
    assert report.details() == ""
    assert all("verdict" not in row for row in report.to_json()["rows"])


def test_metrics_are_those_of_the_protocols(quality, metrics):
    """Of objects that a model finds to a varying degree."""

    def half(box=None, points=None, multimask=False, **_):
        x, y = (box[:2] + 1) if points is None else points[0]
        truth = next(mask for mask in (SMALL, MEDIUM, LARGE) if mask[int(y), int(x)])
        grown = truth & (np.arange(64)[:, None] < (25 if box is None else 30))
        return ([grown, truth, ~truth], [0.9, 0.8, 0.2]) if multimask else ([grown], [0.7])

    predictor = StubPredictor(half)
    choice = MaskChoice(min_area_px=1)
    protocols = [OneClick(choice=choice), Interactive(choice=choice), BoxPrompts()]
    samples = [make_sample(SMALL, LARGE, key="a"), make_sample(MEDIUM, key="b")]
    results = {"automatic": []}
    summaries = {}
    for protocol in protocols:
        own = [protocol.measure(predictor, predictor.embed(s.image), s) for s in samples]
        results[protocol.name] = records(*own, keys=["a", "b"])
        summaries |= protocol.summarise(own).metrics
    found = metrics.data_set_metrics(results, str)
    for name in ("miou", "oracle_miou", "noc85", "noc90", "iou_after_5", "box_miou"):
        assert found[name, "all"].value == pytest.approx(summaries[name])
    assert summaries["miou"] == pytest.approx((1 + 5 / 20 + 25 / 40) / 3)
    # The row of 30 cuts a part off the two larger objects.
    assert found["box_miou", "small"].value == 1
    assert found["box_miou", "medium"].value == pytest.approx(10 / 20)
    assert found["box_miou", "large"].value == pytest.approx(30 / 40)


def test_a_stopped_measurement_resumes(quality, tiny_sam, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "AUTOMATIC", quality.replace(quality.AUTOMATIC, points_per_side=4))
    predictor = Predictor(tiny_sam, model_name="tiny")
    scenes = Scenes(count=3, size=64)
    data_set = quality.DataSet(
        name="scenes", source=scenes, images=3, masks_per_image=2, automatic=1
    )
    few = quality.measure(predictor, quality.replace(data_set, images=2), tmp_path, "none")
    assert [record.key for record in few["noc"]] == [scenes.key(0), scenes.key(1)]
    embedded = []
    embed = predictor.embed
    monkeypatch.setattr(predictor, "embed", lambda image: embedded.append(1) or embed(image))
    found = quality.measure(predictor, data_set, tmp_path, "none")
    assert len(embedded) == 1  # the third
    assert {name: len(own) for name, own in found.items()} == {
        "one-click": 3,
        "noc": 3,
        "boxes": 3,
        "automatic": 1,
    }
    assert found["noc"][:2] == few["noc"]
    assert found["automatic"] == few["automatic"]
    refined = quality.measure(predictor, data_set, tmp_path, "fast")
    assert refined["one-click"] == found["one-click"]
    assert len(refined["noc"]) == 3
    assert quality.measure(predictor, data_set, tmp_path, "none") == found


def test_models_may_be_refined(quality):
    assert quality.read_spec("mobile_sam") == ("mobile_sam", "none")
    assert quality.read_spec("a/best.safetensors:refine=best") == ("a/best.safetensors", "best")
    with pytest.raises(ConfigError, match="refine must be none, fast or best; got 'good'"):
        quality.read_spec("mobile_sam:refine=good")


def test_davis_goes_round_its_sequences(quality, tmp_path):
    for name, frames in (("bear", 9), ("boat", 5)):
        for folder in ("images", "masks"):
            (tmp_path / folder / name).mkdir(parents=True)
        for number in range(frames):
            stem = f"{name}/{number:05d}"
            mask = rectangle(4, 4, 30, 30) if number else np.zeros((64, 64), bool)
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"images/{stem}.jpg")
            Image.fromarray(mask).save(tmp_path / f"masks/{stem}.png")
    data_set = quality.open_davis(tmp_path)
    keys = [data_set.source.key(index) for index in range(len(data_set.source))]
    bear, boat = [2, 4, 6, 8], [1, 2, 3, 4]  # but for the first ones, which show nothing
    assert keys == [
        f"{name}/{number:05d}.jpg"
        for both in zip(bear, boat, strict=True)
        for name, number in zip(("bear", "boat"), both, strict=True)
    ]
    assert data_set.images == 8
    assert all(len(data_set.source[index].rles) == 1 for index in range(8))


def test_an_unknown_set_is_named(quality, refusal, tmp_path):
    args = argparse.Namespace(sets=["coco", "cocoo"], data=tmp_path)
    with refusal(ConfigError, "unknown set 'cocoo': expected some of coco, voc, nuclei"):
        quality.run(args)
