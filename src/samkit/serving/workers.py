"""Workers: each has a model of its own, in a process or in a thread, and a pipe to it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from typing import TYPE_CHECKING, Any, Protocol

from samkit.batch import limit_threads
from samkit.serving.config import ModelSpec
from samkit.serving.jobs import Failure

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from samkit.serving.model import ServedModel

END_S = 5.0  # for an idle worker to end by itself
CANCEL = pickle.dumps(None)  # sent while a worker streams


@dataclass(frozen=True)
class Idle:
    """Sent by a worker after the last event of its jobs."""


class Worker(Protocol):
    """A worker, which sends its `ModelInfo` when it is ready, or a `Failure`."""

    connection: Connection[Any, Any]

    def kill(self) -> None:
        """End it at once."""

    def end(self) -> str:
        """Close the pipe and wait for the end; say how it has ended."""


class ProcessWorker:
    """A worker in a process of its own, which ends with the process that owns it."""

    def __init__(self, spec: ModelSpec, threads: int) -> None:
        context = get_context("spawn")
        self.connection: Connection[Any, Any]
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=run_process, args=(theirs, spec, threads), daemon=True, name="samkit-model"
        )
        self._process.start()
        theirs.close()  # so that the pipe ends when the process does

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> str:
        self.connection.close()
        self._process.join(END_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


class ThreadWorker:
    """A worker in a thread of this process: for one model in a process that others replace."""

    def __init__(self, load: Callable[[], ServedModel]) -> None:
        self.connection: Connection[Any, Any]
        self.connection, self._theirs = Pipe()
        self._thread = threading.Thread(
            target=answer_all, args=(self._theirs, load), daemon=True, name="samkit-model"
        )
        self._thread.start()

    def kill(self) -> None:
        """Leave the thread alone; it ends when it next uses the pipe."""
        # Not closed, since the thread may be using it, and the number may be given out again.
        with suppress(OSError), socket.socket(fileno=os.dup(self._theirs.fileno())) as pipe:
            pipe.shutdown(socket.SHUT_RDWR)

    def end(self) -> str:
        self.connection.close()
        self._thread.join(END_S)
        return "ended"


def run_process(connection: Connection[Any, Any], spec: ModelSpec, threads: int) -> None:
    """Load a model and answer jobs; runs in a worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's, who then ends this one

    def load() -> ServedModel:
        limit_threads(threads)
        from samkit.serving.model import ServedModel

        limit_threads(threads)  # of what it has imported
        return ServedModel.load(spec)

    answer_all(connection, load)


def answer_all(connection: Connection[Any, Any], load: Callable[[], ServedModel]) -> None:
    """Answer jobs until the owner closes the pipe or ends."""
    with suppress(OSError, EOFError):
        try:
            model = load()
        except Exception as error:  # noqa: BLE001 - is raised in the owner
            connection.send_bytes(pack(Failure(error=error)))
            return
        connection.send_bytes(pack(model.info))

        def is_cancelled() -> bool:
            return connection.poll() and connection.recv_bytes() == CANCEL

        while True:
            jobs = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the owner
            if jobs is None:  # it came after the stream had ended
                continue
            for event in model.answer(jobs, is_cancelled):
                connection.send_bytes(pack(event))
            connection.send_bytes(pack(Idle()))


def pack(message: Any) -> bytes:
    """Pickle a message; errors that cannot be pickled become their text."""
    try:
        packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if is_failure(message):
            pickle.loads(packed)  # noqa: S301 - our own; some errors are pickled but not read again
    except Exception:
        if not is_failure(message):
            raise
        number, failed = message if isinstance(message, tuple) else (None, message)
        text = f"{type(failed.error).__name__}: {failed.error}"
        plain = Failure(error=RuntimeError(text), where=failed.where or text)
        return pickle.dumps(plain if number is None else (number, plain))
    return packed


def is_failure(message: Any) -> bool:
    """Whether a message says that a job, or loading the model, has failed."""
    return isinstance(message[1] if isinstance(message, tuple) else message, Failure)
