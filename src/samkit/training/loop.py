"""Resumable training loop, shared by all tasks: steps, logs, evaluations and checkpoints."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.training.distributed import all_ranks_or_fail, count_ranks, launch
from samkit.training.log import TrainingLog
from samkit.training.oom_hints import oom_hints
from samkit.training.settings import OptimRecipe, RunRecipe
from samkit.training.state import StateFile
from samkit.training.task import Evaluate, Loader, OnEvaluation, TaskT
from samkit.training.trainer import BEST, LAST, Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a training after a step.

    Attributes:
        step: number of steps done.
        steps: number of steps of the run.
        values: loss, its parts and learning rates of the last step.
        scores: scores of the last evaluation; empty before the first.
    """

    step: int
    steps: int
    values: Mapping[str, float]
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of a finished training.

    Attributes:
        best: exported weights with the highest score; without evaluations, a copy of `last`.
        best_score: score of `best`; None without evaluations.
        last: exported weights of the last step.
        seconds: duration of this run, without earlier ones that it resumed.
    """

    best: Path
    best_score: float | None
    last: Path
    seconds: float


def fit(
    task: TaskT,
    loader: Loader,
    *,
    optim: OptimRecipe,
    run: RunRecipe,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    evaluate: Evaluate[TaskT] | None = None,
    on_evaluation: OnEvaluation[TaskT] | None = None,
    on_step: Callable[[Progress], None] | None = None,
    resume: bool = False,
    fabric: Fabric | None = None,
) -> Trained:
    """Train a task on the batches of a loader.

    An error in one process ends all of them.

    Args:
        task: the task to train.
        loader: its batches; each process has its own loader.
        optim: optimiser and schedule.
        run: length, precision and hardware.
        folder: output folder for checkpoints, exported weights and logs.
        settings: all settings of the recipe by name; a resumed run must have the same.
        evaluate: returns scores; called in the first process, with the averaged task if there is an
            average.
        on_evaluation: called after each evaluation, in the first process.
        on_step: called after each step.
        resume: continue from the folder's checkpoint, if it has one.
        fabric: a launched Fabric; `launch(run)` by default.

    Raises:
        TrainingError: the loss or a gradient is not finite (the batch is saved then), memory is too
            small, or another process has failed.
        RecipeError: the checkpoint is of another recipe.
        ConfigError: it is of another number of processes.
        OutputError: the folder cannot be written, or the disk is full.
        KeyboardInterrupt: stopped from outside, after saving.
    """
    fabric = fabric or launch(run)
    with oom_hints():
        trainer = Trainer(task, optim=optim, run=run, folder=folder, fabric=fabric)
        try:
            return _fit(
                trainer,
                loader,
                StateFile(folder, fabric, settings or {}),
                evaluate=evaluate,
                on_evaluation=on_evaluation,
                on_step=on_step,
                resume=resume,
            )
        finally:
            # The connection of the processes must be gone before Python is, or it may abort; an
            # error's traceback would keep it alive.
            trainer.module = None


def _fit(
    trainer: Trainer[TaskT],
    loader: Loader,
    state: StateFile,
    *,
    evaluate: Evaluate[TaskT] | None,
    on_evaluation: OnEvaluation[TaskT] | None,
    on_step: Callable[[Progress], None] | None,
    resume: bool,
) -> Trained:
    """Run the remaining steps, with logs, evaluations and checkpoints in between."""
    run, fabric, folder = trainer.run, trainer.fabric, trainer.folder
    if resume:
        trainer.step, trainer.best_score = state.load(trainer.parts(), loader)
    started = time.monotonic()
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
            # All processes must agree: a signal may reach them in different steps.
            stopping = count_ranks(fabric, stop.is_set()) > 0
            if last or is_due(step, run.save_every) or stopping:
                state.save(trainer.parts(), loader, step=step, best_score=trainer.best_score)
            if stopping and not last:
                raise KeyboardInterrupt
    return _export(trainer, seconds=time.monotonic() - started)


def _export(trainer: Trainer[TaskT], *, seconds: float) -> Trained:
    """Write the last weights; they are the best ones too if there was no evaluation."""
    trainer.export(LAST)
    if trainer.best_score is None:
        trainer.export(BEST)
    return Trained(
        best=trainer.folder / BEST,
        best_score=trainer.best_score,
        last=trainer.folder / LAST,
        seconds=seconds,
    )


def is_due(step: int, every: int) -> bool:
    """Whether an event that happens every `every` steps is due after a step; 0 is never."""
    return every > 0 and step % every == 0


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Context in which SIGINT and SIGTERM set an event instead of interrupting the current step.

    A second signal interrupts at once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
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
