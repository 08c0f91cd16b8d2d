"""A cache of small pictures, so that galleries and strips decode each image once."""

from __future__ import annotations

import threading
from collections import OrderedDict

from samkit.web.pictures import Picture

MAX_SIDE = 256  # longest side of the pictures that are cached
MAX_BYTES = 64 * 2**20  # some ten thousand of them


class ThumbnailCache:
    """Pictures by key, in memory; the least recently used go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Picture | None:
        """Return a picture, or None if it is not there."""
        with self._lock:
            found = self._pictures.get(key)
            if found is not None:
                self._pictures.move_to_end(key)
            return found

    def put(self, key: str, picture: Picture) -> None:
        """Add a picture, and drop others if there is no room."""
        with self._lock:
            before = self._pictures.pop(key, None)
            self._num_bytes -= 0 if before is None else len(before.content)
            self._pictures[key] = picture
            self._num_bytes += len(picture.content)
            while self._num_bytes > self.max_bytes:
                _, dropped = self._pictures.popitem(last=False)
                self._num_bytes -= len(dropped.content)
