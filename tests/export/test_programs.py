"""Exports as programs of torch.export: their answers, and weights that are read as data."""

import json
import logging
import pickle
import zipfile

import numpy as np
import pytest
import torch

from samkit.backends import VIDEO_PARTS
from samkit.errors import WeightsError
from samkit.export import export_model
from samkit.models import CONFIGS, build_sam
from samkit.predict import Predictor
from samkit.video import VideoPredictor
from samkit.weights import save_checkpoint

pytestmark = pytest.mark.slow  # an export takes ten seconds

TORCH = {"backend": "torch", "precision": "float32", "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def no_trace_log():
    """torch logs each step of an export at length, which pytest would keep for its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
        yield


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, randomise):
    root = tmp_path_factory.mktemp("tiny")
    for name in ("tiny_mobile", "tiny_sam2"):
        model = build_sam(CONFIGS[name])
        randomise(model)
        save_checkpoint(model, root / f"{name}.safetensors", name=name)
    return root


@pytest.fixture(scope="module")
def folder(checkpoints, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "mobile"
    export_model(checkpoints / "tiny_mobile.safetensors", path, format="torch")
    return path


@torch.no_grad()
def test_other_programs_load_them_by_pytorch_alone(checkpoints, folder):
    plain = Predictor.load(checkpoints / "tiny_mobile.safetensors", **TORCH)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    embedding = plain.embed(image)
    decoder = torch.export.load(folder / "decoder.pt2").module()
    scale = 128 / 120
    for count in (1, 3):
        points = np.array([[[30, 20], [50, 60]]] * count)
        masks, iou, low_res = decoder(
            embedding.features.grid,
            torch.tensor([[[30.0, 20.0], [50.0, 60.0], [0.0, 0.0]]] * count)
            * torch.tensor([[scale], [scale], [1.0]]),
            torch.tensor([[1.0, 0.0, -1.0]] * count),
            torch.zeros(count, 1, 32, 32),
            torch.zeros(1),
            torch.tensor([90.0, 120.0]),
        )
        expected = plain.predict(embedding, points=points, labels=np.array([[1, 0]] * count))
        assert masks.shape == (count, 4, 90, 120)
        np.testing.assert_allclose(iou[:, 1:], expected.iou_pred, atol=1e-4)
        np.testing.assert_allclose(low_res[:, 1:], expected.logits, atol=1e-3)


def test_a_predictor_takes_their_weights(checkpoints, folder):
    plain = Predictor.load(checkpoints / "tiny_mobile.safetensors", **TORCH)
    loaded = Predictor.load(folder, **TORCH)
    state = plain.model.state_dict()
    assert loaded.model.state_dict().keys() == state.keys()
    assert all(torch.equal(one, state[name]) for name, one in loaded.model.state_dict().items())
    assert loaded.describe()["backend"] == "torch"
    assert pickle.loads(pickle.dumps(loaded)).encoder_checksum == plain.encoder_checksum


def test_weights_that_were_changed_are_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    part = "encoder.pt2"
    with zipfile.ZipFile(folder / part) as old, zipfile.ZipFile(tmp_path / part, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[::-1] if name.endswith("/weight_0") else content)
    with pytest.raises(WeightsError, match="is damaged: it has other weights"):
        Predictor.load(tmp_path, **TORCH)


def test_a_sam2_with_and_without_its_memory(checkpoints, tmp_path):
    source = checkpoints / "tiny_sam2.safetensors"
    export_model(source, tmp_path / "new", format="torch", parts=("encoder", "decoder", "video"))
    content = json.loads((tmp_path / "new" / "samkit.json").read_text())
    assert content["compared_video"]["mean_iou"] > 0.995
    state = VideoPredictor.load(tmp_path / "new", **TORCH).predictor.model.state_dict()
    expected = Predictor.load(source, **TORCH).model.state_dict()
    assert all(torch.equal(one, expected[name]) for name, one in state.items())
    assert state.keys() == expected.keys()
    for part in VIDEO_PARTS:
        (tmp_path / "new" / f"{part}.pt2").unlink()
    with pytest.raises(WeightsError, match="for images alone"):
        VideoPredictor.load(tmp_path / "new", **TORCH)
