"""When somebody last worked: what takes all of the machine waits until people are away."""

from __future__ import annotations

import time
from collections.abc import Callable


class Activity:
    """Time since anybody's last prompt or change; a server begins as if somebody had just worked.

    Pages that are open without anybody at them do not count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest = clock()

    def note(self) -> None:
        """Somebody works now."""
        self._latest = self._clock()

    def idle_s(self) -> float:
        """Seconds since somebody has worked."""
        return self._clock() - self._latest
