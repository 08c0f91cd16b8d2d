"""The options --workers and --ray: which processes generate automatic masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar, cast

import click

from samkit.backends import BackendChoice
from samkit.batch import Executor, InProcess, ProcessPool, RayCluster

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ExecutorChoice:
    """The user's choice of an executor.

    Attributes:
        workers: number of processes on this machine; 1 works in this process.
        ray: address of a Ray cluster; None for this machine.
    """

    workers: int = 1
    ray: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether masks are generated in this process."""
        return self.workers == 1 and self.ray is None

    def start(self, backend: BackendChoice) -> Executor:
        """Make the executor for a backend that `backend_of_workers` has returned."""
        if self.ray is not None:
            with_gpu = (backend.device or "").startswith("cuda")
            threads = backend.threads or 1
            return RayCluster(self.ray, threads_per_worker=threads, with_gpu=with_gpu)
        if self.is_here:
            return InProcess()
        return ProcessPool(self.workers, threads_per_worker=backend.threads)

    def backend_of_workers(self, backend: BackendChoice) -> BackendChoice:
        """Return the backend with the number of threads that each worker has."""
        if self.is_here:
            return backend
        if self.ray is not None:
            return replace(backend, threads=backend.threads or 1)
        pool = ProcessPool(self.workers, threads_per_worker=backend.threads)
        return replace(backend, threads=pool.threads_per_worker)


def executor_options(command: Command) -> Command:
    """Add --workers and --ray as an `ExecutorChoice`: `where_to_run`."""

    @wraps(command)
    def packed(*, workers: int, ray: str | None, **others: Any) -> Any:
        if ray is not None and workers > 1:
            raise click.UsageError("--workers cannot be combined with --ray")
        return command(where_to_run=ExecutorChoice(workers=workers, ray=ray), **others)

    of_ray = click.option(
        "--ray",
        metavar="ADDRESS",
        help="Generate masks on a Ray cluster: host:port, auto, or local. Each task takes as many"
        " cores as --threads (default 1), with --device cuda also a GPU.",
    )
    of_workers = click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of processes that generate masks at the same time, each with a model of its"
        " own; --threads is for each of them, by default its part of the cores.",
    )
    return cast("Command", of_workers(of_ray(packed)))
