"""Fixtures of the tests of the drop-in for `sam2`: a tiny model in a file as published, a clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from samkit.compat.sam2 import loading
from samkit.compat.sam2.build_sam import build_sam2, build_sam2_video_predictor
from samkit.weights import to_sam2_original


@pytest.fixture
def network(tiny_sam2):
    """The smallest SAM 2, which sees every object, whatever its random weights say."""
    with torch.no_grad():
        tiny_sam2.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    return tiny_sam2


@pytest.fixture
def checkpoint(network, tmp_path):
    path = tmp_path / "tiny.pt"
    torch.save({"model": to_sam2_original(network.state_dict())}, path)
    return str(path)


@pytest.fixture
def model(checkpoint):
    return build_sam2("tiny_sam2", checkpoint, device="cpu")


@pytest.fixture
def predictor(checkpoint):
    return build_sam2_video_predictor("tiny_sam2", checkpoint, device="cpu")


@pytest.fixture
def hub(monkeypatch, network):
    """A hub whose models are all the tiny network; the names that were asked for."""
    asked = []

    def load(source, *, name):
        asked.append((source, name))
        return type("Loaded", (), {"model": network})

    monkeypatch.setattr(loading, "load_model", load)
    return asked


@pytest.fixture(scope="session")
def frames():
    """Noise (60, 100) that moves by two pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * i : 2 * i + 100]) for i in range(6)]


@pytest.fixture(scope="session")
def clip(frames, tmp_path_factory):
    """The frames as a folder, with names as the original wants them."""
    folder = tmp_path_factory.mktemp("clip")
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.png")
    return str(folder)
