"""The commands `samkit engine tokens list|add|revoke`: API tokens of people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samkit.cli.stores import find_user, local_admin, open_store, store_option

if TYPE_CHECKING:
    from samkit.dataengine import Role

ROLE_NAMES = ("annotator", "reviewer", "admin")


@click.group()
def tokens() -> None:
    """List, make and revoke API tokens, by which programs act as a person."""


@tokens.command("list")
@click.argument("user")
@store_option
def list_all(*, user: str, where: str) -> None:
    """List a user's tokens."""
    from samkit.dataengine import list_tokens

    with open_store(where) as store:
        for one in list_tokens(store, find_user(store, user).id):
            used = "never used" if one.last_used_at is None else f"used {one.last_used_at:%F %R}"
            end = "" if one.expires_at is None else f"  until {one.expires_at:%F}"
            click.echo(f"{one.id}  {one.name}  {one.role}  {used}{end}{'  revoked' * one.revoked}")


@tokens.command()
@click.argument("user")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLE_NAMES), help="At most; by default the user's.")
@click.option("--days", type=click.IntRange(1, 3650), metavar="N", help="Valid for N days.")
@store_option
def add(*, user: str, name: str, role: Role | None, days: int | None, where: str) -> None:
    """Make a token for a user, and print its secret, which is not stored."""
    from samkit.dataengine import create_token

    with open_store(where) as store:
        secret, _ = create_token(store, find_user(store, user).id, name=name, role=role, days=days)
    click.echo(secret)


@tokens.command()
@click.argument("number", type=int)
@store_option
def revoke(*, number: int, where: str) -> None:
    """Revoke the token with this number; nobody can use it from then on."""
    from samkit.dataengine import revoke_token

    with open_store(where) as store:
        revoked = revoke_token(store, number, user_id=local_admin(store).id)
    click.echo(f"token {revoked.id}, {revoked.name}, is revoked")
