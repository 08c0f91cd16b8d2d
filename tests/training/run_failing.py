"""Trainings in which one process fails; each process notes how its training ended.

Run by a test in two processes. What is told before the end lets the test see that nobody waits.
"""

import errno
import os
import sys
from pathlib import Path

import torch

from samkit.errors import DataError, SamkitError
from samkit.training.distributed import launch
from samkit.training.loop import fit
from samkit.training.settings import OptimRecipe, RunRecipe
from training.stub_task import StubLoader, StubTask


class Broken(StubTask):
    """Cannot be exported."""

    def export(self, path):
        raise OSError(errno.EIO, "no such disk")


class Ending(StubLoader):
    """Has three batches."""

    def batch(self, number):
        if number > 3:
            raise DataError("no image is left")
        return super().batch(number)


def wrong_scores(task):
    raise DataError("no image to evaluate with")


def full_disk(state, path):
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


if __name__ == "__main__":
    folder, own_launcher = Path(sys.argv[1]), "RANK" not in os.environ
    run = RunRecipe(steps=5, accelerator="cpu", devices=2 if own_launcher else 1, log_every=1)
    fabric = launch(run)
    rank = fabric.global_rank
    first = rank == 0
    save = torch.save
    endings = []
    for name in ("evaluation", "saving", "export", "data", "log"):
        torch.save = full_disk if first and name == "saving" else save
        own = folder / name
        if first and name == "log":
            (own / "log.csv").mkdir(parents=True)
        try:
            fit(
                Broken() if first and name == "export" else StubTask(),
                StubLoader(rank=rank) if first or name != "data" else Ending(rank=rank),
                optim=OptimRecipe(warmup_steps=0),
                run=run,
                folder=own,
                evaluate=wrong_scores if name == "evaluation" else None,
                fabric=fabric,
            )
        except (SamkitError, OSError) as error:
            endings.append(f"{name}: {type(error).__name__}: {error}")
    (folder / f"{rank}.txt").write_text("\n".join(endings))
    sys.exit(2)
