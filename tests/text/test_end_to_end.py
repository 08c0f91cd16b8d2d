"""Tiny random detectors of the real kinds, from their files to masks."""

import json

import numpy as np
import pytest
from PIL import Image

from samkit import AutoMasker, ClassMasker, Predictor
from samkit.cli.main import main
from samkit.text import GroundingDino, Owlv2, ground, load_detector
from samkit.weights.checkpoint import save_checkpoint

KINDS = {"dino_folder": GroundingDino, "owl_folder": Owlv2}
PHRASES = ["a cat", "red car"]
LOW = 0.05  # random networks are not sure of anything


@pytest.fixture(params=KINDS)
def detector_folder(request):
    return request.getfixturevalue(request.param)


def test_words_become_masks(detector_folder, tiny_sam, image):
    predictor = Predictor(tiny_sam, model_name="tiny", text_model=detector_folder)
    embedding = predictor.embed(image)
    answer = predictor.predict_text(
        embedding, PHRASES, image=image, text_thresh=LOW, multimask=False
    )
    assert isinstance(predictor.text_model, tuple(KINDS.values()))
    found = ground(load_detector(detector_folder), image, PHRASES, box_thresh=LOW)
    assert len(found) > 0
    assert answer.phrases == found.phrases
    np.testing.assert_array_equal(answer.phrase_scores, found.scores)
    boxes = predictor.predict(embedding, boxes=found.boxes_xyxy, multimask=False)
    np.testing.assert_array_equal(answer.logits, boxes.logits)


def test_classes_become_masks(detector_folder, tiny_sam, image):
    predictor = Predictor(tiny_sam, model_name="tiny")
    detector = load_detector(detector_folder)
    masks = ClassMasker(AutoMasker(predictor), PHRASES, detector, thresh=LOW).generate(image)
    assert len(masks) > 0
    assert set(masks.phrases) <= set(PHRASES)
    assert (np.diff(masks.phrase_scores) <= 0).all()


def test_the_command_line_asks_them(
    detector_folder, tiny_sam, image, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(image).save("image.png")
    save_checkpoint(tiny_sam, "tiny.safetensors", name="tiny")
    model = ["--model", "tiny.safetensors", "--text-model", str(detector_folder)]
    low = ["--text-thresh", str(LOW)]
    assert main(["segment", "image.png", "--text", "a cat", *model, *low, "-o", "one"]) == 0
    masks = json.loads((tmp_path / "one/image.json").read_text())["masks"]
    assert {mask["phrase"] for mask in masks} == {"a cat"}
    assert main(["auto", "image.png", "--classes", "a cat,red car", *model, *low]) == 0
    document = json.loads((tmp_path / "samkit-output/image.json").read_text())
    assert {one["phrase"] for one in document["annotations"]} <= set(PHRASES)
    assert document["annotations"]
    capsys.readouterr()
    long = "cat " * 60
    assert main(["segment", "image.png", "--text", long, *model]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_detector_is_not_calibrated(detector_folder, tiny_sam, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text('{"slope": 1, "offset": 0, "thresh": 0.5}')
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save("image.png")
    args = ["auto", "image.png", "--classes", "cat", "--calibration", "c.json"]
    assert main([*args, "--text-model", str(detector_folder)]) == 2
    assert "a calibration is for CLIP's scores" in capsys.readouterr().err
