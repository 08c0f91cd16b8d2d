"""The command `samkit engine assign`: which images are for whom, in which batch, how urgent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    split_names,
    store_option,
)
from samkit.cli.wording import counted
from samkit.errors import ConfigError

if TYPE_CHECKING:
    from samkit.dataengine import Priority

PRIORITY_NAMES = ("urgent", "high", "normal", "low")


@click.command()
@click.option("--to", "people", metavar="NAMES", help="Names, by commas; '' for everybody.")
@click.option("--deal", is_flag=True, help="Each image to one of the people, in turn.")
@click.option("--priority", type=click.Choice(PRIORITY_NAMES))
@click.option("--batch", metavar="NAME", help="Put the images into a batch; '' for none.")
@click.option("--name", default="", metavar="PART", help="Only images whose path contains this.")
@click.option("--of-batch", metavar="NAME", help="Only images of this batch; '' for those of none.")
@click.option("--all-states", is_flag=True, help="Also images that nobody has to annotate now.")
@store_option
@project_option
def assign(
    *,
    people: str | None,
    deal: bool,
    priority: Priority | None,
    batch: str | None,
    name: str,
    of_batch: str | None,
    all_states: bool,
    where: str,
    project: str | None,
) -> None:
    """Assign images to people, and set their priority and batch.

    \b
    samkit engine assign --name week-12/ --to ann,bob --deal --batch week-12 --priority high
    """
    from samkit.dataengine import ImageSearch, all_items, assign_images, search_images

    if people is None and priority is None and batch is None:
        raise ConfigError("nothing to set: give --to, --priority or --batch")
    search = ImageSearch(
        name=name,
        batch=of_batch,
        reviews=None if all_states else ("none", "returned", "skipped"),
    )
    with open_store(where) as store:
        found = find_project(store, project)
        images = all_items(
            lambda after: search_images(store, found.id, search, after=after, limit=1000)
        )
        chosen = None
        if people is not None:
            chosen = [find_user(store, one).id for one in split_names(people)]
        done = assign_images(
            store,
            found.id,
            [one.id for one in images],
            user_id=local_admin(store).id,
            people=chosen,
            deal=deal,
            priority=priority,
            batch=batch,
        )
    click.echo(f"{counted(len(done), 'image')} of {found.name} changed")
