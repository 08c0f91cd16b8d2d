"""Workers of this machine: one queue, batches across requests, replacement of those that end."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from samkit.errors import SamkitError, WorkerError
from samkit.http import within
from samkit.serving.config import Limits
from samkit.serving.errors import TimedOutError
from samkit.serving.interface import PendingJob, Queue, Started
from samkit.serving.jobs import (
    Answer,
    Failure,
    Job,
    Line,
    ModelInfo,
    PredictJob,
    QuickJob,
    StreamJob,
    image_key,
    is_stream,
    kind_of,
)
from samkit.serving.metrics import Metrics
from samkit.serving.workers import CANCEL, Idle, Worker

logger = logging.getLogger(__name__)

MAX_BATCH = 16  # jobs that a worker answers at once
MAX_ATTEMPTS = 2  # of a job whose worker is lost: what kills two of them is not given to a third
IMAGES_NOTED = 16  # of each worker, whose embeddings it likely has
CANCEL_CHECK_S = 0.2
# Of the time that requests may take: a worker is killed after this, which costs loading a model, so
# that one that is merely slow, on a machine with too much to do, is left alone.
HANG_FACTOR = 2
MAX_PAUSE_S = 30.0  # between attempts to replace a worker that does not start


class WorkerPool:
    """Answers jobs by a few workers, each with a model of its own.

        with WorkerPool(lambda: ProcessWorker(spec, threads), size=2) as pool:
            answer = await pool.ask(job)

    A job waits in one queue for whoever is free; if several are, for one that has its image.
    Prompts of several requests on the same image are decoded together. Streams leave one worker
    free for other jobs, if there are several. A worker that ends is replaced, and its jobs are
    given to another one, once; one that hangs is killed.
    """

    def __init__(
        self,
        launch: Callable[[], Worker],
        *,
        size: int = 1,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Choose the workers; they start with the context."""
        self._launch = launch
        self._limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.queue = Queue(workers=size, max_queue=self._limits.max_queue, metrics=self.metrics)
        self._max_streams = max(1, size - 1)
        self._waiting: deque[PendingJob] = deque()
        self._news = threading.Condition()
        self._has_begun = self._is_stopping = False
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._info: ModelInfo | None = None
        self._slots = [_Slot(number) for number in range(size)]
        self._threads = [
            threading.Thread(target=self._run, args=(slot,), daemon=True, name="samkit-worker")
            for slot in self._slots
        ]
        self.metrics.waiting.set_function(lambda: len(self._waiting))
        self.metrics.running.set_function(lambda: sum(slot.num_jobs for slot in self._slots))
        self.metrics.workers_ready.set_function(lambda: self.num_ready)

    def __enter__(self) -> WorkerPool:  # noqa: PYI034 - there are no subclasses
        """Start all workers.

        Raises:
            SamkitError: a model cannot be loaded.
        """
        for thread in self._threads:
            thread.start()
        with self._news:
            self._news.wait_for(lambda: self._failure or self.num_ready == len(self._slots))
        if self._failure is not None:
            self.__exit__()
            raise self._failure
        self._has_begun = True
        return self

    def __exit__(self, *_: object) -> None:
        """Stop after the jobs in work."""
        with self._news:
            self._is_stopping = True
            while self._waiting:
                self._waiting.popleft().put(_stopping())
            self._news.notify_all()
        self._stopped.set()
        for slot in self._slots:
            if slot.worker is not None and not slot.is_ready:  # loads a model that nobody needs
                slot.worker.kill()
        for thread in self._threads:
            thread.join(self._limits.timeout_s)
        for slot in self._slots:
            if slot.worker is not None:  # still busy
                slot.worker.kill()

    @property
    def info(self) -> ModelInfo:
        """Of the model, when a worker has been ready."""
        assert self._info is not None
        return self._info

    @property
    def num_ready(self) -> int:
        """Workers with a loaded model."""
        return sum(slot.is_ready for slot in self._slots)

    async def ask(self, job: QuickJob) -> Any:
        """Answer a job; see `Models.ask`."""
        pending = self._submit(job)
        try:
            event = await within(self._limits.timeout_s, pending.next())
        except TimeoutError:
            self.metrics.timed_out.inc()
            raise _timed_out(self._limits.timeout_s) from None
        finally:
            self._drop(pending)
        if isinstance(event, Failure):
            raise _error_of(event)
        assert isinstance(event, Answer)
        return event.value

    async def stream(self, job: StreamJob) -> AsyncGenerator[bytes, None]:
        """Answer a job line by line; see `Models.stream`."""
        pending = self._submit(job)
        try:
            try:
                event = await within(self._limits.timeout_s, pending.next())
            except TimeoutError:
                self.metrics.timed_out.inc()
                raise _timed_out(self._limits.timeout_s) from None
            while not isinstance(event, Answer):
                if isinstance(event, Failure):
                    raise _error_of(event)
                if isinstance(event, Line):
                    yield event.text
                event = await pending.next()
        finally:
            self._drop(pending)

    def _submit(self, job: Job) -> PendingJob:
        pending = PendingJob(job)
        with self._news:
            if self._is_stopping:
                raise _stopping().error
            self._waiting.append(pending)
            self._news.notify_all()
        return pending

    def _drop(self, pending: PendingJob) -> None:
        """Forget a job that nobody waits for; one in work is stopped if it is a stream."""
        pending.is_dropped = True
        with self._news:
            if pending in self._waiting:
                self._waiting.remove(pending)

    def _run(self, slot: _Slot) -> None:
        """Keep one worker running; on the slot's thread."""
        if slot is not self._slots[0]:
            # The first one may have to convert the model, which the others then find.
            with self._news:
                self._news.wait_for(lambda: self._info or self._failure or self._is_stopping)
        failed_starts = 0
        while not (self._is_stopping or self._failure):
            error = self._start(slot)
            if error is None:
                failed_starts = 0
                self._serve(slot)
                continue
            with self._news:
                if not self._has_begun:
                    self._failure = error
                    self._news.notify_all()
                    return
            failed_starts += 1
            logger.error("a worker cannot be started: %s", error)
            self._stopped.wait(min(MAX_PAUSE_S, 2.0**failed_starts))

    def _start(self, slot: _Slot) -> Exception | None:
        """Start a worker and wait until it is ready; return an error if it cannot be."""
        worker = slot.worker = self._launch()
        try:
            first = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - from our worker
        except (EOFError, OSError):
            first = Failure(error=WorkerError(f"a worker {worker.end()} while it started"))
        if isinstance(first, Failure):
            worker.kill()
            worker.end()
            slot.worker = None
            return first.error
        with self._news:
            self._info = self._info or first
            slot.is_ready = True
            self._news.notify_all()
        return None

    def _serve(self, slot: _Slot) -> None:
        """Give jobs to a ready worker until it ends, or the pool stops."""
        worker = slot.worker
        assert worker is not None
        while (batch := self._take(slot)) is not None:
            if not self._work(slot, worker, batch):
                break
        with self._news:
            slot.is_ready = False
            slot.images.clear()
        reason = worker.end()
        slot.worker = None
        if not self._is_stopping:
            self.metrics.workers_lost.inc()
            logger.warning("a worker %s and is replaced", reason)

    def _take(self, slot: _Slot) -> list[PendingJob] | None:
        """Wait for jobs for a worker; None when the pool stops."""
        with self._news:
            while not self._is_stopping:
                first = next((one for one in self._waiting if self._suits(slot, one)), None)
                if first is not None:
                    batch = [first, *self._companions(first)]
                    for pending in batch:
                        self._waiting.remove(pending)
                        pending.attempts += 1
                    slot.num_jobs = len(batch)
                    slot.streams = is_stream(first.job)
                    return batch
                slot.is_idle = True
                self._news.wait()
                slot.is_idle = False
        return None

    def _suits(self, slot: _Slot, pending: PendingJob) -> bool:
        """Whether a worker should take a job, or leave it to another one."""
        if is_stream(pending.job):
            return sum(other.streams for other in self._slots) < self._max_streams
        image = image_key(pending.job)
        return image in slot.images or not any(
            other.is_idle and image in other.images for other in self._slots
        )

    def _companions(self, first: PendingJob) -> list[PendingJob]:
        """Other jobs whose prompts can be decoded in one batch with those of a job."""
        job = first.job
        if not isinstance(job, PredictJob) or not job.is_plain:
            return []
        found = [
            other
            for other in self._waiting
            if other is not first
            and isinstance(other.job, PredictJob)
            and other.job.is_plain
            and other.job.image.sha256 == job.image.sha256
        ]
        return found[: MAX_BATCH - 1]

    def _work(self, slot: _Slot, worker: Worker, batch: list[PendingJob]) -> bool:
        """Have a worker answer jobs; return whether it goes on."""
        jobs = [pending.job for pending in batch]
        limit_s = self._limits.stream_s if slot.streams else HANG_FACTOR * self._limits.timeout_s
        has_expired = threading.Event()

        def expire() -> None:
            has_expired.set()
            worker.kill()

        unanswered = dict(enumerate(batch))
        timer = threading.Timer(limit_s, expire)
        timer.daemon = True
        timer.start()
        begun = time.perf_counter()
        try:
            worker.connection.send_bytes(pickle.dumps(jobs, pickle.HIGHEST_PROTOCOL))
            if slot.streams:
                batch[0].put(Started())
            self._receive(slot, worker, unanswered)
        except (EOFError, OSError):
            self._lose(unanswered, limit_s if has_expired.is_set() else None)
            return False
        else:
            self.metrics.job_seconds.labels(kind_of(jobs[0])).observe(time.perf_counter() - begun)
            self.metrics.batch_jobs.observe(len(jobs))
            return True
        finally:
            timer.cancel()
            with self._news:
                slot.num_jobs, slot.streams = 0, False
                slot.note(image_key(jobs[0]))
                self._news.notify_all()  # another stream may begin

    def _receive(self, slot: _Slot, worker: Worker, batch: dict[int, PendingJob]) -> None:
        """Hand over the events of jobs until the worker is idle."""
        is_cancelled = False
        while True:
            while slot.streams and not worker.connection.poll(CANCEL_CHECK_S):
                is_cancelled = is_cancelled or _cancel_dropped(worker, batch)
            message = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - from our worker
            if isinstance(message, Idle):
                return
            is_cancelled = is_cancelled or _cancel_dropped(worker, batch if slot.streams else {})
            number, event = message
            pending = batch[number]
            if isinstance(event, Answer | Failure):
                del batch[number]
            if isinstance(event, Answer) and event.source is not None:
                self.metrics.embeddings.labels(event.source).inc()
            pending.put(event)

    def _lose(self, batch: dict[int, PendingJob], limit_s: float | None) -> None:
        """Give the jobs of a lost worker to another one, or end them.

        Args:
            limit_s: the time after which it was killed; None if it ended by itself.
        """
        for pending in reversed(batch.values()):
            if limit_s is not None:
                self.metrics.timed_out.inc()
                pending.put(Failure(error=_timed_out(limit_s)))
            elif pending.has_lines or pending.attempts >= MAX_ATTEMPTS:
                pending.put(Failure(error=WorkerError("the process that worked on it was lost")))
            elif not pending.is_dropped:
                with self._news:
                    if self._is_stopping:
                        pending.put(_stopping())
                    else:
                        self._waiting.appendleft(pending)


