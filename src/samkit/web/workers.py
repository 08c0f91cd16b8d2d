"""Thread pool that runs the most urgent work first."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")

STOP = -1  # before all work
JOIN_TIMEOUT_S = 5.0


@dataclass(order=True)
class _Item:
    priority: int
    number: int
    run: Callable[[], None] = field(compare=False)


class PriorityPool:
    """A few threads that run queued work, lowest priority number first.

    Work of the same priority runs in the order it was submitted.
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
        """Queue work; it is skipped if its future is cancelled before it begins."""
        future: Future[Result] = Future()
        self._put(priority, lambda: _run(future, work))
        return future

    def stop(self) -> None:
        """Stop the threads after their current work; queued work is dropped."""
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
            del item  # releases the last result while the thread waits


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits is told
        future.set_exception(error)
    else:
        future.set_result(result)


def _stop() -> None:
    """Placeholder work; its priority stops a thread."""
