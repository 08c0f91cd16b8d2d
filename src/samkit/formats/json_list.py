"""JSON lists written item by item, so that only one is in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any


class JsonList:
    """A list that is being written."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.num_items = 0

    def add(self, item: Any) -> None:
        """Write one item."""
        self._file.write(", " if self.num_items else "")
        self._file.write(json.dumps(item))
        self.num_items += 1


@contextmanager
def json_list(file: IO[str]) -> Iterator[JsonList]:
    """Write a list's brackets around its items."""
    file.write("[")
    yield JsonList(file)
    file.write("]")
