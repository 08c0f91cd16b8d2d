"""Worker threads that run the most urgent work first, and commands in processes of their own."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from samkit.dataengine import Store

Result = TypeVar("Result")

STOP = -1  # more urgent than all work
JOIN_TIMEOUT_S = 5.0


@dataclass(order=True)
class _Item:
    priority: int
    turn: int
    number: int
    run: Callable[[], None] = field(compare=False)


class PriorityPool:
    """A few threads that take waiting work in order of priority, lowest number first.

    Work of equal priority runs in turns of its owners, and in order of submission for each: one
    person's flood holds up others by no more than what is running.
    """

    def __init__(self, num_threads: int, name: str) -> None:
        self._items: queue.PriorityQueue[_Item] = queue.PriorityQueue()
        self._numbers = count()
        self._lock = threading.Lock()
        self._turn = 0  # of the work that was taken last
        self._last_turns: dict[Hashable, int] = {}  # of owners, not before this one
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(num_threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(
        self, priority: int, work: Callable[[], Result], *, owner: Hashable = None
    ) -> Future[Result]:
        """Submit work; a future that is cancelled before it starts is skipped.

        Args:
            owner: whose work it is; others' work of the same priority takes turns with it.
        """
        future: Future[Result] = Future()
        with self._lock:
            # Whoever had no turn yet comes before the next turn of those who had this one.
            last = self._last_turns.get((priority, owner), self._turn - 1)
            turn = max(self._turn, last + 1)
            self._last_turns[priority, owner] = turn
        self._put(priority, lambda: _run(future, work), turn)
        return future

    def stop(self) -> None:
        """End the threads after their current work; waiting work is dropped."""
        for _ in self._threads:
            self._put(STOP, _stop)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_TIMEOUT_S)

    def _put(self, priority: int, run: Callable[[], None], turn: int = 0) -> None:
        self._items.put(_Item(priority, turn, next(self._numbers), run))

    def _begin_turn(self, turn: int) -> None:
        """Go on to a turn; owners are forgotten whose last turn is over."""
        with self._lock:
            if turn > self._turn:
                self._turn = turn
                self._last_turns = {
                    one: last for one, last in self._last_turns.items() if last >= turn
                }

    def _work(self) -> None:
        while True:
            item = self._items.get()
            if item.priority == STOP:
                return
            self._begin_turn(item.turn)
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


def start_command(store: Store, command: Sequence[str], *, threads: int) -> subprocess.Popen[bytes]:
    """Start a command of this package on a store, in the server's session.

    On Linux, priorities of processes count only within one session.
    """
    # The address may have a password, which arguments would show to everybody.
    environment = {"SAMKIT_STORE": store.address, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | environment,
    )
