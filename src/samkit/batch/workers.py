"""Work whose `generate` runs elsewhere, while `claim` and `commit` stay in this process.

`Workers` stands for processes that generate, on this machine or others. What a lost worker was
generating fails with a WorkerError; nothing is stored before its answer is here.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, Protocol, cast

from samkit.batch.executor import (
    Claim,
    Item,
    Outcome,
    Output,
    Result,
    Work,
    claim_item,
    commit_item,
    failed,
)
from samkit.errors import SamkitError, WorkerError


class RemoteTraceback(Exception):  # noqa: N818 - names where an error comes from, and is no error
    """Traceback of an error in a worker, as the cause of the error that is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(f"\n{text}")


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[Output]):
    """What became of one claim in a worker.

    Attributes:
        error: error that `generate` raised, or that the worker was lost; None for an output.
        where: traceback of the error; empty for lost workers.
    """

    output: Output | None = None
    error: Exception | None = None
    where: str = ""


class Workers(Protocol):
    """Processes that generate the outputs of claims."""

    def capacity(self) -> int:
        """Return how many claims may be in work at once."""

    def submit(self, key: int, claim: Any) -> None:
        """Begin to generate; the answer will have this key."""

    def wait(self) -> tuple[int, Answer[Any]]:
        """Wait for any answer; return its key with it.

        Raises:
            WorkerError: no worker can be started.
        """

    def abandon(self) -> None:
        """Stop all that is in work; its answers are not wanted."""


def run_on_workers(
    work: Work[Item, Claim, Output, Result],
    items: Iterable[Item],
    workers: Workers,
    *,
    on_start: Callable[[Item], None] | None = None,
) -> Iterator[Outcome[Item, Claim, Result]]:
    """Yield the outcome of each item when it is known; see `Executor.run`."""
    waiting, keys = iter(items), count()
    in_work: dict[int, tuple[Item, Claim]] = {}

    def fill() -> Iterator[Outcome[Item, Claim, Result]]:
        """Claim items until all workers are busy; yield those that need no worker."""
        while len(in_work) < workers.capacity():
            try:
                item = next(waiting)
            except StopIteration:
                return
            outcome = claim_item(work, item)
            if outcome.claim is None:
                yield outcome
                continue
            if on_start is not None:
                on_start(item)
            key = next(keys)
            in_work[key] = item, outcome.claim
            workers.submit(key, outcome.claim)

    try:
        yield from fill()
        while in_work:
            key, answer = workers.wait()
            item, claim = in_work.pop(key)
            yield from fill()  # before the commit, during which the worker would be idle
            yield _outcome(work, item, claim, answer)
            yield from fill()
    finally:
        if in_work:
            workers.abandon()


def _outcome(
    work: Work[Item, Claim, Output, Result], item: Item, claim: Claim, answer: Answer[Output]
) -> Outcome[Item, Claim, Result]:
    error = answer.error
    if error is None:
        return commit_item(work, item, claim, cast("Output", answer.output))
    if isinstance(error, WorkerError):
        return Outcome(item=item, claim=claim, error=error)
    if isinstance(error, SamkitError):
        return failed(work, item, claim, error)
    raise error from RemoteTraceback(answer.where)


def answer_claim(generate: Callable[[Any], Any], claim: Any) -> bytes:
    """Generate in a worker; return the pickled answer, also if that fails."""
    try:
        return pickle.dumps(Answer(output=generate(claim)))
    except Exception as error:  # noqa: BLE001 - is raised in the process that owns the work
        return error_answer(error)


def error_answer(error: Exception) -> bytes:
    """Pickle the answer that an error was raised."""
    where = traceback.format_exc()
    try:
        answer = pickle.dumps(Answer(error=error, where=where))
        pickle.loads(answer)  # noqa: S301 - our own; some errors are pickled but not read again
    except Exception:  # noqa: BLE001 - whatever their own methods raise
        text = f"{type(error).__name__}: {error}"
        return pickle.dumps(Answer(error=RuntimeError(text), where=where))
    return answer


def limit_threads(threads: int) -> None:
    """Restrict this process to a number of threads; torch must not have run yet."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    import cv2

    cv2.setNumThreads(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
