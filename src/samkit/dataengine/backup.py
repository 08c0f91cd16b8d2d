"""Backup of an SQLite store to one file, and its restoration."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from samkit.dataengine.database import Store, first_line
from samkit.errors import StoreError
from samkit.files import replacing


def backup_store(store: Store, path: str | os.PathLike[str]) -> Path:
    """Copy a consistent snapshot of an SQLite store to one file, while others may use the store.

    Raises:
        StoreError: the store is not in SQLite, or the copy is incomplete.
        OutputError: the file cannot be written.
    """
    if store.path is None:
        raise StoreError(f"{store.url} is not in SQLite: back it up with pg_dump")
    with replacing(path) as temporary:
        try:
            with (
                closing(sqlite3.connect(store.path)) as source,
                closing(sqlite3.connect(temporary)) as target,
            ):
                source.backup(target)
                # Without a write-ahead log, so that it is one file.
                target.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise StoreError(f"cannot back up {store.url}: {first_line(error)}") from error
        check_file(temporary, name=str(path))
    return Path(path)


def restore_store(backup: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Create a store from a backup, which is checked first.

    Raises:
        StoreError: the backup is missing or damaged, or the target exists.
        OutputError: the target cannot be written.
    """
    source, target = Path(backup), Path(target)
    if target.exists():
        raise StoreError(f"{target} exists: move it away before a backup is restored there")
    if not source.is_file():
        raise StoreError(f"no such file: {source}")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        check_file(temporary, name=str(source))
        # Upgrades it, and refuses anything but a samkit store.
        with Store.open(temporary):
            pass
        with closing(sqlite3.connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        for leftover in ("-wal", "-shm"):
            Path(f"{temporary}{leftover}").unlink(missing_ok=True)
    return target


def check_file(path: Path, *, name: str) -> None:
    """Check that an SQLite file is intact and consistent.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{name} is damaged: {first_line(error)}") from error
    if found != ["ok"]:
        raise StoreError(f"{name} is damaged: {' '.join(found[0].split())}")
    if dangling is not None:
        raise StoreError(f"{name} is damaged: a row of {dangling[0]} refers to one that is missing")
