"""Notices about images that were not taken as they are: a few lines a run, then a count."""

import logging
import threading
from collections import defaultdict

logger = logging.getLogger(__name__)

SHOWN = 3  # images of a kind with a line of their own
COUNTED_AT = (10, 100, 1_000, 10_000, 100_000, 1_000_000)

_lock = threading.Lock()
_seen: dict[str, set[str]] = defaultdict(set)
_counts: dict[str, int] = defaultdict(int)


def notify(kind: str, name: str, message: str) -> None:
    """Log a line about an image: for the first three of a kind, then their number at 10, 100, ...

    A file is counted once in a process, however often it is read; arrays, which have no name, each
    time.

    Args:
        kind: what happened, as a participle after "images": "stretched".
        name: the file's name; "" for an array.
        message: what was done, and how to choose otherwise.
    """
    with _lock:
        if name and name in _seen[kind]:
            return
        _seen[kind].add(name)
        _counts[kind] += 1
        count = _counts[kind]
    if count <= SHOWN:
        logger.warning("%s: %s", name or "the array", message)
    elif count in COUNTED_AT:
        logger.warning("%d images so far were %s, as told of the first %d", count, kind, SHOWN)


def forget_notices() -> None:
    """Start counting anew, as a new process does."""
    with _lock:
        _seen.clear()
        _counts.clear()
