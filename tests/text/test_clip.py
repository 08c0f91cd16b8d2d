"""CLIP: loading from a folder, and parity with transformers."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from samkit.errors import PromptError, WeightsError
from samkit.text import Clip
from samkit.training.text.task import make_tokenizer

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (side, side, 3), np.uint8) for side in (16, 40, 9)]


def test_pictures_are_encoded_as_transformers_does(clip, clip_folder):
    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    model = CLIPModel.from_pretrained(clip_folder)
    pixels = processor([Image.fromarray(one) for one in PICTURES], return_tensors="pt")
    torch.testing.assert_close(
        clip.pixels.prepare(PICTURES), pixels["pixel_values"], atol=1e-6, rtol=0
    )
    with torch.no_grad():
        expected = model.get_image_features(**pixels).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1)
    np.testing.assert_allclose(clip.encode_images(PICTURES), expected, atol=1e-6)


def test_texts_are_encoded_as_transformers_does(clip, clip_folder):
    texts = ["a red circle", "a tree", "something else that is long"]
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    model = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        expected = model.get_text_features(**tokens).pooler_output
    expected = torch.nn.functional.normalize(expected, dim=-1)
    np.testing.assert_allclose(clip.encode_texts(texts), expected, atol=1e-6)


def test_a_batch_is_its_texts_one_by_one(clip):
    texts = ["a car", "a blue square", "red"] * 20  # more than are encoded at once
    alone = np.concatenate([clip.encode_texts([text]) for text in texts[:3]])
    np.testing.assert_allclose(clip.encode_texts(texts), np.tile(alone, (20, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    assert clip.encode_texts([]).shape == (0, clip.dim)
    assert clip.encode_images([]).shape == (0, clip.dim)


def test_known_words_are_one_token_each(clip):
    begin, end = clip.tokenizer.bos_token_id, clip.tokenizer.eos_token_id
    ids = clip.tokenize(["a red circle", "Circle"])
    assert ids.shape == (2, 5)
    assert ids[0, 0] == ids[1, 0] == begin
    assert ids[0, 3] == ids[1, 1]  # the same word, whatever its case
    assert ids[1, 2:].tolist() == [end] * 3


def test_text_that_is_too_long_is_refused_not_cut(clip, refusal):
    assert clip.max_tokens == 77
    assert clip.encode_texts(["red " * 75]).shape == (1, clip.dim)
    with refusal(PromptError, "may have 75 tokens", "'red red", "has 76: shorten it"):
        clip.encode_texts(["red", "red " * 76])


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_empty_text_is_refused(clip, refusal, text):
    with refusal(PromptError, "text must not be empty", "a red car"):
        clip.encode_texts(["red", text])


def test_what_is_no_text_is_refused(clip, refusal):
    with refusal(PromptError, "text must be a word or words; got 5"):
        clip.encode_texts([5])


def test_fingerprints_tell_models_apart(clip, clip_folder, tmp_path):
    assert Clip.load(clip_folder).fingerprint == clip.fingerprint
    with torch.no_grad():
        other = Clip.load(clip_folder)
        other.model.visual_projection.weight[0, 0] += 1e-3
    assert other.fingerprint != clip.fingerprint
    with torch.no_grad():
        towers = Clip.load(clip_folder)
        towers.model.text_model.final_layer_norm.bias[0] += 1e-3
    words = Clip.load(clip_folder)
    words.tokenizer = make_tokenizer(["car"], max_tokens=77)
    prints = {one.fingerprint for one in (clip, other, towers, words)}
    assert len(prints) == 4
    clip.tokenize(["a", "red car"])  # the tokenizer's state does not count
    assert Clip.load(clip_folder).fingerprint == clip.fingerprint


def test_another_kind_of_model_is_refused(clip_folder, tmp_path, refusal):
    folder = tmp_path / "bert"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with refusal(WeightsError, "is a model of type 'bert'; expected 'clip'"):
        Clip.load(folder)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_weights_are_one_line(clip_folder, tmp_path, refusal, content):
    folder = tmp_path / "broken"
    shutil.copytree(clip_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-99] if content is None else content)
    with refusal(WeightsError, str(folder), "cannot be loaded"):
        Clip.load(folder)


def test_without_how_pictures_are_prepared_it_is_refused(clip_folder, tmp_path, refusal):
    folder = tmp_path / "unprepared"
    shutil.copytree(clip_folder, folder)
    (folder / "preprocessor_config.json").write_text("{}")
    with refusal(WeightsError, "must give an image size, mean and std"):
        Clip.load(folder)
    (folder / "preprocessor_config.json").unlink()
    with refusal(WeightsError, "cannot read", "preprocessor_config.json"):
        Clip.load(folder)


def test_missing_weights_are_told(clip_folder, tmp_path, refusal):
    folder = tmp_path / "partial"
    shutil.copytree(clip_folder, folder)
    state = load_file(folder / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with refusal(WeightsError, "has no weights for text_projection.weight"):
        Clip.load(folder)


def test_what_newer_transformers_writes_is_read(clip_folder, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(clip_folder, folder)
    values = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": values}))
    assert Clip.load(folder).pixels == Clip.load(clip_folder).pixels


def test_pictures_of_another_size_are_refused(clip_folder, tmp_path, refusal):
    folder = tmp_path / "large"
    shutil.copytree(clip_folder, folder)
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "size": 32, "crop_size": 32}))
    with refusal(WeightsError, "resizes images to 32 pixels; its CLIP expects 16"):
        Clip.load(folder)


def test_halves_of_characters_are_refused(clip, refusal):
    with refusal(PromptError, "whole characters"):
        clip.encode_texts(["caf\udce9"])
    assert clip.encode_texts(["été 日本"]).shape == (1, clip.dim)


def test_published_layouts_of_sizes_are_read(clip_folder, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(clip_folder, folder)
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text())
    for size in (16, {"shortest_edge": 16}, {"height": 16, "width": 16}):
        path.write_text(json.dumps({**values, "size": size, "crop_size": size}))
        assert Clip.load(folder).pixels.size == 16
    del values["crop_size"]
    path.write_text(json.dumps(values))
    assert Clip.load(folder).pixels.size == 16
