"""Executor with several processes on this machine.

Processes are spawned, not forked, and load the models once each, when they get their first claim.
One that is killed is replaced. They end with the process that owns them, however that ends: their
pipe is closed then.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import connection as pipes
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from samkit.batch.executor import Claim, Item, Outcome, Output, Result, Work
from samkit.batch.workers import (
    Answer,
    answer_claim,
    available_cores,
    error_answer,
    limit_threads,
    run_on_workers,
)
from samkit.errors import ConfigError, WorkerError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MAX_FAILED_STARTS = 3
END_S = 5.0  # for an idle process to end by itself
READY = b""  # sent once by each process; an answer is never empty


class ProcessPool:
    """Runs `generate` in several processes on this machine.

        with ProcessPool(2) as pool:
            for outcome in pool.run(work, items):
                ...

    Scripts need `if __name__ == "__main__":`, since each process imports them again.
    """

    def __init__(self, workers: int, *, threads_per_worker: int | None = None) -> None:
        """Choose the number of processes; they are started when they are needed.

        Args:
            threads_per_worker: by default, all cores are shared among the processes.

        Raises:
            ConfigError: a number is less than 1.
        """
        if workers < 1 or (threads_per_worker is not None and threads_per_worker < 1):
            raise ConfigError(
                "workers and threads_per_worker must be at least 1; got"
                f" {workers} and {threads_per_worker}"
            )
        self.workers = workers
        self.threads_per_worker = threads_per_worker or max(1, available_cores() // workers)
        self._processes: Processes | None = None
        self._generate: Callable[[Any], Any] | None = None

    def __enter__(self) -> ProcessPool:  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def run(
        self,
        work: Work[Item, Claim, Output, Result],
        items: Iterable[Item],
        *,
        on_start: Callable[[Item], None] | None = None,
    ) -> Iterator[Outcome[Item, Claim, Result]]:
        """Yield the outcome of each item, in the order in which they end; see `Executor.run`."""
        if self._processes is None or work.generate != self._generate:
            self._close()
            self._generate = work.generate
            generate = pickle.dumps(work.generate)
            self._processes = Processes(generate, self.workers, self.threads_per_worker)
        yield from run_on_workers(work, items, self._processes, on_start=on_start)

    def _close(self) -> None:
        if self._processes is not None:
            self._processes.close()
            self._processes = None


class Processes:
    """The processes of a pool, as `Workers`."""

    def __init__(self, generate: bytes, size: int, threads: int) -> None:
        self._generate = generate
        self._size = size
        self._threads = threads
        self._idle: list[WorkerProcess] = []
        self._busy: dict[int, tuple[WorkerProcess, Any]] = {}
        self._failed_starts = 0

    def capacity(self) -> int:
        return self._size

    def submit(self, key: int, claim: Any) -> None:
        """Give a claim to an idle process, or to a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.send(claim):
                self._busy[key] = worker, claim
                return
            worker.end()  # died while it was idle
        worker = WorkerProcess(self._generate, self._threads)
        worker.send(claim)  # if it has died already, `wait` will find out
        self._busy[key] = worker, claim

    def wait(self) -> tuple[int, Answer[Any]]:
        """Wait for the answer of any process; replace those that die while they start."""
        while True:
            ends = [end for worker, _ in self._busy.values() for end in worker.ends]
            ready = set(pipes.wait(ends))
            for key, (worker, _) in list(self._busy.items()):
                if ready.isdisjoint(worker.ends):
                    continue
                answer = self._receive(key, worker)
                if answer is not None:
                    return key, answer

    def _receive(self, key: int, worker: WorkerProcess) -> Answer[Any] | None:
        """Read what a process has sent; None if that is no answer."""
        data = worker.receive()
        if data == READY:
            self._failed_starts = 0
            worker.is_ready = True
            return None
        _, claim = self._busy.pop(key)
        if data is not None:
            self._idle.append(worker)
            answer: Answer[Any] = pickle.loads(data)  # noqa: S301 - from our own process
            return answer
        reason = worker.end()
        if worker.is_ready:
            return Answer(error=WorkerError(f"the process that worked on it {reason}"))
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WorkerError(
                f"worker processes end while they start: the last one {reason}; a script that"
                ' starts them needs if __name__ == "__main__":'
            )
        self.submit(key, claim)
        return None

    def abandon(self) -> None:
        """Kill the processes that are busy."""
        for worker, _ in self._busy.values():
            worker.kill()
        self._busy.clear()

    def close(self) -> None:
        """End all processes."""
        self.abandon()
        for worker in self._idle:
            worker.end()
        self._idle.clear()


class WorkerProcess:
    """One process and the pipe to it.

    Attributes:
        is_ready: whether it has said that it has started.
    """

    def __init__(self, generate: bytes, threads: int) -> None:
        context = get_context("spawn")
        self._connection: Connection[Any, Any]
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, generate, threads), daemon=True, name="samkit-worker"
        )
        self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.is_ready = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """What becomes ready when the process sends something or ends."""
        return self._connection, self._process.sentinel

    def send(self, claim: Any) -> bool:
        """Send a claim; false if the process has ended."""
        try:
            self._connection.send(claim)
        except OSError:
            return False
        return True

    def receive(self) -> bytes | None:
        """Receive what the process has sent; None if it has ended, maybe in the middle."""
        try:
            return self._connection.recv_bytes() if self._connection.poll() else None
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """End an idle process; say how it has ended."""
        self._connection.close()
        self._process.join(END_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "was killed (signal 9); if memory is too small, give fewer workers"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End a busy process at once; it writes nothing, so that nothing can be damaged."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def serve(connection: Connection[Any, Any], generate: bytes, threads: int) -> None:
    """Answer claims until the owner closes the pipe or ends; runs in a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's, who then ends this one
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        try:
            limit_threads(threads)
            function = pickle.loads(generate)  # noqa: S301 - from the owner
            limit_threads(threads)  # of what it has imported
        except Exception as error:  # noqa: BLE001 - is raised in the owner
            connection.send_bytes(READY)
            connection.recv()
            connection.send_bytes(error_answer(error))
            return
        connection.send_bytes(READY)
        while True:
            connection.send_bytes(answer_claim(function, connection.recv()))
