"""The one loop that trains every task: steps, logs, evaluations, checkpoints; stopped and resumed.

All random numbers of a step are drawn from the run's seed, the step's number and the process's
rank, so that a resumed run goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import atexit
import copy
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch

from samkit.errors import ConfigError, TrainingError
from samkit.extras import install_hint
from samkit.files import check_writable, make_folder, write_tensors
from samkit.training.average import WeightAverage
from samkit.training.batch import Batch
from samkit.training.distributed import all_ranks_or_fail, count_ranks, rank0_broadcast
from samkit.training.log import TrainingLog
from samkit.training.oom_hints import oom_hints
from samkit.training.optim import make_optimiser
from samkit.training.settings import OptimRecipe, RunRecipe
from samkit.training.sharding import gather_full, shard, sharded_strategy
from samkit.training.state import StateFile
from samkit.training.task import Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BEST, LAST = "best.safetensors", "last.safetensors"

# Scores of a task, higher is better; the first one chooses the best weights.
Evaluate = Callable[[Task], Mapping[str, float]]
# Sees what was evaluated, and after how many steps.
OnEvaluation = Callable[[Task, int], None]


class Loader(Protocol):
    """An endless iterator of batches that knows where it is."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        step: steps done.
        steps: of the whole run.
        values: of the last step: loss, its parts, rates.
        scores: of the last evaluation; empty before the first.
    """

    step: int
    steps: int
    values: Mapping[str, float]
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a finished training leaves.

    Attributes:
        best: exported weights with the highest score; those of the last step without evaluations.
        best_score: None without evaluations.
        last: exported weights of the last step.
        seconds: of this process, not of those that were resumed from.
    """

    best: Path
    best_score: float | None
    last: Path
    seconds: float


