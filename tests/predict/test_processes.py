"""Predictors in other processes: forked, spawned, pickled, copied."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from samkit import AutoMasker, Predictor
from samkit.backends.choose import is_installed
from samkit.errors import WeightsError
from samkit.models import CONFIGS, Sam
from samkit.weights import save_checkpoint

SCRIPT = Path(__file__).parent / "run_processes.py"
TIMEOUT_S = 300  # a process that waits for lost threads waits forever
CLICK = {"points": [[50, 40]]}
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def path(randomise, tmp_path_factory):
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(model, path, name="tiny")
    return path


needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
FORKS = [
    ("torch", "fork after use"),
    ("torch", "fork while busy"),
    ("torch", "forked pool"),
    ("torch", "forked loader"),
    ("torch", "drop-in"),
    ("onnx", "fork after use"),
    ("openvino", "fork before use"),
    ("openvino", "fork refused"),
]
SPAWNS = [
    ("torch", "spawned pool"),
    ("torch", "spawned loader"),
    ("torch", "spawned masker"),
    ("openvino", "spawned pool"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "case"),
    [*(pytest.param(*one, marks=needs_forks) for one in FORKS), *SPAWNS],
)
def test_other_processes_answer_or_say_why_not(backend, case, path):
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    # Several threads, without which nothing could hang.
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, SCRIPT, path, backend, case]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


def assert_same_answers(one, other):
    embedding = one.embed(IMAGE)
    expected = one.predict(embedding, **CLICK)
    for answer in (other.predict(embedding, **CLICK), other.predict(other.embed(IMAGE), **CLICK)):
        np.testing.assert_array_equal(answer.logits, expected.logits)
        np.testing.assert_array_equal(answer.iou_pred, expected.iou_pred)


def test_a_pickle_is_the_source_and_the_settings(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    predictor = Predictor.load(path.name, threads=1, precision="bfloat16")
    pickled = pickle.dumps(predictor)
    assert len(pickled) < 1000 < path.stat().st_size
    monkeypatch.chdir(tmp_path)  # the other process may run in another folder
    loaded = pickle.loads(pickled)
    assert loaded.describe() == predictor.describe()
    assert_same_answers(predictor, loaded)


def test_names_of_the_catalog_stay_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobile_sam").mkdir()
    predictor = Predictor.load("mobile_sam", text_model="some/detector")
    assert b"some/detector" in pickle.dumps(predictor)
    assert str(tmp_path).encode() not in pickle.dumps(predictor)
    assert pickle.loads(pickle.dumps(predictor)).model_name == "mobile_sam"


def test_a_predictor_of_a_network_in_memory_is_not_pickled(tiny_sam, refusal):
    predictor = Predictor(tiny_sam, model_name="tiny")
    for value in (predictor, AutoMasker(predictor)):
        with refusal(WeightsError, "cannot be pickled", "load it in each process"):
            pickle.dumps(value)


@pytest.mark.parametrize("part", ["image_encoder", "prompt_encoder", "mask_decoder"])
def test_weights_changed_after_loading_are_not_lost_silently(part, path, refusal):
    predictor = Predictor.load(path)
    next(getattr(predictor.model, part).parameters()).data.add_(1)
    pickled = pickle.dumps(predictor)
    with refusal(WeightsError, "tiny.safetensors has other weights", "save the network"):
        pickle.loads(pickled)


def test_a_file_changed_after_loading_is_told(path, randomise, tmp_path, refusal):
    changing = tmp_path / "tiny.safetensors"
    changing.write_bytes(path.read_bytes())
    pickled = pickle.dumps(Predictor.load(changing))
    model = Sam(CONFIGS["tiny"])
    randomise(model, 1)
    save_checkpoint(model, changing, name="tiny")
    with refusal(WeightsError, f"{changing} has other weights"):
        pickle.loads(pickled)
    changing.unlink()
    with refusal(WeightsError, "no such file"):
        pickle.loads(pickled)


@pytest.mark.parametrize("from_file", [True, False])
def test_a_deep_copy_is_independent(from_file, path, tiny_sam):
    predictor = Predictor.load(path) if from_file else Predictor(tiny_sam, model_name="tiny")
    predictor.decoder.contexts_cached = 3
    copied = copy.deepcopy(AutoMasker(predictor)).predictor
    assert copied.describe() == predictor.describe()
    assert copied.decoder.contexts_cached == 3
    assert_same_answers(predictor, copied)
    embedding = predictor.embed(IMAGE)
    expected = predictor.predict(embedding, **CLICK).logits
    with torch.no_grad():
        for parameter in copied.model.mask_decoder.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(predictor.predict(embedding, **CLICK).logits, expected)
    if from_file:
        assert_same_answers(predictor, pickle.loads(pickle.dumps(copy.deepcopy(predictor))))


def test_copies_share_the_text_model(text_sam, text_encoder, clip):
    from samkit.text import TextPrompter

    prompter = TextPrompter(clip)
    predictor = Predictor(
        text_sam, model_name="tiny", text_encoder=text_encoder, text_model=prompter
    )
    copied = copy.deepcopy(predictor)
    assert copied.text_model is prompter
    embedding = predictor.embed(IMAGE)
    expected = predictor.predict_text(embedding, "a red car")
    np.testing.assert_array_equal(
        copied.predict_text(embedding, "a red car").logits, expected.logits
    )


def test_a_predictor_with_a_text_model_of_a_folder_is_pickled(
    text_sam, text_encoder, clip_folder, tmp_path, monkeypatch
):
    save_checkpoint(text_sam, tmp_path / "text.safetensors", name="tiny", text_encoder=text_encoder)
    monkeypatch.chdir(clip_folder.parent)
    predictor = Predictor.load(tmp_path / "text.safetensors", text_model=clip_folder.name)
    expected = predictor.predict_text(predictor.embed(IMAGE), "a red car")
    pickled = pickle.dumps(predictor)
    monkeypatch.chdir(tmp_path)
    loaded = pickle.loads(pickled)
    answer = loaded.predict_text(loaded.embed(IMAGE), "a red car")
    np.testing.assert_array_equal(answer.logits, expected.logits)
