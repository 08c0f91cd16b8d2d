"""`samkit evaluate`: reports, interrupted and resumed runs, bad input."""

import builtins
import json
import re
import sys

import pytest
import torch
from PIL import Image

import samkit.weights.load
from samkit.cli.evaluate import DEFAULT_PROTOCOLS, PROTOCOLS, model_labels
from samkit.cli.main import main
from samkit.datasets.synthetic import Scenes
from samkit.evaluation.interactive import Interactive
from samkit.evaluation.report import LABELS
from samkit.predict import Predictor

SCENES = "scenes:count=2,size=64"
FEW = ["--masks-per-image", "2", "--min-area", "20", "--max-clicks", "3"]
FAST = [*FEW, "--recall-points", "3", "--edge-thresholds", "3"]
# But text, which needs names.
ALL = [part for name in PROTOCOLS if name != "text" for part in ("--protocol", name)]


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_sam, randomise):
    """The working folder, with two models of the smallest kind."""
    monkeypatch.chdir(tmp_path)
    torch.save(tiny_sam.state_dict(), tmp_path / "before.pth")
    randomise(tiny_sam.mask_decoder, seed=1)
    torch.save(tiny_sam.state_dict(), tmp_path / "after.pth")
    return tmp_path


def coco(folder, *, name="data.json", annotators=(0, 1), broken=False):
    """Scenes as a COCO file, which several people have drawn alike."""
    scenes = Scenes(count=2, size=64)
    (folder / "images").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(2):
        sample = scenes[number]
        Image.fromarray(sample.image).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
        for annotator in annotators:
            annotations += [
                {"image_id": number, "annotator": annotator, "segmentation": rle}
                for rle in sample.rles
            ]
    if broken:
        (folder / "images" / "1.png").write_bytes(b"\x89PNG")
    content = {"images": images, "annotations": annotations}
    (folder / name).write_text(json.dumps(content))
    return f"{name},images=images"


def test_one_command_reports_two_models(folder, capsys):
    args = ["evaluate", SCENES, "--model", "before.pth", "--model", "after.pth", *FEW, "-o", "out"]
    assert main(args) == 0
    told = capsys.readouterr()
    plan = "2 images by one-click, noc for before, after; up to 2 masks an image"
    assert told.err == f"samkit: {plan}\n"
    lines = told.out.splitlines()
    assert lines[0].startswith(f"{SCENES}; before (torch float32), after (torch float32). ")
    assert "one-click: 2 images, 4 masks; noc: 2 images, 4 masks." in lines[0]
    assert "| measure | before | after |" in lines
    labels = ["1-click mIoU, top-ranked", "NoC@85", "NoC@90", "seconds per image, noc"]
    assert all(any(line.startswith(f"| {label} | ") for line in lines) for label in labels)
    names = ["report.md", "report.json", "iou_by_clicks.png", "noc85_histogram.png"]
    assert lines[-1] == f"results in out: {', '.join(names)}, noc90_histogram.png"
    assert all((folder / "out" / name).stat().st_size > 0 for name in names)
    report = json.loads((folder / "out" / "report.json").read_text())
    assert (folder / "out" / "report.md").read_text().strip() in told.out
    metrics = [
        report["models"][name]["protocols"]["one-click"]["summary"]["metrics"]
        for name in ("before", "after")
    ]
    assert metrics[0]["miou"] != metrics[1]["miou"]


def results(capsys):
    report = json.loads(capsys.readouterr().out)
    return {
        (label, name): own["summary"]
        for label, model in report["models"].items()
        for name, own in model["protocols"].items()
    }


def test_all_protocols_as_json_are_the_same_twice(folder, capsys):
    data = coco(folder)
    args = ["evaluate", data, "--model", "before.pth", *ALL, *FAST, "--json"]
    assert main([*args, "-o", "one"]) == 0
    first = results(capsys)
    assert [name for _, name in first] == [name for name in PROTOCOLS if name != "text"]
    metrics = {name for own in first.values() for name in own["metrics"]}
    assert {name.removesuffix("_images") for name in metrics} <= LABELS.keys()
    assert first["before", "edges"]["metrics"]["edge_human_f"] == 1  # two annotators, alike
    assert main([*args, "-o", "two"]) == 0
    assert results(capsys) == first
    assert main([*args, "-o", "one"]) == 0  # nothing is measured again
    assert results(capsys) == first


