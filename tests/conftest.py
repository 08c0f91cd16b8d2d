"""Fixtures shared by several rooms' tests."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import fsspec
import pytest
import torch
from hypothesis import settings
from torch import nn

from samkit.backends import choose
from samkit.backends.choose import is_installed
from samkit.formats.notices import forget_notices
from samkit.models import CONFIGS, Sam, Sam2
from samkit.weights.checkpoint import TextEncoder

if TYPE_CHECKING:
    from samkit.text import Clip

# Masks, small data sets, and stores, for the tests of several rooms.
pytest_plugins = ["mask_fixtures", "sample_fixtures", "store_fixtures"]

# The same examples in every run, and no time limits, which a busy machine would break.
settings.register_profile("samkit", deadline=None, derandomize=True, database=None)
settings.load_profile("samkit")

# Why tests are skipped, by a part of the reason, and what runs them.
SKIPPED = {
    "SAMKIT_TEST_POSTGRES": ("PostgreSQL", "tools/with_postgres.sh make test"),
    "chromium": ("browser", "apt-get install chromium, then make test"),
    "ray": ("Ray", "pip install '.[ray]', then make test-slow"),
    "playwright": ("browser", "pip install '.[test]', then make test"),
}
left_out: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    """Give each process one thread: several processes share the cores, and results repeat."""
    del config
    for library in ("OMP", "MKL", "OPENBLAS"):  # of subprocesses
        os.environ[f"{library}_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def pytest_collection_finish() -> None:
    """Let garbage collection pass over tests and modules, which stay: it took a tenth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_deselected(items: list[pytest.Item]) -> None:
    left_out["slow"] += sum(item.get_closest_marker("slow") is not None for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the number of slow tests to the process that reports, where there are several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["slow"] = left_out["slow"]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take the number from any of pytest-xdist's processes: each collects all tests."""
    left_out["slow"] = getattr(node, "workeroutput", {}).get("slow", left_out["slow"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not run, and how to run it."""
    missing: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        known = [what for part, what in SKIPPED.items() if part in reason]
        missing[known[0] if known else ("other", reason)] += 1
    if left_out["slow"]:
        missing["slow", "make test-slow"] = left_out["slow"]
    lines = [f"{count} {kind} tests: {way}" for (kind, way), count in missing.items()]
    if lines:
        terminalreporter.section("not run")
        for line in lines:
            terminalreporter.write_line(line)


def is_installed_but_openvino(backend: str) -> bool:
    """Whether a backend's packages are installed; OpenVINO's never are."""
    return backend != "openvino" and is_installed(backend)


@pytest.fixture(autouse=True, scope="session")
def plain_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models run in plain PyTorch in float32, and caches are in the tests' folder.

    Otherwise each model would first be converted for OpenVINO, ten seconds and more; tests of
    backends ask for `all_backends`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "is_installed", is_installed_but_openvino)
        patch.setenv("SAMKIT_BACKEND", "torch")
        patch.setenv("SAMKIT_PRECISION", "float32")
        patch.setenv("SAMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def all_backends(plain_backend: None) -> Iterator[None]:
    """All backends that are installed may run, and the fastest is chosen."""
    del plain_backend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "is_installed", is_installed)
        yield


def randomise_weights(model: nn.Module, seed: int = 0, *, constants: bool = False) -> None:
    """Give every tensor random values of a natural scale, so that none can be left out unseen.

    With `constants`, also buffers that are not saved.

    A fresh model has zeros where a mistake would not show: position tables, biases.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        multiplies = isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if not tensor.is_floating_point():
                continue
            if name in module._non_persistent_buffers_set and not constants:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if multiplies and name == "weight":
                noise /= tensor[0].numel() ** 0.5
            elif name == "weight" and tensor.ndim == 1:  # of a norm
                noise = 1 + 0.2 * noise
            elif name == "running_var":
                noise = 0.5 + noise.abs()
            elif "positional" not in name:  # biases and tables
                noise *= 0.3
            tensor.data.copy_(noise)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Make each test's random inputs the same in every run and order."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def randomise() -> Callable[..., None]:
    return randomise_weights


@pytest.fixture
def memory_files() -> Iterator[Any]:
    """The files behind URLs of memory://, which all of a process share; none before and after."""
    files: Any = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture
def tiny_sam() -> Sam:
    """The smallest real model, random but not degenerate; a fresh one for each test."""
    model = Sam(CONFIGS["tiny"])
    randomise_weights(model)
    return model.eval()


@pytest.fixture
def tiny_sam2() -> Sam2:
    """The smallest SAM 2, likewise."""
    model = Sam2(CONFIGS["tiny_sam2"])
    randomise_weights(model)
    return model.eval()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP as it is saved, which knows a few words; tests may not change it."""
    from samkit.training.settings import RunRecipe
    from samkit.training.text.recipe import ClipRecipe
    from samkit.training.text.setup import build_clip
    from samkit.training.text.task import save_clip

    recipe = ClipRecipe(
        image_size=16,
        vision_width=32,
        vision_layers=1,
        text_width=32,
        text_layers=1,
        dim=12,
        run=RunRecipe(steps=1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        clip = build_clip(recipe, ["a", "red", "green", "blue", "circle", "square", "car", "tree"])
    folder = tmp_path_factory.mktemp("text") / "clip"
    save_clip(clip, folder)
    return folder


@pytest.fixture
def clip(clip_folder: Path) -> Clip:
    from samkit.text import Clip

    return Clip.load(clip_folder)


@pytest.fixture
def text_encoder(clip: Clip) -> TextEncoder:
    """What a model remembers of the tiny CLIP."""
    return TextEncoder(source=clip.source, fingerprint=clip.fingerprint, dim=clip.dim)


@pytest.fixture
def text_sam(text_encoder: TextEncoder) -> Sam:
    """The smallest real model with text prompts of the tiny CLIP, random but not degenerate."""
    model = Sam(replace(CONFIGS["tiny"], text_dim=text_encoder.dim))
    randomise_weights(model)
    return model.eval()


@contextmanager
def expect_refusal(kind: type[Exception], *parts: str) -> Iterator[None]:
    """Expect an error of exactly this kind, whose message is one line with all these parts."""
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert caught.type is kind
    assert len(message.splitlines()) == 1
    assert [part for part in parts if part not in message] == [], message


@pytest.fixture(scope="session")
def refusal() -> Callable[..., AbstractContextManager[None]]:
    return expect_refusal


@pytest.fixture
def notices(caplog):
    """Lines about images that were not taken as they are, as a new process logs them."""
    forget_notices()
    caplog.set_level("WARNING", logger="samkit")
    yield lambda: [record.getMessage() for record in caplog.records]
    forget_notices()
