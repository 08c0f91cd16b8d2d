"""The command `samkit engine status`: the progress of a store's projects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.options import json_option
from samkit.cli.stores import all_projects, all_users, open_store, shown_place, store_option
from samkit.cli.wording import counted

if TYPE_CHECKING:
    from samkit.dataengine import Project, Store

STATES = ("none", "submitted", "returned", "accepted")
SET_ASIDE = ("skipped", "unusable")  # on a line of their own, where there are any
NOT_BY_HAND = ("imported", "fully-automatic")  # stages of masks that no annotator has drawn


@click.command()
@store_option
@json_option
def status(*, where: str, as_json: bool) -> None:
    """Show a store's projects: images by review state, masks, seconds and clicks per mask."""
    with open_store(where) as store:
        content: dict[str, Any] = {
            "store": store.url,
            "users": len(all_users(store)),
            "projects": [project_status(store, one) for one in all_projects(store)],
        }
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        *("project", "images", "waiting", *STATES[1:], "masks", "s/mask", "clicks/mask"),
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    for one in content["projects"]:
        images = one["images"]
        table.add_row(
            escape(one["name"]),
            f"{sum(images.values()):,}",
            *(f"{images[state]:,}" for state in STATES),
            f"{one['num_masks']:,}",
            _rounded(one["seconds_per_mask"]),
            _rounded(one["clicks_per_mask"]),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    lines = []
    for one in content["projects"]:
        counts = [(one["images"][state], state) for state in SET_ASIDE if one["images"][state]]
        if counts:
            listed = ", ".join(f"{counted(count, 'image')} {state}" for count, state in counts)
            lines.append(f"{one['name']}: {listed}")
        lines.append(f"{one['name']} is in {one['root']}")
    lines.append(f"{shown_place(content['store'])}, {counted(content['users'], 'user')}")
    console.print(*lines, sep="\n", markup=False, highlight=False)


def project_status(store: Store, project: Project) -> dict[str, Any]:
    """Return a project's numbers as JSON; times and clicks are those of annotators' masks."""
    from samkit.dataengine import count_images, list_classes, work_days

    states = count_images(store, project.id)
    days = [day for day in work_days(store, project.id) if day.stage not in NOT_BY_HAND]
    drawn = sum(day.num_masks for day in days)
    return {
        "id": project.id,
        "name": project.name,
        "root": project.root,
        "classes": [one.name for one in list_classes(store, project.id)],
        "images": {state: count.num_images for state, count in states.items()},
        "num_masks": sum(count.num_masks for count in states.values()),
        "seconds_per_mask": sum(day.duration_ms for day in days) / 1000 / drawn if drawn else None,
        "clicks_per_mask": sum(day.num_clicks for day in days) / drawn if drawn else None,
    }


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
