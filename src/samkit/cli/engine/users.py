"""The commands `samkit engine users list|add|change|link`: people and their roles."""

from __future__ import annotations

import json

import click

from samkit.cli.options import json_option
from samkit.cli.stores import (
    all_users,
    ask_password,
    find_user,
    open_store,
    password_option,
    store_option,
)
from samkit.errors import StoreError

ROLE_NAMES = ("annotator", "reviewer", "admin")


@click.group()
def users() -> None:
    """List, add and change the people who work on a store's projects."""


@users.command("list")
@store_option
@json_option
def list_all(*, where: str, as_json: bool) -> None:
    """List all users."""
    with open_store(where) as store:
        rows = [
            {"name": one.name, "role": one.role, "active": one.active} for one in all_users(store)
        ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}  {row['role']}{'' if row['active'] else '  not active'}")


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLE_NAMES), default="annotator", show_default=True)
@store_option
@password_option
def add(*, name: str, role: str, where: str, password_stdin: bool) -> None:
    """Add a user; asks for their password."""
    from samkit.dataengine import create_user

    with open_store(where) as store:
        password = _password(from_stdin=password_stdin)
        create_user(store, name=name, role=role, password=password)  # type: ignore[arg-type]
    click.echo(f"{name} is {role}")


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLE_NAMES))
@click.option("--active/--inactive", default=None, help="Whether they may sign in and act.")
@click.option("--password", "ask", is_flag=True, help="Ask for a new password.")
@password_option
@store_option
def change(
    *,
    name: str,
    role: str | None,
    active: bool | None,
    ask: bool,
    password_stdin: bool,
    where: str,
) -> None:
    """Change a user's role or password, or whether they may sign in."""
    from samkit.dataengine import change_user

    with open_store(where) as store:
        user = find_user(store, name)
        password = _password(from_stdin=password_stdin) if ask or password_stdin else None
        changed = change_user(
            store,
            user.id,
            role=role,  # type: ignore[arg-type]
            password=password,
            active=active,
        )
    click.echo(f"{name} is {changed.role}{'' if changed.active else ', not active'}")


@users.command()
@click.argument("name")
@click.option("--issuer", required=True, metavar="URL", help="The provider's address.")
@click.option("--subject", required=True, help="Its name for the person, the claim sub.")
@store_option
def link(*, name: str, issuer: str, subject: str, where: str) -> None:
    """Let somebody sign in as a user by single sign-on."""
    from samkit.dataengine import link_identity

    with open_store(where) as store:
        link_identity(store, find_user(store, name).id, issuer=issuer, subject=subject)
    click.echo(f"{name} signs in as {subject} of {issuer}")


def _password(*, from_stdin: bool) -> str:
    password = ask_password(from_stdin=from_stdin)
    if password is None:
        raise StoreError("no terminal to ask for a password: give it with --password-stdin")
    return password