def test_stopped_run_goes_on(folder, capsys, monkeypatch):
    args = ["evaluate", SCENES, "--model", "before.pth", *FEW, "-o", "out", "--json"]
    assert main([*args[:-3], "-o", "whole", "--json"]) == 0
    expected = results(capsys)
    measure, calls = Interactive.measure, []

    def stop(self, *others):
        calls.append(others[-1].key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, *others)

    monkeypatch.setattr(Interactive, "measure", stop)
    assert main(args) == 130
    assert "1 image measured; run the same command again to resume" in capsys.readouterr().err
    assert main(args) == 0
    assert results(capsys) == expected
    assert len(calls) == len(set(calls)) + 1  # the second image's was begun twice


def test_broken_image_is_skipped_with_exit_code_1(folder, capsys):
    data = coco(folder, broken=True)
    models = ["--model", "before.pth", "--model", "after.pth"]
    assert main(["evaluate", data, *models, *FEW[:4], "--protocol", "one-click", "-o", "out"]) == 1
    told = capsys.readouterr()
    _, skipped = told.err.splitlines()  # after the plan; once, not for each model
    assert skipped.startswith("samkit: skipped 1.png: ")
    assert "one-click: 1 image, 2 masks" in told.out
    report = json.loads((folder / "out" / "report.json").read_text())
    (skipped,) = report["models"]["after"]["skipped"]
    assert skipped["image"] == "1.png"


def test_images_limits_how_many(folder, capsys):
    args = ["evaluate", SCENES, "--model", "before.pth", *FEW, "--images", "1", "-o", "out"]
    assert main(args) == 0
    assert "one-click: 1 image," in capsys.readouterr().out


def test_all_masks_of_a_image(folder, capsys):
    args = ["evaluate", SCENES, "--model", "before.pth", "--protocol", "one-click", "--json"]
    assert main([*args, "--min-area", "1", "--masks-per-image", "0", "-o", "out"]) == 0
    report = json.loads(capsys.readouterr().out)
    masks = sum(len(sample.rles) for sample in map(Scenes(count=2, size=64).__getitem__, (0, 1)))
    assert report["models"]["before"]["protocols"]["one-click"]["masks"] == masks


def test_detections_are_found_by_image_id(folder, capsys):
    data = coco(folder, annotators=(0,))
    boxes = [
        {"image_id": number, "bbox": [8, 8, 40, 40], "score": 0.5, "category_id": 1}
        for number in (0, 1)
    ]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    args = ["evaluate", data, "--model", "before.pth", "--protocol", "boxes", "-o", "out"]
    assert main([*args, "--detections", "boxes.json"]) == 0
    records = (folder / "out/records/before/boxes.jsonl").read_text().splitlines()[1:]
    for record in map(json.loads, records):
        assert record["result"]["matches"][0][0]["scores"] == [0.5]
    assert "AP from boxes" in capsys.readouterr().out


def test_pictures_need_matplotlib(folder, capsys, monkeypatch):
    real_import = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    assert main(["evaluate", SCENES, "--model", "before.pth", *FEW, "-o", "out"]) == 0
    assert "no plots, which need matplotlib: pip install '.[bench]'" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "records",
        "report.json",
        "report.md",
    ]


def test_labels_of_models():
    assert model_labels(["mobile_sam", "runs/best.pth"]) == {
        "mobile_sam": "mobile_sam",
        "best": "runs/best.pth",
    }
    assert model_labels(["a/best.pth", "b/best.pth"]) == {
        "a/best.pth": "a/best.pth",
        "b/best.pth": "b/best.pth",
    }


