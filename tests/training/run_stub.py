"""Train the stub in a folder, resuming; run as a process that tests kill or stop.

Told so, the last process of several sends itself the signal to stop after a step.
"""

import os
import signal
import sys
from pathlib import Path

from samkit.training.loop import fit
from samkit.training.settings import OptimRecipe, RunRecipe
from training.stub_task import StubLoader, StubTask

if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    stop_after = int(sys.argv[3]) if len(sys.argv) > 3 else None
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

    def stop(progress):
        if progress.step == stop_after and rank == world - 1:
            signal.raise_signal(signal.SIGTERM)

    run = RunRecipe(steps=steps, accelerator="cpu", devices=world, save_every=1, log_every=7)
    optim = OptimRecipe(lr=0.01, warmup_steps=3, average_decay=0.9)
    try:
        fit(
            StubTask(),
            StubLoader(rank=rank),
            optim=optim,
            run=run,
            folder=folder,
            on_step=stop,
            resume=True,
        )
    except KeyboardInterrupt:
        sys.exit(130)
