"""The commands `samkit engine classes list|add|change|order|merge|delete`: classes of a project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from samkit.cli.options import json_option
from samkit.cli.stores import find_project, open_store, project_option, store_option
from samkit.cli.wording import counted
from samkit.errors import StoreError

if TYPE_CHECKING:
    from samkit.dataengine import LabelClass, Store


@click.group()
def classes() -> None:
    """List, add and change the classes of a project."""


@classes.command("list")
@store_option
@project_option
@json_option
def list_all(*, where: str, project: str | None, as_json: bool) -> None:
    """List all classes in their order, with the number of their masks."""
    from samkit.dataengine import count_class_masks, list_classes

    with open_store(where) as store:
        project_id = find_project(store, project).id
        counts = {one.class_id: one for one in count_class_masks(store, project_id)}
        rows = [
            {
                "name": one.name,
                "color": one.color,
                "masks": counts[one.id].num_masks if one.id in counts else 0,
                "images": counts[one.id].num_images if one.id in counts else 0,
            }
            for one in list_classes(store, project_id)
        ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}  {row['color']}  {counted(int(str(row['masks'])), 'mask')}")


@classes.command()
@click.argument("name")
@click.option("--color", metavar="#RRGGBB", help="By default one that differs from the others.")
@store_option
@project_option
def add(*, name: str, color: str | None, where: str, project: str | None) -> None:
    """Add a class, as the last one."""
    from samkit.dataengine import add_class

    with open_store(where) as store:
        added = add_class(store, find_project(store, project).id, name, color=color)
    click.echo(f"{added.name}  {added.color}")


@classes.command()
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", help="New name.")
@click.option("--color", metavar="#RRGGBB", help="New colour.")
@store_option
@project_option
def change(
    *, name: str, new_name: str | None, color: str | None, where: str, project: str | None
) -> None:
    """Change a class's name or colour."""
    from samkit.dataengine import change_class

    with open_store(where) as store:
        one = _find(store, project, name)
        changed = change_class(store, one.id, name=new_name, color=color)
    click.echo(f"{changed.name}  {changed.color}")


@classes.command()
@click.argument("names", nargs=-1, required=True)
@store_option
@project_option
def order(*, names: tuple[str, ...], where: str, project: str | None) -> None:
    """Put these classes first, in this order; the others follow as before."""
    from samkit.dataengine import list_classes, order_classes

    with open_store(where) as store:
        project_id = find_project(store, project).id
        first = list(dict.fromkeys(_find(store, project, name).id for name in names))
        others = [one.id for one in list_classes(store, project_id) if one.id not in first]
        order_classes(store, project_id, [*first, *others])
        for one in list_classes(store, project_id):
            click.echo(one.name)


@classes.command()
@click.argument("name")
@click.argument("into")
@store_option
@project_option
def merge(*, name: str, into: str, where: str, project: str | None) -> None:
    """Give all masks of a class another one, in all their states, and remove it."""
    from samkit.dataengine import merge_classes

    with open_store(where) as store:
        left = merge_classes(
            store, _find(store, project, name).id, into=_find(store, project, into).id
        )
    click.echo(f"{name} is {left.name} now")


@classes.command()
@click.argument("name")
@store_option
@project_option
def delete(*, name: str, where: str, project: str | None) -> None:
    """Delete a class that no mask has."""
    from samkit.dataengine import delete_class

    with open_store(where) as store:
        delete_class(store, _find(store, project, name).id)
    click.echo(f"{name} is deleted")


def _find(store: Store, project: str | None, name: str) -> LabelClass:
    """Find a class of a project by name.

    Raises:
        StoreError: there is none.
    """
    from samkit.dataengine import list_classes

    for one in list_classes(store, find_project(store, project).id):
        if one.name == name:
            return one
    raise StoreError(f"no class {name!r:.60}: samkit engine classes list shows all")
