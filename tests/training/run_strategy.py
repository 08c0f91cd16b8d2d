"""Train every kind of task for four steps under a strategy; run by a test, in one process or two.

Prompts are boxes without noise, which leave nothing to chance, so that two processes with two
images each learn what one with all four does. With a step given, the last process sends itself the
signal to stop after it, in each of the trainings.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import torch

from samkit.models import CONFIGS
from samkit.training.distill.task import DistillTask, build_student
from samkit.training.distributed import launch
from samkit.training.loop import fit
from samkit.training.mae.task import MaeConfig, MaeTask
from samkit.training.sam.prompts import PromptRecipe
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
from samkit.training.sam.trainable import ModelRecipe, build_trainable
from samkit.training.settings import OptimRecipe, RunRecipe
from training.run_gradients import IMAGES, make_batch


class Images:
    """The same four images again and again, lighter each time; of a process its share."""

    def __init__(self, rank, world):
        self.mine = list(range(IMAGES))[rank * IMAGES // world : (rank + 1) * IMAGES // world]
        self.position = 0

    def __iter__(self):
        while True:
            self.position += 1
            batch = make_batch(self.mine)
            batch.pixels += 0.1 * self.position
            yield batch

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def sam(**changes):
    model = ModelRecipe(config="tiny", weights=None, **changes)
    prompts = PromptRecipe(
        box_probability=1, box_noise=0, corrections=0, mask_only_between=False, mask_only_last=False
    )
    recipe = InteractiveRecipe(prompts=prompts, checkpoint_iterations=False)
    return InteractiveTask(build_trainable(model), recipe)


def mae():
    config = MaeConfig(decoder_dim=16, decoder_depth=1, decoder_heads=2)
    return MaeTask(CONFIGS["tiny"].encoder, config, model_name="tiny")


def distillation():
    return DistillTask(build_student("tiny"), build_student("tiny"), model_name="tiny")


TASKS = {
    "all": lambda: sam(learns="all", checkpoint_encoder=True),
    "lora": lambda: sam(learns="lora"),
    "mae": mae,
    "distill": distillation,
}
OPTIM = {"all": {"layer_decay": 0.8, "average_decay": 0.9}}


def score(task):
    """The sum of all weights, which tells that all of them are there."""
    weights = [weight for weight in task.state_dict().values() if weight.is_floating_point()]
    return {"sum": float(sum(weight.double().sum() for weight in weights))}


if __name__ == "__main__":
    folder, strategy, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    run = RunRecipe(
        steps=4,
        accelerator="cpu",
        devices=world,
        strategy=strategy,
        log_every=1,
        evaluate_every=2,
        accumulate=2,
    )
    fabric = launch(run)

    def on_step(progress):
        if progress.step == stop and rank == world - 1:
            signal.raise_signal(signal.SIGTERM)

    for name, build in TASKS.items():
        torch.manual_seed(0)
        task = build()
        with suppress(KeyboardInterrupt):
            fit(
                task,
                Images(rank, world),
                optim=OptimRecipe(lr=1e-3, warmup_steps=0, **OPTIM.get(name, {})),
                run=run,
                folder=folder / name,
                evaluate=score,
                on_step=on_step,
                resume=True,
                fabric=fabric,
            )
        held = {
            name: (weight.to_local() if hasattr(weight, "to_local") else weight).numel()
            for name, weight in task.named_parameters()
        }
        (folder / name / f"held_{rank}.json").write_text(json.dumps(held))
