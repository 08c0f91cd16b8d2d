"""The commands `samkit engine members list|add|remove|everybody`: who may work on a project."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from samkit.cli.options import json_option
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    store_option,
)


@click.group()
def members() -> None:
    """Say who may see a project and work on it; admins always may."""


@members.command("list")
@store_option
@project_option
@json_option
def list_all(*, where: str, project: str | None, as_json: bool) -> None:
    """List the people who may work on a project."""
    from samkit.dataengine import get_members

    with open_store(where) as store:
        found = get_members(store, find_project(store, project).id)
    if as_json:
        people = [{"name": one.name, "role": one.role} for one in found.people]
        click.echo(json.dumps({"everybody": found.everybody, "people": people}, indent=2))
        return
    click.echo("for everybody:" if found.everybody else "for members only:")
    for one in found.people:
        click.echo(f"{one.name}  {one.role}")


@members.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@store_option
@project_option
def add(*, names: tuple[str, ...], where: str, project: str | None) -> None:
    """Add members; a project that was for everybody is for its members only from then on."""
    _change(where, project, added=names)


@members.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@store_option
@project_option
def remove(*, names: tuple[str, ...], where: str, project: str | None) -> None:
    """Remove members; they give back the images that they hold."""
    _change(where, project, removed=names)


@members.command()
@store_option
@project_option
def everybody(*, where: str, project: str | None) -> None:
    """Let everybody see the project and work on it."""
    from samkit.dataengine import set_members

    with open_store(where) as store:
        found = find_project(store, project)
        set_members(store, found.id, None, user_id=local_admin(store).id)
    click.echo(f"{found.name} is for everybody")


def _change(
    where: str, project: str | None, *, added: Sequence[str] = (), removed: Sequence[str] = ()
) -> None:
    from samkit.dataengine import get_members, set_members

    with open_store(where) as store:
        found = find_project(store, project)
        ids = set(get_members(store, found.id).user_ids)
        ids |= {find_user(store, name).id for name in added}
        ids -= {find_user(store, name).id for name in removed}
        changed = set_members(store, found.id, sorted(ids), user_id=local_admin(store).id)
        names = [one.name for one in changed.people if one.id in changed.user_ids]
    click.echo(f"members of {found.name}: {', '.join(names) or 'none'}")
