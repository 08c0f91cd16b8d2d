"""Worker threads that run the most urgent work first."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")

STOP = -1  # more urgent than all work
JOIN_TIMEOUT_S = 5.0


@dataclass(order=True)
class _Item:
    priority: int
    number: int
    run: Callable[[], None] = field(compare=False)


class PriorityPool:
    """A few threads that take waiting work in order of priority, lowest number first.

    Work of equal priority runs in order of submission.
    """

    def __init__(self, num_threads: int, name: str) -> None:
        self._items: queue.PriorityQueue[_Item] = queue.PriorityQueue()
        self._numbers = count()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(num_threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, priority: int, work: Callable[[], Result]) -> Future[Result]:
        """Submit work; a future that is cancelled before it starts is skipped."""
        future: Future[Result] = Future()
        self._put(priority, lambda: _run(future, work))
        return future

    def stop(self) -> None:
        """End the threads after their current work; waiting work is dropped."""
        for _ in self._threads:
            self._put(STOP, _stop)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_TIMEOUT_S)

    def _put(self, priority: int, run: Callable[[], None]) -> None:
        self._items.put(_Item(priority, next(self._numbers), run))

    def _work(self) -> None:
        while True:
            item = self._items.get()
            if item.priority == STOP:
                return
            item.run()
            del item  # releases the last result while waiting for more work


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - passed on to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)


def _stop() -> None:
    """Placeholder work, whose priority ends a thread."""
