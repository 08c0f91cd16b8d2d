"""Lack of memory, shared memory or disk ends a training with one line and complete files."""

import errno
import os
import resource
import signal

import pytest
import torch

from samkit.datasets.synthetic import Scenes
from samkit.errors import OutputError, TrainingError
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.loader import BatchLoader
from samkit.training.loop import fit
from samkit.training.oom_hints import oom_hints
from samkit.training.settings import OptimRecipe, RunRecipe
from training.stub_task import StubLoader, StubTask

OPTIM = OptimRecipe(lr=0.01, warmup_steps=0)
TOO_LITTLE = "lower data.images_per_batch or data.max_masks_per_image"


def run(folder, task=None, loader=None, *, steps=4, **kwargs):
    recipe = RunRecipe(steps=steps, accelerator="cpu", save_every=2, log_every=1)
    loader = loader or StubLoader()
    return fit(task or StubTask(), loader, optim=OPTIM, run=recipe, folder=folder, **kwargs)


class Failing(StubTask):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, batch, generator):
        if "3.0" in batch.keys:
            raise self.error
        return super().forward(batch, generator)


def allocate_too_much():
    torch.empty(2**60)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "the GPU's memory is"),
        (MemoryError("Unable to allocate 10 GiB"), "the memory is too small"),
    ],
)
def test_too_little_memory_tells_what_takes_less(error, part, tmp_path, refusal):
    with refusal(TrainingError, part, TOO_LITTLE, "session.checkpoint_iterations=true"):
        run(tmp_path, Failing(error))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] == 2


def test_torchs_own_error_without_memory_is_known(refusal):
    with refusal(TrainingError, "the memory is too small", TOO_LITTLE), oom_hints():
        allocate_too_much()


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(tmp_path, Failing(RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(PermissionError):
        run(tmp_path, Failing(PermissionError(errno.EACCES, "no")))


class Ending:
    """Scenes whose reader ends in the middle, in the way of a machine that lacks something."""

    def __init__(self, end):
        self.end, self.scenes = end, Scenes(count=8, size=32)

    def __len__(self):
        return len(self.scenes)

    def key(self, index):
        return self.scenes.key(index)

    def __getitem__(self, index):
        if index == 5:
            self.end()
        return self.scenes[index]


def too_small_shm():
    raise RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(
    ("end", "parts"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGBUS), ("/dev/shm", "data.workers=0")),
        (too_small_shm, ("/dev/shm", "data.workers=0")),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), ("was killed", "data.workers")),
        (allocate_too_much, ("the memory is too small",)),
    ],
    ids=["bus error", "full", "killed", "memory"],
)
def test_workers_that_end_tell_why(end, parts, tmp_path, refusal):
    recipe = DataRecipe(train="scenes", images_per_batch=2, workers=1, prefetch=1)
    with (
        BatchLoader(Ending(end), recipe, 32, 8, seed=0) as loader,
        refusal(TrainingError, *parts),
    ):
        run(tmp_path, loader=loader, steps=8)


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("failing", ["checkpoint", "log"])
def test_a_full_disk_leaves_the_checkpoint_before(failing, tmp_path, monkeypatch, refusal):
    run(tmp_path, steps=2)
    before = (tmp_path / "last.ckpt").read_bytes()
    kept = files(tmp_path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = "torch.save" if failing == "checkpoint" else "samkit.training.log.TrainingLog.add"
    monkeypatch.setattr(where, full)
    with refusal(OutputError, "No space left on device; free some space"):
        run(tmp_path, resume=True)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert files(tmp_path) == kept
    monkeypatch.undo()
    assert run(tmp_path, resume=True).last.exists()


class Large(StubTask):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight_of_evidence", torch.zeros(200_000))


@pytest.mark.parametrize("name", ["last.ckpt", "last.safetensors"])
def test_files_that_outgrow_what_can_be_written_are_not_begun(name, tmp_path, refusal):
    """The system's limit of a file's size, which torch and safetensors meet as a full disk."""
    if name == "last.safetensors":
        run(tmp_path, Large())
        (tmp_path / name).unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        with refusal(OutputError, f"cannot write {tmp_path / name}"):
            run(tmp_path, Large(), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.glob(".samkit.*"))
