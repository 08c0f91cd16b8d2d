"""If one process of a training fails, the others do not wait for it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from samkit.training.distributed import precision_of
from samkit.training.settings import RunRecipe
from training.starting import start

LAUNCHERS = {
    "lightning": (),
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29531"),
}
TIMEOUT_S = 120  # where somebody waits; else it takes some ten seconds


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_what_fails_in_one_process_ends_all(launcher: str, tmp_path: Path) -> None:
    process = start("run_failing.py", tmp_path, module=LAUNCHERS[launcher], MASTER_PORT="29532")
    try:
        assert process.wait(TIMEOUT_S) != 0
    finally:
        with suppress(ProcessLookupError):  # its children are of the same group
            os.killpg(process.pid, signal.SIGKILL)
    first, second = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    told = "TrainingError: stopped, since another process of this training has failed"
    full = f"cannot write {tmp_path}/saving/last.ckpt: No space left on device; free some space"
    assert first == [
        "evaluation: DataError: no image to evaluate with",
        f"saving: OutputError: {full}",
        "export: OSError: [Errno 5] no such disk",
        f"data: {told}",
        f"log: IsADirectoryError: [Errno 21] Is a directory: '{tmp_path}/log/log.csv'",
    ]
    assert second == [
        f"evaluation: {told}",
        f"saving: {told}",
        f"export: {told}",
        "data: DataError: no image is left",
        f"log: {told}",
    ]
    # Nothing is half-written, and no temporary file is left.
    assert [path.name for path in (tmp_path / "saving").iterdir() if path.is_file()] == ["log.csv"]


@pytest.mark.parametrize(("is_fast", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_is_chosen_where_it_is_computed(monkeypatch, is_fast, expected):
    monkeypatch.setattr("samkit.training.distributed.computes_bfloat16", lambda: is_fast)
    assert precision_of(RunRecipe(steps=1, precision="auto", accelerator="cpu")) == expected
    assert precision_of(RunRecipe(steps=1, precision="16-mixed")) == "16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: not is_fast)
    on_gpu = precision_of(RunRecipe(steps=1, precision="auto"))
    assert on_gpu == ("32-true" if is_fast else "bf16-mixed")
