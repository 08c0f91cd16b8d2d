"""The store's database, SQLite or PostgreSQL, upgraded to this version of samkit when opened."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
)
from sqlalchemy.orm import Session

from samkit.errors import DatabaseError, StoreError, StoreFullError

# Writers wait for one another; each transaction takes milliseconds, so longer waits are a fault.
BUSY_TIMEOUT_S = 60
IMPATIENT_S = 1  # of what can also be done later, or elsewhere
BUSY_PAUSE_S = 0.01
# Arbitrary number: processes that open the same PostgreSQL database upgrade it one after another.
UPGRADE_LOCK = 0x53414D4B
PG_DISK_FULL = "53100"  # PostgreSQL, appendix A
BEGIN_OPTION, BUSY_OPTION = "samkit_begin", "samkit_busy_s"
MIGRATIONS = "samkit.dataengine:migrations"


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(timezone.utc)


class Store:
    """A database of projects, images and annotations.

        with Store.open("project.db") as store:
            image = take_next(store, project_id=1, user_id=2)

    Functions of this room take a store and run one transaction each: when they return, the change
    is on disk. Threads and processes may share a database.

    Attributes:
        url: URL of the database, without its password.
        clock: returns the time in UTC; replaced in tests.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        begin = {BEGIN_OPTION: "BEGIN IMMEDIATE"}
        self._writer = engine.execution_options(**begin, **{BUSY_OPTION: BUSY_TIMEOUT_S})
        self._hasty_writer = engine.execution_options(**begin, **{BUSY_OPTION: IMPATIENT_S})
        self.url = engine.url.render_as_string(hide_password=True)
        self.clock = clock

    @classmethod
    def open(
        cls, where: str | os.PathLike[str], *, clock: Callable[[], datetime] = utc_now
    ) -> Store:
        """Open a store, creating it if necessary and upgrading it from older versions of samkit.

        Args:
            where: path of an SQLite file, or a URL such as postgresql://user@host/name.
            clock: returns the time in UTC.

        Raises:
            StoreError: it cannot be opened, or belongs to another program or a newer samkit.
        """
        url = _to_url(where)
        try:
            engine = _create(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise StoreError(f"cannot open {where}: {first_line(error)}") from error
        store = cls(engine, clock)
        try:
            with store._errors(), store._writer.begin() as connection:
                upgrade(connection, store.url)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def address(self) -> str:
        """URL with its password, for a process that opens the store as well; never shown."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def path(self) -> Path | None:
        """The database's file; None for a server."""
        is_file = self._engine.dialect.name == "sqlite"
        return Path(str(self._engine.url.database)) if is_file else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one state of the database and changes nothing."""
        with self._errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self, *, patient: bool = True) -> Iterator[Session]:
        """Open a session that commits to disk at its end, or rolls back on an error.

        On SQLite only one at a time (BEGIN IMMEDIATE). On PostgreSQL actions must lock the rows
        that their decisions depend on.

        Args:
            patient: wait for a minute while another process locks an SQLite file, not for a second.

        Raises:
            DatabaseError: the database cannot be used, or stays locked.
        """
        writer = self._writer if patient else self._hasty_writer
        sessions = Session(writer, expire_on_commit=False)
        with self._errors(), sessions as session, session.begin():
            yield session

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert the database's errors to StoreErrors."""
        try:
            yield
        except (DataError, IntegrityError) as error:  # caused by the input, not by the database
            raise StoreError(
                f"the database refuses it: {first_line(error.orig or error)}"
            ) from error
        except DBAPIError as error:
            cause = error.orig or error
            if is_full(cause):
                raise StoreFullError(f"{self.url}: its disk is full: free some space") from error
            raise DatabaseError(f"{self.url}: {first_line(cause)}") from error
        except OverflowError as error:  # from SQLite, for integers of more than 64 bits
            raise StoreError(f"a number is too large for the store: {first_line(error)}") from error
        except UnicodeEncodeError as error:  # lone surrogates, which JSON may contain
            raise StoreError(f"a text is not Unicode: {error.object!r:.40}") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Store:  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def upgrade(connection: Connection, name: str) -> None:
    """Bring a database to this version of samkit, in the connection's transaction.

    Raises:
        StoreError: it belongs to another program or a newer samkit.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    steps = _steps()
    current = MigrationContext.configure(connection).get_current_heads()
    unknown = {*current} - {*steps}
    if unknown:
        raise StoreError(
            f"{name} was written by a newer samkit (step {', '.join(sorted(unknown))}; this one"
            f" knows up to {steps[0]}): update samkit"
        )
    if not current and inspect(connection).get_table_names():
        raise StoreError(f"{name} is a database of another program")
    if current != steps[:1]:
        config = _migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    return config


@cache  # reading them takes several times as long as opening a store otherwise
def _steps() -> tuple[str, ...]:
    """The migrations' names, latest first."""
    scripts = ScriptDirectory.from_config(_migrations())
    return tuple(step.revision for step in scripts.walk_revisions())


def _to_url(where: str | os.PathLike[str]) -> URL:
    name = os.fspath(where)
    if "://" not in name:
        return URL.create("sqlite", database=str(Path(name).absolute()))
    try:
        url = make_url(name)
    except ArgumentError as error:
        raise StoreError("a store is a file's path or a URL; got neither") from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"a store is in SQLite or PostgreSQL; got {url.get_backend_name()}")
    if url.get_backend_name() == "sqlite" and not url.database:
        raise StoreError("a store in SQLite needs a file; got none")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _create(url: URL) -> Engine:
    # No limit on connections: threads wait for the database, not for a connection.
    if url.get_backend_name() != "sqlite":
        # Whatever encoding the database has: text comes as bytes from one without (SQL_ASCII).
        encoded = {"client_encoding": "utf8"}
        return create_engine(url, max_overflow=-1, pool_pre_ping=True, connect_args=encoded)
    engine = create_engine(url, max_overflow=-1, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, record: object) -> None:  # noqa: ARG001
    # Python's module begins transactions too late to read and write in the same one.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        _switch_to_wal(cursor)
        # FULL: in WAL mode a commit is on disk when it returns, even if the power fails.
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    # SQLite's own timeout does not cover this switch where several connections open a new file.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # noqa: PERF203 - each turn may fail
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if BUSY_OPTION in options:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * options[BUSY_OPTION]}")
    connection.exec_driver_sql(options.get(BEGIN_OPTION, "BEGIN"))


def is_full(error: BaseException) -> bool:
    """Whether a database's error says that it has no room for more."""
    in_sqlite = getattr(error, "sqlite_errorname", None) == "SQLITE_FULL"
    return in_sqlite or getattr(error, "sqlstate", None) == PG_DISK_FULL


def first_line(error: BaseException) -> str:
    """First line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
