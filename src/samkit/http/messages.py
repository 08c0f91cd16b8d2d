"""Messages to clients: one line each."""

from collections.abc import Sequence
from typing import Any

MAX_DETAIL_CHARACTERS = 500


def describe_validation(errors: Sequence[Any]) -> str:
    """Describe pydantic's errors on one line, without the input."""
    described = []
    for one in errors:
        place = ".".join(str(part) for part in one["loc"] if part not in ("body", "query", "path"))
        described.append(f"{place}: {one['msg']}" if place else str(one["msg"]))
    return "; ".join(described)


def one_line(text: str) -> str:
    """Put a text on one line, without lone surrogates, which JSON cannot hold."""
    line = " ".join(text.split())[:MAX_DETAIL_CHARACTERS]
    return line.encode(errors="replace").decode()
