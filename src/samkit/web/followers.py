"""The process that follows tracks while the server runs: started when a job waits."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from samkit.dataengine import Store, has_following_to_do, release_following, worker_name
from samkit.web.workers import start_command

logger = logging.getLogger(__name__)

STOP_S = 10.0
RETRY_S = 60.0  # after a process that could not begin


class FollowerProcess:
    """A process that does the jobs of all videos, one after another, and ends when it is idle.

    A process that is killed is started again, and goes on with what is stored.

    Attributes:
        command: what is run; jobs are those of the store in SAMKIT_STORE.
    """

    def __init__(self, store: Store, options: Sequence[str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            options: options of `samkit engine follow` that name the model and its backend.
        """
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._not_before = 0.0
        self.command = [
            *(sys.executable, "-m", "samkit", "engine", "follow", "--background", *options)
        ]

    @property
    def process_id(self) -> int | None:
        """Id of the process while it runs."""
        return None if self._process is None else self._process.pid

    def check(self) -> None:
        """Let the jobs of a process that is gone wait again, and start one if there are any."""
        with self._lock:
            if self._process is not None:
                code = self._process.poll()
                if code is None:
                    return
                lost = release_following(self._store, worker_name(self._process.pid))
                if code:
                    logger.warning("samkit engine follow ended with status %d, %d lost", code, lost)
                self._process = None
                if code > 0 and not lost:  # it did not even come to a job
                    self._not_before = time.monotonic() + RETRY_S
            if time.monotonic() >= self._not_before and has_following_to_do(self._store):
                self._start()

    def stop(self) -> None:
        """End the process; its job goes on when the server runs again."""
        with self._lock:
            if self._process is None:
                return
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            release_following(self._store, worker_name(self._process.pid))
            self._process = None

    def _start(self) -> None:
        threads = max(1, (os.cpu_count() or 1) // 2)
        self._process = start_command(self._store, self.command, threads=threads)
