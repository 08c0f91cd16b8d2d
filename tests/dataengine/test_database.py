"""Opening, upgrading and refusing databases."""

import os
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from samkit.dataengine import Store, create_user, database, list_users
from samkit.dataengine.schema import Base
from samkit.errors import DatabaseError, StoreError, StoreFullError
from samkit.web.problems import status_of

POSTGRES = os.environ.get("SAMKIT_TEST_POSTGRES")


@contextmanager
def closing_engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_expects(store):
    with store.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_was_kept_is_there_when_opened_again(where):
    with Store.open(where) as store:
        user = create_user(store, name="ada", role="admin")
    with Store.open(where) as store:
        assert list_users(store).items == (user,)


@pytest.mark.skipif(POSTGRES is None, reason="SAMKIT_TEST_POSTGRES has no URL of a server")
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_any_encoding_has_names(encoding):
    url = make_url(POSTGRES).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    with closing_engine(url) as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        settings = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(text(f"CREATE DATABASE {name} {settings}"))
        where = url.set(database=name).render_as_string(hide_password=False)
        try:
            with Store.open(where) as store:
                create_user(store, name="zoë", role="admin")
            with Store.open(where) as store:
                assert [user.name for user in list_users(store).items] == ["zoë"]
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_newer_database_is_refused(where, refusal):
    with Store.open(where) as store, store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with refusal(StoreError, "newer samkit", "9999", "update samkit"):
        Store.open(where)


def test_sqlite_is_durable(tmp_path, quick_stores, monkeypatch):
    monkeypatch.setattr(database, "_configure_sqlite", quick_stores.configure_sqlite)
    with Store.open(tmp_path / "store.db") as store, store.read() as session:
        values = [
            session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]  # 2 is FULL


def test_database_of_another_program_is_left_alone(tmp_path, refusal):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    with refusal(StoreError, "another program"):
        Store.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("image.db", DatabaseError, "not a database"),
        ("missing/store.db", DatabaseError, "unable to open"),
        ("mysql://host/name", StoreError, "SQLite or PostgreSQL"),
        ("://", StoreError, "got neither"),
        ("sqlite://", StoreError, "needs a file"),
    ],
)
def test_what_is_no_store_is_refused(name, kind, part, tmp_path, refusal):
    (tmp_path / "image.db").write_bytes(b"not a database at all" * 100)
    with refusal(kind, part):
        Store.open(name if "://" in name else tmp_path / name)


def test_many_may_open_a_new_store_at_once(where):
    def use(number):
        with Store.open(where) as store:
            create_user(store, name=f"user {number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    with Store.open(where) as store:
        assert len(list_users(store).items) == 6


def test_new_files_are_opened_at_once_every_time(tmp_path):
    # SQLite refuses about one opening in a hundred here, at once, unless it is repeated.
    def use(number):
        with Store.open(tmp_path / f"{number // 6}.db") as store:
            return store.path

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(use, range(180)))) == 30


def test_full_disk_is_told_as_such(tmp_path, refusal):
    with Store.open(tmp_path / "store.db") as store:

        def fill():
            with store.write() as session:
                connection = session.connection()
                pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
                connection.exec_driver_sql("CREATE TABLE large (content BLOB)")
                connection.exec_driver_sql("INSERT INTO large VALUES (zeroblob(1000000))")

        with refusal(StoreFullError, "its disk is full: free some space"):
            fill()
    assert status_of(StoreFullError("")) == 507


def test_action_that_fails_changes_nothing(store):
    def act():
        with store.write() as session:
            session.execute(text("DELETE FROM alembic_version"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    with store.read() as session:
        assert session.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_importing_the_data_engine_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, samkit.dataengine; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
