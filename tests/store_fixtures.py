"""Stores of the data engine that take little time to create."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from alembic import command
from alembic.config import Config
from argon2 import PasswordHasher
from sqlalchemy import Connection, event, inspect

from samkit.dataengine import database
from samkit.dataengine.people import users


class Upgrades:
    """Upgrades of new databases, by the SQL of the first one: alembic takes a sixth of a second.

    Attributes:
        kept: that SQL and its values, by the kind of database.
    """

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[str, Any]]] = {}

    def upgrade(self, config: Config, revision: str) -> None:
        """What alembic's own function does."""
        connection = config.attributes["connection"]
        kind = connection.dialect.name
        is_new = revision == "head" and not inspect(connection).get_table_names()
        if not is_new:
            command.upgrade(config, revision)
        elif kind in self.kept:
            cursor = connection.connection.cursor()
            for statement, values in self.kept[kind]:
                cursor.execute(statement, values)
            cursor.close()
        else:
            self.kept[kind] = record(connection, lambda: command.upgrade(config, revision))


def record(connection: Connection, act: Any) -> list[tuple[str, Any]]:
    """The statements that an action executes, but those that only read."""
    found: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            found.append((statement, values))

    event.listen(connection, "before_cursor_execute", keep)
    try:
        act()
    finally:
        event.remove(connection, "before_cursor_execute", keep)
    return found


class Slow(NamedTuple):
    """What stores use outside tests: what hashes passwords, and what configures connections."""

    hasher: PasswordHasher
    configure_sqlite: Callable[[Any, object], None]


@pytest.fixture(autouse=True, scope="session")
def quick_stores() -> Iterator[Slow]:
    """New stores are created quickly, passwords are hashed quickly, nothing waits for the disk."""
    slow = Slow(users.HASHER, database._configure_sqlite)

    def configure_sqlite(connection: Any, record: object) -> None:
        # As PostgreSQL in tools/with_postgres.sh: nothing has to outlive a crash of the machine.
        slow.configure_sqlite(connection, record)
        connection.execute("PRAGMA synchronous = OFF").close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "command", SimpleNamespace(upgrade=Upgrades().upgrade))
        patch.setattr(database, "_configure_sqlite", configure_sqlite)
        patch.setattr(users, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield slow


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, quick_stores: Slow) -> Path:
    """File of an empty store, to be copied: to create one takes several times as long."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    database.Store.open(path).close()
    return path
