"""Executor on the machines of a Ray cluster; ray is imported only when it is used.

Each claim is one task, so that machines may come and go. A task whose machine or process is lost is
a lost worker, which `run_with_retries` repeats. Ray itself repeats nothing: there is one count of
attempts. The models are loaded once by each of Ray's processes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from samkit.batch.executor import Claim, Item, Outcome, Output, Result, Work
from samkit.batch.workers import Answer, answer_claim, error_answer, limit_threads, run_on_workers
from samkit.errors import ConfigError, WorkerError
from samkit.extras import require_packages

QUEUED_PER_WORKER = 2  # so that a worker has its next task while the answer is on its way

_loaded: dict[str, Callable[[Any], Any]] = {}


class RayCluster:
    """Runs `generate` on a Ray cluster.

        with RayCluster("auto") as cluster:
            for outcome in cluster.run(work, items):
                ...

    All machines need the same version of samkit, and the images under the same paths or URLs.
    """

    def __init__(
        self, address: str, *, threads_per_worker: int = 1, with_gpu: bool = False
    ) -> None:
        """Choose the cluster; it is joined when the context is entered.

        Args:
            address: address of its head as host:port, "auto" for the one that this machine belongs
                to, or "local" for one that is started for this run.
            threads_per_worker: cores that each task takes.
            with_gpu: whether each task takes a GPU.

        Raises:
            ConfigError: ray is not installed, or threads_per_worker is less than 1.
        """
        require_packages("work on a Ray cluster", ("ray",), "ray")
        if threads_per_worker < 1:
            raise ConfigError(f"threads_per_worker must be at least 1; got {threads_per_worker}")
        self.address = address
        self.threads_per_worker = threads_per_worker
        self.with_gpu = with_gpu
        self._is_ours = False

    def __enter__(self) -> RayCluster:  # noqa: PYI034 - there are no subclasses
        import ray

        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise WorkerError(
                    f"no Ray cluster at {self.address!r}: {lines[0]}; start one by ray start --head"
                ) from error
            self._is_ours = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_ours:
            import ray

            ray.shutdown()
            self._is_ours = False

    def run(
        self,
        work: Work[Item, Claim, Output, Result],
        items: Iterable[Item],
        *,
        on_start: Callable[[Item], None] | None = None,
    ) -> Iterator[Outcome[Item, Claim, Result]]:
        """Yield the outcome of each item, in the order in which they end; see `Executor.run`."""
        tasks = RayTasks(work.generate, self.threads_per_worker, with_gpu=self.with_gpu)
        yield from run_on_workers(work, items, tasks, on_start=on_start)


class RayTasks:
    """The tasks of one run, as `Workers`."""

    def __init__(self, generate: Callable[[Any], Any], threads: int, *, with_gpu: bool) -> None:
        import ray

        self._ray: Any = ray
        self._threads = threads
        payload = self._ray.cloudpickle.dumps(generate)
        self._key = hashlib.sha256(payload).hexdigest()
        self._payload = self._ray.put(payload)
        # max_calls: otherwise a process with a GPU ends after each task, and its model with it.
        options = {"num_cpus": threads, "num_gpus": int(with_gpu), "max_retries": 0, "max_calls": 0}
        self._task: Any = self._ray.remote(**options)(serve_claim)
        self._keys: dict[Any, int] = {}

    def capacity(self) -> int:
        """Return the number of tasks to have in work, by the cores that the cluster has now."""
        cores = self._ray.cluster_resources().get("CPU", 0)
        return QUEUED_PER_WORKER * max(1, int(cores) // self._threads)

    def submit(self, key: int, claim: Any) -> None:
        payload = pickle.dumps(claim)
        folder = str(Path.cwd())
        task = self._task.remote(self._key, self._payload, payload, folder, self._threads)
        self._keys[task] = key

    def wait(self) -> tuple[int, Answer[Any]]:
        """Wait for any task; one that was lost with its process or machine is a WorkerError."""
        done, _ = self._ray.wait(list(self._keys), num_returns=1)
        key = self._keys.pop(done[0])
        try:
            answer: Answer[Any] = pickle.loads(self._ray.get(done[0]))  # noqa: S301 - from our task
        except self._ray.exceptions.RayTaskError as error:
            raise WorkerError(
                "a machine of the cluster cannot run samkit: install the same version there:"
                f" {str(error).strip().splitlines()[-1]}"
            ) from error
        except self._ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return key, Answer(
                error=WorkerError(f"the machine that worked on it was lost: {reason}")
            )
        return key, answer

    def abandon(self) -> None:
        """Stop all tasks."""
        for task in self._keys:
            self._ray.cancel(task, force=True)
        self._keys.clear()


def serve_claim(key: str, generate: bytes, claim: bytes, folder: str, threads: int) -> bytes:
    """Answer one claim; runs in a process of the cluster, which loads `generate` once.

    Args:
        key: checksum of `generate`.
        folder: relative paths are relative to it, if this machine has it.
    """
    try:
        if key not in _loaded:
            limit_threads(threads)
            if Path(folder).is_dir():
                os.chdir(folder)
            _loaded.clear()
            _loaded[key] = pickle.loads(generate)  # noqa: S301 - from the owner
            limit_threads(threads)
        return answer_claim(_loaded[key], pickle.loads(claim))  # noqa: S301 - from the owner
    except Exception as error:  # noqa: BLE001 - is raised in the owner
        return error_answer(error)