def launch(run: RunRecipe) -> Fabric:
    """Start the processes of a run; under torchrun, join them.

    Raises:
        ConfigError: Lightning Fabric is not installed, or cannot do what is asked here.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        hint = install_hint("train")
        raise ConfigError(f"training needs Lightning Fabric: {hint}") from error
    strategies: dict[str, Callable[[], Any]] = {
        "auto": lambda: "auto",
        # Not each step uses each parameter: a session may begin with points only.
        "ddp": lambda: DDPStrategy(find_unused_parameters=True),
        "fsdp": lambda: sharded_strategy(devices * machines),
    }
    devices, machines = world_layout(run)
    # Lightning's own choice for several processes is DDP too, but without the above.
    strategy = "ddp" if run.strategy == "auto" and devices * machines > 1 else run.strategy
    try:
        fabric = Fabric(
            accelerator=run.accelerator,
            devices=devices,
            num_nodes=machines,
            strategy=strategies[strategy](),
            precision=run.precision,
        )
        fabric.launch()
    except (RuntimeError, ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"this run cannot start here: {' '.join(str(error).split())}") from error
    atexit.register(destroy_process_group_at_exit)
    return fabric


def destroy_process_group_at_exit() -> None:
    """End what connects processes while Python is still there, without which it may abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def world_layout(run: RunRecipe) -> tuple[int, int]:
    """Processes on this machine, and machines: under torchrun as many as it has started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return run.devices, 1
    here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return here, everywhere // here


def train(
    task: Task,
    loader: Loader,
    *,
    optim: OptimRecipe,
    run: RunRecipe,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    evaluate: Evaluate | None = None,
    on_evaluation: OnEvaluation | None = None,
    on_step: Callable[[Progress], None] | None = None,
    resume: bool = False,
    fabric: Fabric | None = None,
) -> Trained:
    """Train a task.

    What fails in one process ends all of them.

    Args:
        task: what learns.
        loader: its batches; each process has its own.
        optim: optimiser and schedule.
        run: how long, how exactly, on what.
        folder: for checkpoints, exported weights and logs.
        settings: of the whole recipe, by name; a resumed run must have the same.
        evaluate: gives scores, in the first process; the averaged task's where there is an average.
        on_evaluation: called after each evaluation, in the first process.
        on_step: called after each step.
        resume: go on from the folder's checkpoint, if it has one.
        fabric: launched already; by default `launch(run)`.

    Raises:
        TrainingError: the loss or a gradient is not finite, and the batch is saved; memory is too
            small; another process has failed.
        ConfigError: the checkpoint is of another recipe or number of processes.
        OutputError: the folder cannot be written, or the disk is full.
        KeyboardInterrupt: stopped from outside, after saving.
    """
    fabric = fabric or launch(run)
    with oom_hints():
        trainer = Trainer(task, optim=optim, run=run, folder=folder, fabric=fabric)
        try:
            return _train(
                trainer,
                loader,
                StateFile(folder, fabric, settings or {}),
                evaluate=evaluate,
                on_evaluation=on_evaluation,
                on_step=on_step,
                resume=resume,
            )
        finally:
            # What connects the processes must be gone before Python is, or it may abort; an error's
            # traceback would keep it.
            trainer.module = None


def _train(
    trainer: Trainer,
    loader: Loader,
    state: StateFile,
    *,
    evaluate: Evaluate | None,
    on_evaluation: OnEvaluation | None,
    on_step: Callable[[Progress], None] | None,
    resume: bool,
) -> Trained:
    """Do the steps that are left, with all that lies between them."""
    run, fabric, folder = trainer.run, trainer.fabric, trainer.folder
    if resume:
        trainer.step, trainer.best_score = state.load(trainer.parts(), loader)
    begun = time.monotonic()
    scores: Mapping[str, float] = {}
    with all_ranks_or_fail(fabric):
        log = TrainingLog(folder, from_step=trainer.step, quiet=not fabric.is_global_zero)
    with stopped_by_signals() as stop, closing(log):
        if evaluate is not None and run.evaluate_first and trainer.step == 0:
            scores = trainer.evaluate(evaluate, on_evaluation)
            with all_ranks_or_fail(fabric):
                log.add_scores(0, scores)
        batches = iter(loader)
        while trainer.step < run.steps:
            values = trainer.advance(batches)
            step, last = trainer.step, trainer.step == run.steps
            evaluated = evaluate is not None and (last or is_due(step, run.evaluate_every))
            with all_ranks_or_fail(fabric):
                if last or is_due(step, run.log_every):
                    log.add(step, values)
            if evaluate is not None and evaluated:
                scores = trainer.evaluate(evaluate, on_evaluation)
            with all_ranks_or_fail(fabric):
                if evaluated:
                    log.add_scores(step, scores)
                if on_step is not None:
                    on_step(Progress(step=step, steps=run.steps, values=values, scores=scores))
            # Once: a signal may come at any time, and not to all processes in the same step.
            stopping = count_ranks(fabric, stop.is_set()) > 0
            if last or is_due(step, run.save_every) or stopping:
                state.save(trainer.parts(), loader, step=step, best_score=trainer.best_score)
            if stopping and not last:
                raise KeyboardInterrupt
    trainer.export(LAST)
    return Trained(
        best=folder / (LAST if trainer.best_score is None else BEST),
        best_score=trainer.best_score,
        last=folder / LAST,
        seconds=time.monotonic() - begun,
    )


def is_due(step: int, every: int) -> bool:
    """Whether something happens after a step that happens every so many; 0 is never."""
    return every > 0 and step % every == 0


class Trainer:
    """A task with its optimiser, schedule and average, and how many steps they have done.

    Attributes:
        step: steps done.
        best_score: of the best evaluation so far; None before the first.
    """

    def __init__(
        self, task: Task, *, optim: OptimRecipe, run: RunRecipe, folder: Path, fabric: Fabric
    ) -> None:
        """Bring a task to its device.

        Raises:
            OutputError: the folder cannot be made.
        """
        self.task, self.optim, self.run, self.fabric = task, optim, run, fabric
        with all_ranks_or_fail(fabric):
            self.folder = made_folder(folder)
        self.sharded = run.strategy == "fsdp"
        if self.sharded and optim.method == "muon":
            raise ConfigError(
                "run.strategy=fsdp needs optim.method=adamw: muon takes whole matrices"
            )
        # Sharded tasks cannot be copied any more.
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

    def result(self) -> Task:
        """What is evaluated and exported: the averaged task, if there is an average.

        All processes must ask; where the weights are sharded, only the first one gets all of them.
        """
        task = self.task if self.average is None else cast("Task", self.average.module)
        if not self.sharded:
            return task
        state = gather_full(task.state_dict(), keep=self.fabric.is_global_zero)
        if self._full_task is None:
            return task
        self._full_task.load_state_dict(state)
        return self._full_task

    @property
    def scaler(self) -> Any:
        """What scales losses in float16, where gradients would else vanish; None for others."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def parts(self) -> dict[str, Any]:
        """All that has a state."""
        return {
            "task": self.module,
            "optimiser": self.optimiser.optimizer,
            "schedule": self.schedule,
            "average": self.average,
            "scaler": self.scaler,
        }

    def advance(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Do one step; give what there is to log."""
        begun = time.monotonic()
        with all_ranks_or_fail(self.fabric):
            some = [next(batches).to(self.fabric.device) for _ in range(self.run.accumulate)]
        self.module.train()
        values = self.accumulate(some)
        norm: Any = self.fabric.clip_gradients(
            self.module,
            self.optimiser,
            # Without a limit, gradients are multiplied with 1, and looked at all the same.
            max_norm=math.inf if self.optim.clip_norm is None else self.optim.clip_norm,
            error_if_nonfinite=False,
        )
        values["gradient_norm"] = float(gather_full(norm))
        # In float16 the scaler leaves such a step out by itself.
        if not math.isfinite(values["gradient_norm"]) and self.scaler is None:
            raise self._refusal("gradient", values["gradient_norm"], some)
        self.optimiser.step()
        self.optimiser.zero_grad()
        values["lr"] = float(self.schedule.get_last_lr()[-1])
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.task)
        self.step += 1
        return values | throughput(some, time.monotonic() - begun, self.fabric.world_size)

    def accumulate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Add up the gradients of one step's batches; give the loss and its parts.

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
                # Gradients are averaged over processes: each batch counts by its share of all.
                share = weight * fabric.world_size / float(total)
                fabric.backward(result.loss * share)
            for name, value in {"loss": result.loss.detach(), **result.parts}.items():
                shared = value.float() * share
                sums[name] = sums[name] + shared if name in sums else shared
        means: Any = fabric.all_reduce(sums, reduce_op="mean")
        values = {name: float(value) for name, value in means.items()}
        if not math.isfinite(values["loss"]):
            raise self._refusal("loss", values["loss"], batches)
        return values

    def evaluate(
        self, evaluate: Evaluate, on_evaluation: OnEvaluation | None = None
    ) -> dict[str, float]:
        """Scores, found by the first process and told to all; the best weights are exported."""
        task = self.result()

        def measure() -> dict[str, float]:
            task.to(self.fabric.device).eval()
            scores = {name: float(score) for name, score in evaluate(task).items()}
            if on_evaluation is not None:
                on_evaluation(task, self.step)
            if self.sharded:
                task.cpu()  # leaves the memory to the training
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

    def _write(self, task: Task, name: str) -> None:
        with all_ranks_or_fail(self.fabric):
            if self.fabric.is_global_zero:
                task.export(self.folder / name)

    def _refusal(self, what: str, value: float, batches: Sequence[Batch]) -> TrainingError:
        """Save the batches of a step that went wrong; give the error that says so."""
        step = self.step + 1
        path = self.folder / f"not_finite_step{step}_rank{self.fabric.global_rank}.safetensors"
        tensors = {
            f"{number}.{name}": tensor
            for number, batch in enumerate(batches)
            for name in ("pixels", "features", "masks", "image_index")
            if (tensor := getattr(batch, name)) is not None
        }
        keys = ", ".join(key for batch in batches for key in batch.keys)
        write_tensors(path, tensors, {"keys": keys, "step": str(step)})
        return TrainingError(
            f"the {what} is {value} at step {step}; the batch is in {path}:"
            " look at it, or lower optim.lr or set run.precision=32-true"
        )


def made_folder(folder: Path) -> Path:
    """Make a folder for results.

    Raises:
        OutputError: it cannot be written.
    """
    check_writable(folder)
    make_folder(folder)
    return folder


def seeded(numbers: tuple[int, ...], device: torch.device) -> torch.Generator:
    """A generator for one batch of one step; torch's own state is set as well, for drop path."""
    draw = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    torch.manual_seed(int(draw[0]))
    return torch.Generator(device).manual_seed(int(draw[1]))


def throughput(batches: Sequence[Batch], seconds: float, world: int) -> dict[str, float]:
    """Images and masks per second over all processes."""
    images = sum(len(batch.keys) for batch in batches)
    masks = sum(len(batch.masks) for batch in batches)
    return {
        "images_per_s": images * world / seconds,
        "masks_per_s": masks * world / seconds,
        "seconds": seconds,
    }


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a step is finished and saved.

    A second one interrupts at once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are not ours there
        yield stop
        return

    def handler(number: int, frame: Any) -> None:  # noqa: ARG001
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
