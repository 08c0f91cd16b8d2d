"""Trainer: a task with its optimiser, schedule and weight average.

All random numbers of a step are drawn from the run's seed, the step's number and the process's
rank, so that a resumed run continues exactly as if it had never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np
import torch

from samkit.errors import ConfigError, TrainingError
from samkit.files import make_folder, write_tensors
from samkit.training.average import WeightAverage
from samkit.training.distributed import all_ranks_or_fail, rank0_broadcast
from samkit.training.optim import make_optimiser
from samkit.training.settings import OptimRecipe, RunRecipe
from samkit.training.sharding import gather_full, shard
from samkit.training.task import Batch, Evaluate, OnEvaluation, TaskT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BEST, LAST = "best.safetensors", "last.safetensors"


class Trainer(Generic[TaskT]):
    """Steps, evaluations and exports of a task.

    Attributes:
        step: number of steps done.
        best_score: best score of all evaluations so far; None before the first.
    """

    def __init__(
        self, task: TaskT, *, optim: OptimRecipe, run: RunRecipe, folder: Path, fabric: Fabric
    ) -> None:
        """Move a task to its device and make its optimiser.

        Raises:
            OutputError: the folder cannot be created.
            ConfigError: the optimiser does not work with the strategy.
        """
        self.task, self.optim, self.run, self.fabric = task, optim, run, fabric
        with all_ranks_or_fail(fabric):
            make_folder(folder)
        self.folder = folder
        self.sharded = run.strategy == "fsdp"
        if self.sharded and optim.method == "muon":
            raise ConfigError(
                "run.strategy=fsdp needs optim.method=adamw: muon needs unsharded matrices"
            )
        # Before sharding, after which a task can no longer be copied.
        self.average: WeightAverage | None = None
        if optim.average_decay is not None:
            self.average = WeightAverage(task, decay=optim.average_decay, device=fabric.device)
        needs_copy = self.sharded and fabric.is_global_zero
        self._full_task = copy.deepcopy(task) if needs_copy else None
        self.module: Any = fabric.setup_module(task)
        if self.sharded and self.average is not None:
            strategy: Any = fabric.strategy
            shard(self.average.module, strategy.device_mesh["data_parallel"])
        optimiser, self.schedule = make_optimiser(
            task, task.parameter_depths(), optim, steps=run.steps
        )
        self.optimiser: Any = fabric.setup_optimizers(optimiser)
        self.step = 0
        self.best_score: float | None = None

    def result(self) -> TaskT:
        """Return the task to evaluate and export: the averaged one, if there is an average.

        All processes must call this; if the weights are sharded, only the first one gets them all.
        """
        task = self.task if self.average is None else cast("TaskT", self.average.module)
        if not self.sharded:
            return task
        state = gather_full(task.state_dict(), keep=self.fabric.is_global_zero)
        if self._full_task is None:
            return task
        self._full_task.load_state_dict(state)
        return self._full_task

    @property
    def scaler(self) -> Any:
        """Loss scaler, which keeps float16 gradients from vanishing; None for other precisions."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def parts(self) -> dict[str, Any]:
        """Return all parts that have a state, for checkpoints."""
        return {
            "task": self.module,
            "optimiser": self.optimiser.optimizer,
            "schedule": self.schedule,
            "average": self.average,
            "scaler": self.scaler,
        }

    def advance(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Do one step; return the values to log."""
        started = time.monotonic()
        with all_ranks_or_fail(self.fabric):
            of_step = [next(batches).to(self.fabric.device) for _ in range(self.run.accumulate)]
        self.module.train()
        values = self.accumulate(of_step)
        norm: Any = self.fabric.clip_gradients(
            self.module,
            self.optimiser,
            # Without a limit, gradients are multiplied by 1; the norm is needed either way.
            max_norm=math.inf if self.optim.clip_norm is None else self.optim.clip_norm,
            error_if_nonfinite=False,
        )
        values["gradient_norm"] = float(gather_full(norm))
        # In float16 the scaler skips such a step by itself.
        if not math.isfinite(values["gradient_norm"]) and self.scaler is None:
            raise self._refusal("gradient", values["gradient_norm"], of_step)
        self.optimiser.step()
        self.task.constrain()
        self.optimiser.zero_grad()
        values["lr"] = float(self.schedule.get_last_lr()[-1])
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.task)
        self.step += 1
        return values | throughput(of_step, time.monotonic() - started, self.fabric.world_size)

    def accumulate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Add up the gradients of one step's batches; return the loss and its parts.

        Raises:
            TrainingError: the loss is not finite.
        """
        fabric, rank = self.fabric, self.fabric.global_rank
        weights = [self.task.weight(batch) for batch in batches]
        total: Any = fabric.all_reduce(torch.tensor(float(sum(weights))), reduce_op="sum")
        sums: dict[str, torch.Tensor] = {}
        for number, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
            generator = seeded((self.run.seed, self.step, rank, number), fabric.device)
            last = number == len(batches) - 1
            with fabric.no_backward_sync(self.module, enabled=not last):
                result = self.module(batch, generator)
                # Gradients are averaged over processes: weight each batch by its fraction of all.
                fraction = weight * fabric.world_size / float(total)
                fabric.backward(result.loss * fraction)
            for name, value in {"loss": result.loss.detach(), **result.parts}.items():
                shared = value.float() * fraction
                sums[name] = sums[name] + shared if name in sums else shared
        means: Any = fabric.all_reduce(sums, reduce_op="mean")
        values = {name: float(value) for name, value in means.items()}
        if not math.isfinite(values["loss"]):
            raise self._refusal("loss", values["loss"], batches)
        return values

    def evaluate(
        self, evaluate: Evaluate[TaskT], on_evaluation: OnEvaluation[TaskT] | None = None
    ) -> dict[str, float]:
        """Compute scores in the first process, broadcast them, and export the best weights."""
        task = self.result()

        def measure() -> dict[str, float]:
            task.to(self.fabric.device).eval()
            scores = {name: float(score) for name, score in evaluate(task).items()}
            if on_evaluation is not None:
                on_evaluation(task, self.step)
            if self.sharded:
                task.cpu()  # frees the memory for the training
            return scores

        scores = rank0_broadcast(self.fabric, measure)
        score = next(iter(scores.values()))
        if self.best_score is None or score > self.best_score:
            self.best_score = score
            self._write(task, BEST)
        return scores

    def export(self, name: str) -> None:
        """Write weights for users."""
        self._write(self.result(), name)

    def _write(self, task: TaskT, name: str) -> None:
        with all_ranks_or_fail(self.fabric):
            if self.fabric.is_global_zero:
                task.export(self.folder / name)

    def _refusal(self, what: str, value: float, batches: Sequence[Batch]) -> TrainingError:
        """Save the batches of a failed step; return the error to raise."""
        step = self.step + 1
        path = self.folder / f"not_finite_step{step}_rank{self.fabric.global_rank}.safetensors"
        tensors = {
            f"{number}.{name}": tensor
            for number, batch in enumerate(batches)
            for name in ("pixels", "features", "masks", "image_index")
            if (tensor := getattr(batch, name)) is not None
        }
        tensors |= {
            f"{number}.finer_{index}": level
            for number, batch in enumerate(batches)
            for index, level in enumerate(batch.finer)
        }
        keys = ", ".join(key for batch in batches for key in batch.keys)
        write_tensors(path, tensors, {"keys": keys, "step": str(step)})
        return TrainingError(
            f"the {what} is {value} at step {step}; the batch is saved in {path}:"
            " inspect it, or lower optim.lr or set run.precision=32-true"
        )


def seeded(numbers: tuple[int, ...], device: torch.device) -> torch.Generator:
    """Make the generator for one batch of one step; also seed torch's global one, for drop path."""
    draw = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    torch.manual_seed(int(draw[0]))
    return torch.Generator(device).manual_seed(int(draw[1]))


def throughput(batches: Sequence[Batch], seconds: float, world: int) -> dict[str, float]:
    """Compute images and masks per second over all processes."""
    images = sum(len(batch.keys) for batch in batches)
    masks = sum(len(batch.masks) for batch in batches)
    return {
        "images_per_s": images * world / seconds,
        "masks_per_s": masks * world / seconds,
        "seconds": seconds,
    }
