"""Finding text models, and errors if there are none."""

import importlib.util
import json
import shutil

import huggingface_hub
import pytest

from samkit.errors import ConfigError, DownloadError, WeightsError
from samkit.text import Clip, fetch_text_model, find_text_model, load_text_model
from samkit.weights.hub import find_cached

NAME = "somebody/clip-of-theirs"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fill(hub, folder):
    """Put a model into the cache, as the hub's client does."""
    repository = hub / ("models--" + NAME.replace("/", "--"))
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    return snapshot


def test_without_transformers_the_line_that_installs_it_is_told(monkeypatch, clip_folder, refusal):
    found = importlib.util.find_spec
    lacking = {"transformers"}
    monkeypatch.setattr(
        "samkit.extras.find_spec", lambda name: None if name in lacking else found(name)
    )
    with refusal(ConfigError, "text needs transformers", "pip install '.[text]'"):
        Clip.load(clip_folder)


def test_a_folder_without_a_model_is_told(tmp_path, refusal):
    with refusal(WeightsError, f"{tmp_path} is not a text model: it has no config.json"):
        find_text_model(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "./a/b", "/a/b", "a/b/c"])
def test_what_is_neither_folder_nor_name_is_told(name, refusal):
    with refusal(WeightsError, f"no such folder: {name}", "openai/clip-vit-base-patch32"):
        find_text_model(name)


def test_without_a_network_the_way_out_is_told(hub, refusal):
    with refusal(DownloadError, f"cannot fetch {NAME}", "samkit models fetch"):
        find_text_model(NAME)
    with refusal(DownloadError, f"cannot fetch {NAME}"):
        fetch_text_model(NAME)


def test_what_was_fetched_before_is_found_offline(hub, clip_folder):
    snapshot = fill(hub, clip_folder)
    assert find_text_model(NAME) == snapshot
    assert Clip.load(NAME).source == NAME


def test_what_was_fetched_in_part_does_not_count(hub, clip_folder):
    snapshot = fill(hub, clip_folder)
    weights = snapshot / "model.safetensors"
    weights.rename(snapshot / "model-1.safetensors")
    parts = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(parts))
    assert find_cached(NAME) is None
    (snapshot / "model-2.safetensors").write_bytes(b"")
    assert find_cached(NAME) == snapshot
    (snapshot / "model.safetensors.index.json").unlink()
    (snapshot / "model-1.safetensors").unlink()
    (snapshot / "model-2.safetensors").unlink()
    assert find_cached(NAME) is None


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_configuration_is_told(tmp_path, content, refusal):
    (tmp_path / "config.json").write_text(content)
    with refusal(WeightsError, str(tmp_path / "config.json")):
        load_text_model(tmp_path)


@pytest.mark.parametrize("name", ["a b/c", "foo/bar@main", "x/", "~/clip", "-a/b"])
def test_names_that_cannot_be_are_told(name, refusal):
    with refusal(WeightsError, f"no such folder: {name}"):
        find_text_model(name)


def test_a_folder_without_a_tokenizer_is_told(hub, clip_folder, tmp_path, refusal):
    folder = tmp_path / "wordless"
    shutil.copytree(clip_folder, folder)
    (folder / "tokenizer.json").unlink()
    with refusal(WeightsError, f"{folder} has no tokenizer"):
        Clip.load(folder)
    fill(hub, folder)
    assert find_cached(NAME) is None


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": 5}', "[1]"])
def test_a_cache_with_a_damaged_index_is_not_whole(hub, clip_folder, content):
    snapshot = fill(hub, clip_folder)
    (snapshot / "model.safetensors.index.json").write_text(content)
    assert find_cached(NAME) is None


def test_an_index_of_weights_that_were_not_fetched_does_not_matter(hub, clip_folder):
    snapshot = fill(hub, clip_folder)
    parts = {"weight_map": {"a": "pytorch_model-1.bin"}}
    (snapshot / "pytorch_model.bin.index.json").write_text(json.dumps(parts))
    assert find_cached(NAME) == snapshot
