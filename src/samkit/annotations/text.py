"""Text files of unknown encoding."""

import json
import os
from pathlib import Path
from typing import Any

from samkit.errors import DataError

# After UTF-8: what Windows programs write in China, whose bytes hardly ever make sense by chance,
# and in western Europe.
OTHER_ENCODINGS = ("gb18030", "cp1252")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file in UTF-8 or UTF-16, or in what Windows programs write.

    Raises:
        DataError: the file is missing, or in none of these encodings.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {os.fspath(path)}: {reason}") from error
    first = "utf-16" if data.startswith(UTF16_MARKS) else "utf-8-sig"
    for encoding in (first, *OTHER_ENCODINGS):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:  # noqa: PERF203 - three at most
            continue
    raise DataError(f"{os.fspath(path)} is no text: save it as UTF-8")


def read_json_text(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file in any of the encodings of `read_text`.

    Raises:
        DataError: missing, or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{os.fspath(path)} is not JSON: {error}") from error
