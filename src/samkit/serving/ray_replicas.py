"""Replicas of a model on a Ray cluster, by Ray Serve; ray is imported only when it is used.

Ray Serve starts replicas, replaces those that are lost, and adds and removes them by load. Each is
a `WorkerPool` with one model, so that prompts are decoded in batches there, too. Requests come
through this process, which has keys, limits and the queue, as with workers of this machine.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

from samkit.batch import limit_threads
from samkit.errors import WorkerError
from samkit.extras import require_packages
from samkit.http import within
from samkit.serving.config import Limits, ModelSpec
from samkit.serving.errors import TimedOutError
from samkit.serving.interface import Queue
from samkit.serving.jobs import (
    Failure,
    ModelInfo,
    QuickJob,
    StreamJob,
    TrackJob,
    kind_of,
)
from samkit.serving.metrics import Metrics
from samkit.serving.pool import MAX_ATTEMPTS, MAX_BATCH, WorkerPool

APP_NAME, DEPLOYMENT = "samkit", "ModelReplica"
TARGET_REQUESTS = 4  # in work at each replica; with more, Ray Serve adds replicas
STATUS_S = 1.0  # for which the number of replicas is taken as known
PACKAGES = ("ray", "grpc_reflection")


class ModelReplica:
    """One model; an actor of Ray Serve."""

    def __init__(self, spec: ModelSpec, threads: int, limits: Limits) -> None:
        limit_threads(threads)
        from samkit.serving.model import ServedModel
        from samkit.serving.workers import ThreadWorker

        limit_threads(threads)  # of what it has imported
        self._pool = WorkerPool(lambda: ThreadWorker(lambda: ServedModel.load(spec)), limits=limits)
        self._pool.__enter__()

    async def info(self) -> ModelInfo:
        """Of the model."""
        return self._pool.info

    async def ask(self, job: QuickJob) -> Any:
        """Answer a job; an error is a `Failure`, which Ray would wrap in others."""
        try:
            return await self._pool.ask(job)
        except Exception as error:  # noqa: BLE001 - is raised in the server's process
            return Failure(error=error)

    async def stream(self, job: StreamJob, video: bytes | None) -> AsyncGenerator[Any, None]:
        """Answer a job line by line.

        Args:
            video: content of the file that a `TrackJob` names, which is on another machine.
        """
        with tempfile.NamedTemporaryFile(prefix="samkit-", suffix=".video") as file:
            if isinstance(job, TrackJob) and video is not None:
                file.write(video)
                file.flush()
                job = replace(job, path=Path(file.name))
            lines = self._pool.stream(job)
            try:
                async for line in lines:
                    yield line
            except Exception as error:  # noqa: BLE001 - likewise
                yield Failure(error=error)
            finally:
                await lines.aclose()


class RayReplicas:
    """Answers jobs by replicas on a Ray cluster; see `Models`.

        with RayReplicas("auto", spec, replicas=2, max_replicas=8) as models:
            run_server(create_app(models, config), host="127.0.0.1", port=8000)

    All machines need the same version of samkit, and the model under the same name or path.
    Embeddings are cached on each machine by itself, unless `spec.cache_folder` is shared: an image
    that another machine has embedded is asked for again, which the client does by itself.
    """

    def __init__(
        self,
        address: str,
        spec: ModelSpec,
        *,
        replicas: int = 1,
        max_replicas: int | None = None,
        threads: int = 1,
        with_gpu: bool = False,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Choose the cluster; it is joined, and the replicas start, with the context.

        Args:
            address: address of its head as host:port, "auto" for the one that this machine belongs
                to, or "local" for one that is started here.
            replicas: number of replicas, or the lowest with `max_replicas`.
            max_replicas: highest number, to which load may raise it.
            threads: cores that each replica takes.
            with_gpu: whether each replica takes a GPU.

        Raises:
            ConfigError: Ray Serve is not installed.
        """
        require_packages("replicas on a Ray cluster", PACKAGES, "ray-serve")
        self.address, self._spec, self._threads = address, spec, threads
        self._replicas, self._max_replicas = replicas, max(replicas, max_replicas or 0)
        self._with_gpu = with_gpu
        self._limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.queue = Queue(
            workers=self._max_replicas, max_queue=self._limits.max_queue, metrics=self.metrics
        )
        self._is_ours = False
        self._handle: Any = None
        self._status = (0, -STATUS_S)
        self._info: ModelInfo | None = None

    def __enter__(self) -> RayReplicas:  # noqa: PYI034 - there are no subclasses
        """Join the cluster, start the replicas and wait until one is ready.

        Raises:
            WorkerError: there is no such cluster, or no replica can be started.
        """
        import ray

        serve = _ray_serve()
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
                raise WorkerError(
                    f"no Ray cluster at {self.address!r}: {_first_line(error)}; start one by ray"
                    " start --head"
                ) from error
            self._is_ours = True
        deployment = serve.deployment(
            name=DEPLOYMENT,
            max_ongoing_requests=MAX_BATCH,
            health_check_period_s=2,
            ray_actor_options={"num_cpus": self._threads}
            | ({"num_gpus": 1} if self._with_gpu else {}),
            autoscaling_config={
                "min_replicas": self._replicas,
                "max_replicas": self._max_replicas,
                "target_ongoing_requests": TARGET_REQUESTS,
            },
        )(ModelReplica)
        # Nothing of Ray Serve's listens to HTTP.
        serve.start(http_options={"location": "NoServer"})
        try:
            self._handle = serve.run(
                deployment.bind(self._spec, self._threads, self._limits),
                name=APP_NAME,
                route_prefix=None,
            )
            self._info = self._handle.info.remote().result()
        except (ray.exceptions.RayError, RuntimeError) as error:
            self.__exit__()
            raise WorkerError(f"no replica can be started: {_first_line(error)}") from error
        self.metrics.workers_ready.set_function(lambda: self.num_ready)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the replicas, and the cluster if it was started here."""
        import ray

        serve = _ray_serve()
        serve.delete(APP_NAME)
        if self._is_ours:
            serve.shutdown()
            ray.shutdown()
            self._is_ours = False

    @property
    def info(self) -> ModelInfo:
        """Of the model, when a replica has been ready."""
        assert self._info is not None
        return self._info

    @property
    def num_ready(self) -> int:
        """Replicas that run, as known a second ago."""
        number, known_at = self._status
        if time.monotonic() - known_at >= STATUS_S:
            deployments = _ray_serve().status().applications[APP_NAME].deployments
            number = deployments[DEPLOYMENT].replica_states.get("RUNNING", 0)
            self._status = number, time.monotonic()
        return number

    async def ask(self, job: QuickJob) -> Any:
        """Answer a job; see `Models.ask`."""
        begun = time.perf_counter()
        try:
            found = await self._within(self._handle.ask.remote(job))
        except WorkerError:  # it may have been another job's fault
            found = await self._within(self._handle.ask.remote(job))
        self.metrics.job_seconds.labels(kind_of(job)).observe(time.perf_counter() - begun)
        if isinstance(found, Failure):
            raise found.error
        return found

    async def stream(self, job: StreamJob) -> AsyncGenerator[bytes, None]:
        """Answer a job line by line; see `Models.stream`."""
        video = None
        if isinstance(job, TrackJob):
            video = await asyncio.to_thread(job.path.read_bytes)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            lines = self._handle.options(stream=True).stream.remote(job, video)
            has_begun = False
            try:
                while True:
                    try:
                        line = await self._within(anext(lines), is_first=not has_begun)
                    except StopAsyncIteration:
                        return
                    if isinstance(line, Failure):
                        raise line.error
                    has_begun = True
                    yield line
            except WorkerError:
                if has_begun or attempt == MAX_ATTEMPTS:
                    raise
            finally:
                lines.cancel()

    async def _within(self, response: Any, *, is_first: bool = True) -> Any:
        """Wait for a response as long as requests may take.

        Raises:
            TimedOutError: it takes longer.
            WorkerError: its replica was lost.
        """
        import ray

        limit_s = self._limits.timeout_s if is_first else self._limits.stream_s
        try:
            return await within(limit_s, response)
        except (TimeoutError, ray.exceptions.GetTimeoutError):
            self.metrics.timed_out.inc()
            raise TimedOutError(f"not answered within {limit_s:g} s: try again later") from None
        except ray.exceptions.RayError as error:
            self.metrics.workers_lost.inc()
            raise WorkerError(
                f"the replica that worked on it was lost: {_first_line(error)}"
            ) from error


def _ray_serve() -> Any:
    """Ray Serve, which is typed in part."""
    from ray import serve

    return serve


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
