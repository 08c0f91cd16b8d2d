"""A folder that is there complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samkit.errors import OutputError
from samkit.files import make_folder, reason


def check_new(folder: str | os.PathLike[str]) -> Path:
    """Check that a folder is missing or empty, before any work is done for it.

    Raises:
        OutputError: it is not.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not empty: give a new folder")
    return folder


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder, which takes its place if there was no error.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    folder = check_new(folder)
    make_folder(folder.absolute().parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".samkit.", dir=folder.absolute().parent))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}") from error
    try:
        temporary.chmod(0o755)
        yield temporary
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
