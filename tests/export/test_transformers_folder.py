"""Models for transformers: loaded by its own classes, with our answers."""

import copy

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from samkit.cli.main import main
from samkit.errors import BackendError, ConfigError, OutputError
from samkit.export import save_for_transformers, transformers_folder
from samkit.models import CONFIGS, build_sam
from samkit.predict import Predictor
from samkit.weights import load_model, save_checkpoint, to_own_names
from samkit.weights.checkpoint import outline


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, randomise):
    folder = tmp_path_factory.mktemp("models")
    for name in ("tiny", "tiny_sam2"):
        model = build_sam(CONFIGS[name])
        randomise(model)
        save_checkpoint(model, folder / f"{name}.safetensors", name=name)
    return folder


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    for name in ("tiny", "tiny_sam2"):
        save_for_transformers(checkpoints / f"{name}.safetensors", root / name)
    return root


def test_a_photo_is_answered_alike_from_file_to_mask(checkpoints, folders):
    """Their processor resizes by another library, so that masks are nearly the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    image = coarse.repeat(10, 0).repeat(10, 1)
    processor = transformers.SamProcessor.from_pretrained(folders / "tiny")
    model = transformers.SamModel.from_pretrained(folders / "tiny").eval()
    inputs = processor(image, input_points=[[[70.0, 40.0]]], return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs)
    (theirs,) = processor.post_process_masks(
        found.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    predictor = Predictor.load(checkpoints / "tiny.safetensors", backend="torch")
    ours = predictor.predict(predictor.embed(image), points=[[70, 40]], labels=[1])
    same = (theirs[0].numpy() == ours.masks).mean()
    assert same > 0.98
    np.testing.assert_allclose(found.iou_scores[0, 0].numpy(), ours.iou_pred, atol=0.02)


@pytest.mark.parametrize("name", ["tiny", "tiny_sam2"])
def test_what_was_written_is_read_back(checkpoints, folders, name):
    first = load_model(checkpoints / f"{name}.safetensors").model.state_dict()
    state, layout = to_own_names(load_file(folders / name / "model.safetensors"))
    assert layout == "transformers"
    assert state.keys() == first.keys()
    assert all(torch.equal(state[key], first[key]) for key in state)


def test_a_sam_2_is_a_model_of_videos_and_of_images(folders):
    for kind in (transformers.Sam2VideoModel, transformers.Sam2Model):
        _, info = kind.from_pretrained(folders / "tiny_sam2", output_loading_info=True)
        assert not info["missing_keys"]
    text = (folders / "tiny_sam2" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlibrary_name: transformers\npipeline_tag: mask-generation\n")
    assert "Sam2Model.from_pretrained(FOLDER)" in text


def test_other_networks_are_refused(tmp_path, refusal):
    with refusal(ConfigError, "no TinyViT"):
        save_for_transformers("mobile_sam", tmp_path / "out")
    with refusal(ConfigError, "EdgeTAM only with timm's RepViT"):
        transformers_folder.empty_model(outline("tiny_edgetam"))
    assert not (tmp_path / "out").exists()


def test_other_answers_are_not_written(checkpoints, tmp_path, refusal, monkeypatch):
    def copy_wrongly(ours, theirs):
        other = copy.deepcopy(ours)
        other.mask_decoder.iou_token.weight.data += 1
        right(other, theirs)

    right = transformers_folder.copy_weights
    monkeypatch.setattr(transformers_folder, "copy_weights", copy_wrongly)
    with refusal(BackendError, "nothing was written"):
        save_for_transformers(checkpoints / "tiny.safetensors", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_folder_is_left_alone(checkpoints, tmp_path, refusal):
    (tmp_path / "own.txt").write_text("mine")
    with refusal(OutputError, "give a new folder"):
        save_for_transformers(checkpoints / "tiny.safetensors", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["own.txt"]


def test_the_command_lists_the_files(checkpoints, tmp_path, capsys):
    words = ["export", str(checkpoints / "tiny.safetensors"), "--format", "transformers"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "other"), "--precision", "float16"]) == 2
    assert "are not for transformers" in capsys.readouterr().err
