"""Options and look-up of the store, project and user of data engine commands."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.errors import ConfigError, StoreError
from samkit.extras import install_hint

if TYPE_CHECKING:
    from samkit.dataengine import Project, Store, User

# Path of the store of one folder of images, below that folder.
STORE_IN_FOLDER = Path(".samkit") / "project.db"

store_option = click.option(
    "--store",
    "where",
    default=".",
    show_default=True,
    envvar="SAMKIT_STORE",
    metavar="FOLDER|FILE|URL",
    help="Store: a folder of images with a store in it, an SQLite file, or"
    " postgresql://user@host/name.",
)
project_option = click.option(
    "--project",
    metavar="NAME",
    help="Project, by name or number; not needed if the store has only one.",
)
password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


def check_installed() -> None:
    """Check that the data engine's packages are installed.

    Raises:
        ConfigError: packages are missing.
    """
    try:
        import samkit.dataengine  # noqa: F401
    except ModuleNotFoundError as error:
        hint = install_hint("engine")
        raise ConfigError(f"the data engine needs {error.name}: {hint}") from error


def store_place(where: str) -> str:
    """Return the file or URL of --store."""
    is_folder = "://" not in where and Path(where).is_dir()
    return str(Path(where) / STORE_IN_FOLDER) if is_folder else where


@contextmanager
def open_store(where: str, *, create: bool = False) -> Iterator[Store]:
    """Open the store of --store.

    Args:
        create: create it if it does not exist.

    Raises:
        StoreError: it does not exist, or cannot be opened.
        ConfigError: packages are missing.
    """
    check_installed()
    from samkit.dataengine import Store

    place = store_place(where)
    if "://" not in place:
        if create:
            make_parent(place)
        elif not Path(place).is_file():
            raise StoreError(f"no store at {place}: create one with samkit engine init")
    with Store.open(place) as store:
        yield store


def make_parent(place: str) -> None:
    """Create the folder of a store's file.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create {Path(place).parent}: {error.strerror}; give another --store"
        ) from error


def shown_place(url: str) -> str:
    """Return a store's URL for display; of an SQLite store, the file's path."""
    return url.removeprefix("sqlite:///")


def all_projects(store: Store) -> list[Project]:
    """List all projects of a store."""
    from samkit.dataengine import all_items, list_projects

    return list(all_items(lambda after: list_projects(store, after=after)))


def all_users(store: Store) -> list[User]:
    """List all users of a store."""
    from samkit.dataengine import all_items, list_users

    return list(all_items(lambda after: list_users(store, after=after)))


def find_project(store: Store, given: str | None) -> Project:
    """Find the project of --project.

    Raises:
        StoreError: there is no such project, or there are several and none was named.
    """
    projects = all_projects(store)
    if not projects:
        raise StoreError(
            f"{shown_place(store.url)} has no project: create one with samkit engine init"
        )
    names = ", ".join(one.name for one in projects)
    if given is None:
        if len(projects) > 1:
            raise StoreError(f"give a --project; there are {names}")
        return projects[0]
    for one in (*(one for one in projects if one.name == given), *projects):
        if given in (one.name, str(one.id)):
            return one
    raise StoreError(f"no project {given!r:.60}; there are {names}")


def find_user(store: Store, name: str) -> User:
    """Find a user by name.

    Raises:
        StoreError: there is none.
    """
    for one in all_users(store):
        if one.name == name:
            return one
    raise StoreError(f"no user {name!r:.60}: samkit engine users list shows all")


def local_admin(store: Store) -> User:
    """Return the admin that the person at this computer acts as; create one if needed."""
    from samkit.dataengine import create_user

    name = system_user()
    admins = [one for one in all_users(store) if one.role == "admin" and one.active]
    for one in admins:
        if one.name == name:
            return one
    return admins[0] if admins else create_user(store, name=name, role="admin")


def system_user() -> str:
    """Return the system's user name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a list of users
        return "me"


def ask_password(*, from_stdin: bool) -> str | None:
    """Read a password from standard input, or typed twice; None if there is no terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return None
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


def split_names(given: str) -> list[str]:
    """Split names at commas."""
    return [name.strip() for name in given.split(",") if name.strip()]
