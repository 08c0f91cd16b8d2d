"""Text on the command line: segment --text, auto --classes, evaluate, train, models fetch."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit.cli import pretrain, train
from samkit.cli.main import main
from samkit.geometry import decode_rle
from samkit.predict import Predictor
from samkit.training.sam.recipe import SAM_RECIPES
from samkit.training.text.recipe import CLIP_RECIPES
from samkit.training.video.recipe import VIDEO_RECIPES
from samkit.weights.checkpoint import save_checkpoint
from stub_detector import StubDetector, side_by_side

PHRASE = "a red circle"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path


@pytest.fixture
def text_model(folder, text_sam, text_encoder):
    """A checkpoint of a model that takes text, which names its CLIP."""
    save_checkpoint(text_sam, folder / "text.safetensors", name="tiny", text_encoder=text_encoder)
    return "text.safetensors"


@pytest.fixture
def plain_model(folder, tiny_sam):
    save_checkpoint(tiny_sam, folder / "plain.safetensors", name="tiny")
    return "plain.safetensors"


@pytest.fixture
def detector(monkeypatch):
    """Takes the place of any detector."""
    stub = StubDetector(by_phrases=side_by_side)
    monkeypatch.setattr("samkit.text.load_text_model", lambda source, device: stub)
    monkeypatch.setattr("samkit.text.find_text_model", lambda source: source)
    return stub


def records(out):
    return json.loads((out / "image.json").read_text())


# --- segment ---


def test_words_are_answered_by_the_models_own_clip(folder, text_model, capsys):
    args = ["segment", "image.png", "--text", PHRASE, "--model", text_model, "-o", "out"]
    assert main(args) == 0
    predictor = Predictor.load(text_model, backend="torch", precision="float32")
    answer = predictor.predict_text(predictor.embed("image.png"), PHRASE).best()
    record = records(folder / "out")
    assert record["prompts"] == {"text": [PHRASE]}
    (mask,) = record["masks"]
    assert mask["phrase"] == PHRASE
    assert mask["phrase_score"] == pytest.approx(min(1.0, float(answer.iou_pred[0, 0])), abs=1e-5)
    np.testing.assert_array_equal(decode_rle(mask["segmentation"]), answer.masks[0, 0])
    assert f"{PHRASE} (score" in capsys.readouterr().out
    overlay = np.asarray(Image.open(folder / "out/image_overlay.png"))
    assert overlay.shape == (60, 90, 3)


def test_points_correct_words(folder, text_model):
    args = ["segment", "image.png", "--text", PHRASE, "--model", text_model]
    assert main([*args, "--point", "30,20", "--background", "5,5", "-o", "out"]) == 0
    predictor = Predictor.load(text_model, backend="torch", precision="float32")
    answer = predictor.predict_text(
        predictor.embed("image.png"),
        PHRASE,
        points=[[30, 20], [5, 5]],
        labels=[1, 0],
        multimask=False,
    )
    (mask,) = records(folder / "out")["masks"]
    np.testing.assert_array_equal(decode_rle(mask["segmentation"]), answer.masks[0, 0])
    assert records(folder / "out")["prompts"]["points"] == [[[30, 20], [5, 5]]]


def test_several_texts_and_coco_categories(folder, plain_model, detector):
    args = ["segment", "image.png", "--text", "a car", "--text", "a tree", "--text-thresh", "0.4"]
    formats = ["--format", "coco", "--format", "png", "--format", "json"]
    assert main([*args, "--model", plain_model, *formats, "-o", "out"]) == 0
    assert [asked[1:] for asked in detector.asked] == [(("a car", "a tree"), 0.4)]
    masks = records(folder / "out")["masks"]
    assert [mask["phrase"] for mask in masks] == ["a car", "a tree"]
    coco = json.loads((folder / "out/coco.json").read_text())
    assert [one["name"] for one in coco["categories"]] == ["a car", "a tree"]
    assert [one["category_id"] for one in coco["annotations"]] == [1, 2]
    assert [one["score"] for one in coco["annotations"]] == pytest.approx([0.9, 0.5])
    assert (folder / "out/image_mask_1.png").is_file()


def test_nothing_found_is_no_error(folder, plain_model, detector, monkeypatch, capsys):
    monkeypatch.setattr(detector, "by_phrases", lambda phrases: [])
    args = ["segment", "image.png", "--text", "a car", "--model", plain_model, "-o", "out"]
    assert main(args) == 0
    assert "image.png: 0 masks" in capsys.readouterr().out
    assert records(folder / "out")["masks"] == []
    assert (folder / "out/image_overlay.png").is_file()


def test_words_in_a_file_of_prompts(folder, text_model):
    prompts = {"image.png": {"text": PHRASE, "points": [[30, 20]]}}
    (folder / "prompts.json").write_text(json.dumps(prompts))
    args = ["--prompts", "prompts.json", "--model", text_model]
    assert main(["segment", *args, "-o", "out"]) == 0
    assert records(folder / "out")["prompts"]["text"] == [PHRASE]
    assert "points" in records(folder / "out")["prompts"]
    (folder / "prompts.json").write_text(json.dumps({"image.png": {"text": [PHRASE, "a tree"]}}))
    assert main(["segment", *args, "-o", "two"]) == 0
    assert len(records(folder / "two")["masks"]) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--text", ""], "text must not be empty"),
        (["--text", "red " * 90], "shorten it"),
        (["--text", "car", "--text", "tree", "--point", "3,3"], "goes with one text"),
        (["--text", "car", "--point", "300,3"], "outside of the image"),
        (["--text", "car", "--text-model", "nowhere"], "no such folder: nowhere"),
        (["--text", "car", "--box", "1,1,9,9", "--box", "2,2,9,9"], "goes with one text"),
        (["--text", "car", "--text-thresh", "0.5"], "text_thresh is for detectors"),
        (["--point", "3,3", "--text-model", "nowhere"], "need --text"),
        (["--text", "car", "--text-model", "a b/c"], "no such folder: a b/c"),
    ],
)
def test_bad_words_are_one_line(args, message, text_model, folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main(["segment", "image.png", *args, "--model", text_model]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(folder.rglob("*")) == before


def test_a_model_without_text_weights_is_one_line(folder, plain_model, clip_folder, capsys):
    args = ["segment", "image.png", "--text", "car", "--model", plain_model]
    assert main([*args, "--text-model", str(clip_folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "tiny has no text weights for the CLIP" in error
    assert not (folder / "samkit-output").exists()


def test_without_transformers_the_line_to_install_it(folder, plain_model, monkeypatch, capsys):
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: None)
    assert main(["segment", "image.png", "--text", "car", "--model", plain_model]) == 2
    assert "pip install '.[text]'" in capsys.readouterr().err


def test_without_a_network_the_way_out(folder, plain_model, monkeypatch, tmp_path, capsys):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(["segment", "image.png", "--text", "car", "--model", plain_model]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot fetch IDEA-Research/grounding-dino-tiny" in error
    assert main(["models", "fetch", "openai/clip-vit-base-patch32"]) == 2
    assert "cannot fetch openai/clip-vit-base-patch32" in capsys.readouterr().err


# --- auto ---


def test_classes_by_a_detector(folder, plain_model, detector, capsys):
    args = ["auto", "image.png", "--classes", "car,tree", "--model", plain_model, "-o", "out"]
    formats = ["--format", "sa1b", "--format", "coco", "--format", "yolo", "--format", "geojson"]
    assert main([*args, *formats, "--format", "overlay"]) == 0
    assert [asked[1:] for asked in detector.asked] == [(("car", "tree"), None)]
    document = json.loads((folder / "out/image.json").read_text())
    phrases = [one["phrase"] for one in document["annotations"]]
    assert phrases
    assert set(phrases) <= {"car", "tree"}
    numbers = [int(line[0]) for line in (folder / "out/image.txt").read_text().splitlines()]
    assert numbers == [("car", "tree").index(phrase) for phrase in phrases]
    features = json.loads((folder / "out/image.geojson").read_text())["features"]
    assert [one["properties"]["class"] for one in features] == phrases
    coco = json.loads((folder / "out/coco.json").read_text())
    assert [one["name"] for one in coco["categories"]] == ["car", "tree"]
    # Again: all is there. With other classes it is done anew.
    capsys.readouterr()
    assert main([*args, *formats, "--format", "overlay"]) == 0
    assert "1 done before" in capsys.readouterr().out
    assert len(detector.asked) == 1
    other = ["auto", "image.png", "--classes", "tree", "--model", plain_model, "-o", "out"]
    assert main(other) == 0
    assert len(detector.asked) == 2


def test_classes_by_clip_among_masks_of_everything(folder, plain_model, clip_folder):
    args = ["auto", "image.png", "--classes", "car,tree", "--model", plain_model]
    loose = ["--points-per-side", "3", "--iou-thresh", "0", "--stability-thresh", "0"]
    text = ["--text-model", str(clip_folder), "--text-thresh", "0"]
    assert main([*args, *loose, *text, "-o", "out"]) == 0
    document = json.loads((folder / "out/image.json").read_text())
    assert document["annotations"]
    assert {one["phrase"] for one in document["annotations"]} <= {"car", "tree"}
    assert all(0 <= one["phrase_score"] <= 1 for one in document["annotations"])
    # A calibration that believes nothing leaves masks without a class, which --others keeps.
    (folder / "never.json").write_text(json.dumps({"slope": 1, "offset": -60, "thresh": 0.5}))
    never = ["--calibration", "never.json", "--text-model", str(clip_folder)]
    assert main([*args, *loose, *never, "-o", "none"]) == 0
    assert json.loads((folder / "none/image.json").read_text())["annotations"] == []
    assert main([*args, *loose, *never, "--others", "-o", "others"]) == 0
    others = json.loads((folder / "others/image.json").read_text())["annotations"]
    assert others
    assert {one["phrase"] for one in others} == {""}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--classes", "car,,tree"], "text must not be empty"),
        (["--classes", ""], "text must not be empty"),
        (["--others"], "need --classes"),
        (["--text-model", "x"], "need --classes"),
        (["--classes", "car", "--tile", "512"], "--classes cannot be combined with --tile"),
        (["--classes", "car", "--calibration", "none.json"], "cannot read none.json"),
        (["--classes", "car", "--text-model", "nowhere"], "no such folder: nowhere"),
        (["--classes", "car", "--text-model", "CLIP", "--text-thresh", "7"], "from 0 to 1; got 7"),
    ],
)
def test_bad_classes_are_one_line(args, message, folder, plain_model, clip_folder, capsys):
    args = [str(clip_folder) if arg == "CLIP" else arg for arg in args]
    assert main(["auto", "image.png", *args, "--model", plain_model]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (folder / "samkit-output").exists()


# --- evaluate, train, pretrain ---


def test_text_is_evaluated(folder, text_model, capsys):
    data = "named:count=3,size=64,seed=2,things=3"
    args = ["evaluate", data, "--protocol", "text", "--model", text_model, "-o", "report"]
    assert main([*args, "--min-area", "20"]) == 0
    assert "text-to-mask mIoU" in capsys.readouterr().out
    report = json.loads((folder / "report/report.json").read_text())
    own = report["models"]["text"]["protocols"]["text"]
    assert own["masks"] > 0
    assert 0 <= own["summary"]["metrics"]["text_miou"] <= 1


def test_a_clip_and_a_text_model_from_nothing(folder, capsys):
    small = ["image_size=16", "vision_width=32", "vision_layers=1", "text_width=32", "dim=16"]
    data = [
        "train=named:count=20,size=64,seed=0,things=3",
        "val=named:count=5,size=64,seed=1,things=3",
        "crops=8",
        "held_out_crops=8",
    ]
    run = ["run.steps=2", "run.accelerator=cpu"]
    assert main(["pretrain", "clip_named", *small, *data, *run, "-o", "clip", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clip"] == "clip/clip"
    changes = [
        "model.config=tiny",
        f"model.text_encoder={report['clip']}",
        "data.train=named:count=6,size=64,seed=0,things=3",
        "data.val=named:count=2,size=64,seed=1,things=3",
        "data.images_per_batch=2",
        "truth_size=32",
        *run,
    ]
    assert main(["train", "named_text", *changes, "-o", "sam"]) == 0
    assert "text-to-mask mIoU" in capsys.readouterr().out
    args = ["segment", "image.png", "--text", PHRASE, "--model", "sam/best.safetensors"]
    assert main([*args, "-o", "out"]) == 0


def test_recipes_are_those_of_the_library():
    assert set(pretrain.CLIP_RECIPE_NAMES) == set(CLIP_RECIPES)
    assert set(train.RECIPE_NAMES) == set(SAM_RECIPES)
    assert set(train.VIDEO_RECIPE_NAMES) == set(VIDEO_RECIPES)