class _Slot:
    """A place for a worker.

    Attributes:
        images: those that it has answered for last, likely still in its memory.
        is_ready: whether its worker has a model.
        is_idle: whether it waits for jobs.
        num_jobs: jobs in work.
        streams: whether it is at a stream.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.images: OrderedDict[str, None] = OrderedDict()
        self.is_ready = False
        self.is_idle = False
        self.num_jobs = 0
        self.streams = False

    def note(self, image: str | None) -> None:
        """Note that an image was used."""
        if image is None:
            return
        self.images[image] = None
        self.images.move_to_end(image)
        if len(self.images) > IMAGES_NOTED:
            self.images.popitem(last=False)


def _cancel_dropped(worker: Worker, batch: dict[int, PendingJob]) -> bool:
    """Cancel a stream that nobody reads any more; return whether that was done."""
    if not any(pending.is_dropped for pending in batch.values()):
        return False
    worker.connection.send_bytes(CANCEL)
    return True


def _stopping() -> Failure:
    return Failure(error=WorkerError("the server is being stopped: try again later"))


def _timed_out(limit_s: float) -> TimedOutError:
    return TimedOutError(f"not answered within {limit_s:g} s: try again later, or ask for less")


def _error_of(failed: Failure) -> Exception:
    """The error of a job; what is no SamkitError is logged with its traceback."""
    if not isinstance(failed.error, SamkitError) and failed.where:
        logger.error("a worker failed:\n%s", failed.where)
    return failed.error
