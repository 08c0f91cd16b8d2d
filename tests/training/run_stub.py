"""Train the stub in a folder, resuming; run as a process that tests kill."""

import sys
from pathlib import Path

from samkit.training.loop import train
from samkit.training.recipe import OptimRecipe, RunRecipe
from training.stub_task import StubLoader, StubTask

if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    run = RunRecipe(steps=steps, accelerator="cpu", save_every=1, log_every=7)
    optim = OptimRecipe(lr=0.01, warmup_steps=3, average_decay=0.9)
    train(StubTask(), StubLoader(), optim=optim, run=run, folder=folder, resume=True)
