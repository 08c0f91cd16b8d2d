"""Images and a stub model, for `samkit auto`."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samkit.batch import MaskGenerator
from samkit.cli import progress

STUB_PATH = Path(__file__).parent / "stub_masker.py"


def load_stub():
    spec = importlib.util.spec_from_file_location("stub_masker", STUB_PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch):
    """Commands print no progress, however slow the machine is; test_progress has its own clock."""
    quiet = partial(progress.Lines, write=lambda line: None)
    monkeypatch.setattr(progress, "Lines", quiet)


@pytest.fixture
def stub(monkeypatch):
    """Takes the model's place; its `calls` are the images that were computed."""
    masker = load_stub().StubMasker()
    monkeypatch.setattr(MaskGenerator, "masker", masker)
    monkeypatch.setattr(MaskGenerator, "everything", masker)
    monkeypatch.setattr(MaskGenerator, "check", lambda self: None)
    return masker


def write_image(path, seed, size_wh=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def new_image():
    return write_image


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder with three images in it, one of them deeper; the working folder is around it."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(["a.png", "b.jpg", "deep/c.png"]):
        write_image(tmp_path / "images" / name, index, (40 + index, 30))
    return tmp_path / "images"
