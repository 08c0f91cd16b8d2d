"""Stores of the data engine that take little time to create."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

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


@pytest.fixture(autouse=True, scope="session")
def quick_stores() -> Iterator[PasswordHasher]:
    """New stores are created quickly, and passwords are hashed quickly.

    Yields:
        What hashes passwords outside tests.
    """
    own = users.HASHER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "command", SimpleNamespace(upgrade=Upgrades().upgrade))
        patch.setattr(users, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield own
