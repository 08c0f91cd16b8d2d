"""What answers jobs: workers of this machine, or replicas on a Ray cluster."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeAlias

from samkit.serving.errors import BusyError
from samkit.serving.jobs import Answer, Failure, Line, ModelInfo, QuickJob, StreamJob
from samkit.serving.metrics import Metrics

MAX_RETRY_S = 60
SMOOTHING = 0.1  # of the mean time that requests hold their places


class Models(Protocol):
    """Models that answer jobs.

    Attributes:
        metrics: counts what they do.
        queue: places for requests.
    """

    metrics: Metrics
    queue: Queue

    @property
    def info(self) -> ModelInfo:
        """Of the model, the same for all."""
        ...

    @property
    def num_ready(self) -> int:
        """Models that can answer now."""
        ...

    async def ask(self, job: QuickJob) -> Any:
        """Answer a job: JSON as bytes, or a `MaskPrediction`.

        Raises:
            SamkitError: it cannot be answered.
        """
        ...

    def stream(self, job: StreamJob) -> AsyncGenerator[bytes, None]:
        """Answer a job line by line; closing the iterator ends the job.

        Raises:
            SamkitError: it cannot be answered.
        """
        ...


class Queue:
    """Places for requests, taken before a body is read, so that their memory is bounded, too."""

    def __init__(self, *, workers: int, max_queue: int, metrics: Metrics) -> None:
        self.workers, self.max_queue = workers, max_queue
        self._metrics = metrics
        self._taken = 0
        self._mean_s = 1.0  # that a request holds its place
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request.

        Raises:
            BusyError: none is left.
        """
        with self._lock:
            if self._taken >= self.workers + self.max_queue:
                self._metrics.refused.inc()
                seconds = math.ceil(self._mean_s)
                raise BusyError(
                    f"the queue is full: {self.max_queue} requests wait for {self.workers}"
                    f" workers; try again in {seconds} s",
                    retry_after_s=min(MAX_RETRY_S, max(1, seconds)),
                )
            self._taken += 1
        begun = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1
                self._mean_s += SMOOTHING * (time.perf_counter() - begun - self._mean_s)


class Started:
    """The first event of a stream: a worker has it."""


PendingEvent: TypeAlias = Answer | Line | Failure | Started


class PendingJob:
    """A job in a pool, and the events that come back for it, from any thread.

    Attributes:
        attempts: workers that were given the job.
        has_lines: whether a part of the answer has been sent.
        is_dropped: whether nobody waits any more.
    """

    def __init__(self, job: QuickJob | StreamJob) -> None:
        self.job = job
        self.attempts = 0
        self.has_lines = False
        self.is_dropped = False
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[PendingEvent] = asyncio.Queue()

    def put(self, event: PendingEvent) -> None:
        """Hand an event over to whoever waits."""
        self.has_lines = self.has_lines or isinstance(event, Line)
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self) -> PendingEvent:
        """Wait for the next event."""
        return await self._events.get()