CASES = {
    "no data": ([], "Missing argument 'DATA'"),
    "missing file": (["none.json"], "no such file or folder: none.json"),
    "not coco": (["other.json"], "other.json is no data set"),
    "unknown kind": (["nodata:x"], "unknown kind of data 'nodata'"),
    "stream": (["shards:shard.tar"], "is a stream of shards"),
    "unknown model": ([SCENES, "--model", "sam_vit_x"], "known are mobile_sam"),
    "damaged model": ([SCENES, "--model", "damaged.safetensors"], "damaged"),
    "model twice": ([SCENES, "--model", "a.pth", "--model", "a.pth"], "give each --model once"),
    "unknown protocol": ([SCENES, "--protocol", "clicks"], "'clicks' is not one of"),
    "no images": ([SCENES, "--images", "0"], "--images"),
    "negative masks": ([SCENES, "--masks-per-image", "-1"], "masks_per_image must be"),
    "min area": ([SCENES, "--min-area", "0"], "min_area_px must be a whole number from 1"),
    "seed": ([SCENES, "--seed", "-1"], "seed must be"),
    "clicks": ([SCENES, "--protocol", "noc", "--max-clicks", "0"], "max_clicks must be"),
    "grid": ([SCENES, "--protocol", "recall", "--recall-points", "0"], "points_per_side must be"),
    "thresholds": ([SCENES, "--protocol", "edges", "--edge-thresholds", "0"], "thresholds must be"),
    "detections": ([SCENES, "--protocol", "boxes", "--detections", "none.json"], "cannot read"),
    "of videos": ([SCENES, "--first", "click"], "--first is for vos, which is not measured"),
    "of one": ([SCENES, "--edge-thresholds", "9"], "measured: add --protocol edges"),
    "of three": (
        [SCENES, "--protocol", "recall", "--seed", "1"],
        "--seed is for noc and one-click and text, which are not measured: add --protocol noc",
    ),
    "device": ([SCENES, "--device", "quantum"], "cannot be used"),
    "output": ([SCENES, "-o", "other.json/out"], "is not a folder"),
    "no masks": ([SCENES, "--model", "before.pth", "--min-area", "5000"], "no mask of --min-area"),
}


@pytest.mark.parametrize(("args", "message"), CASES.values(), ids=CASES.keys())
def test_one_line_and_exit_code_2(args, message, folder, capsys):
    (folder / "other.json").write_text("{}")
    (folder / "damaged.safetensors").write_bytes(b"\0" * 100)
    (folder / "shard.tar").write_bytes(b"\0" * 10240)
    assert main(["evaluate", *args]) == 2
    captured = capsys.readouterr()
    plan = re.compile(r"samkit: \d+ images? by ")  # where the error comes after the measuring
    (error,) = [line for line in captured.err.splitlines() if plan.match(line) is None]
    assert message in error
    assert captured.out == ""


def test_all_images_broken_and_other_settings(folder, capsys):
    data = coco(folder, broken=True)
    (folder / "images" / "0.png").write_bytes(b"")
    assert main(["evaluate", data, "--model", "before.pth", *FEW, "-o", "out"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "samkit: no image could be measured"
    args = ["evaluate", SCENES, "--model", "before.pth", "-o", "other", *FEW]
    assert main(args) == 0
    capsys.readouterr()
    assert main([*args, "--seed", "3"]) == 2
    err = capsys.readouterr().err
    assert "one-click.jsonl holds results with settings.seed 0, not 3: give another --output" in err


def test_results_of_other_levels_of_refinement_do_not_mix(folder, capsys):
    args = ["evaluate", SCENES, "--model", "before.pth", "--protocol", "noc", *FEW]
    for first, second in (("none", "fast"), ("best", "none")):
        assert main([*args, "-o", f"out{first}", "--refine", first]) == 0
        header = (folder / f"out{first}/records/before/noc.jsonl").read_text().splitlines()[0]
        assert json.loads(header)["settings"].get("refine", "none") == first
        capsys.readouterr()
        assert main([*args, "-o", f"out{first}", "--refine", second]) == 2
        assert "give another --output" in capsys.readouterr().err


def test_defaults_need_no_setting(folder, monkeypatch, capsys):
    """The embedded model is the default, and so are clicks; here the model is the smallest one."""
    assert DEFAULT_PROTOCOLS == ("one-click", "noc")
    loaded = samkit.weights.load.load_model(folder / "before.pth", name="tiny")
    asked = []

    def load(source, **backend):
        asked.append((source, backend["backend"]))
        return Predictor(loaded.model, model_name="tiny")

    monkeypatch.setattr(Predictor, "load", load)
    assert main(["evaluate", SCENES, "--images", "1"]) == 0
    assert asked == [("mobile_sam_tuned", "torch")]
    assert (folder / "samkit-evaluation" / "report.md").exists()
    assert "NoC@90" in capsys.readouterr().out
