"""The command `samkit engine status`: the progress of a store's projects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.options import json_option
from samkit.cli.stores import all_projects, all_users, open_store, shown_place, store_option
from samkit.cli.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

    from samkit.dataengine import Project, Store, WorkDay

STATES = ("none", "submitted", "returned", "accepted")
SET_ASIDE = ("skipped", "unusable")  # on a line of their own, where there are any


@click.command()
@store_option
@json_option
def status(*, where: str, as_json: bool) -> None:
    """Show a store's projects: images by review state, masks, and people's work by stage."""
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
    people = _people_table(content["projects"])
    if people.row_count:
        console.print(people)
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
    """Return a project's numbers as JSON.

    Seconds and clicks per mask are those of masks that people made; work on automatic and imported
    masks is told as corrections.
    """
    from samkit.dataengine import MADE_BY_PEOPLE, count_images, list_classes, work_days

    states = count_images(store, project.id)
    days = work_days(store, project.id)
    own = [day for day in days if day.stage in MADE_BY_PEOPLE]
    others = [day for day in days if day.stage not in MADE_BY_PEOPLE]
    drawn = sum(day.num_masks for day in own)
    corrected = sum(day.num_corrected for day in others)
    names = {user.id: user.name for user in all_users(store)}
    return {
        "id": project.id,
        "name": project.name,
        "root": project.root,
        "classes": [one.name for one in list_classes(store, project.id)],
        "images": {state: count.num_images for state, count in states.items()},
        "num_masks": sum(count.num_masks for count in states.values()),
        "seconds_per_mask": _ratio(_seconds(own), drawn),
        "clicks_per_mask": _ratio(sum(day.num_clicks for day in own), drawn),
        "num_corrected": corrected,
        "seconds_per_correction": _ratio(_seconds(others), corrected),
        "people": _by_person(days, names),
    }


def _by_person(days: Sequence[WorkDay], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Add up the work of all days by person and stage; masks are those made by hand."""
    groups: dict[tuple[str, str], list[WorkDay]] = {}
    for day in days:
        if day.num_touched or day.duration_ms:
            groups.setdefault((names[day.user_id], day.stage), []).append(day)
    return [
        {
            "user": name,
            "stage": stage,
            "num_masks": sum(day.num_touched - day.num_corrected for day in own),
            "num_corrected": sum(day.num_corrected for day in own),
            "num_clicks": sum(day.num_clicks for day in own),
            "seconds": _seconds(own),
        }
        for (name, stage), own in sorted(groups.items())
    ]


def _people_table(projects: Sequence[Mapping[str, Any]]) -> Table:
    """Table of the work of all projects by person and stage."""
    from rich.markup import escape
    from rich.table import Table

    columns = ("project", "person", "stage", "masks", "corrected", "hours", "s/mask")
    table = Table(*columns, box=None, pad_edge=False, collapse_padding=True)
    for project in projects:
        for one in project["people"]:
            masks, corrected, seconds = one["num_masks"], one["num_corrected"], one["seconds"]
            table.add_row(
                *(escape(text) for text in (project["name"], one["user"], one["stage"])),
                f"{masks:,}",
                f"{corrected:,}",
                f"{seconds / 3600:.2f}",
                _rounded(_ratio(seconds, masks + corrected)),
            )
    return table


def _seconds(days: Sequence[WorkDay]) -> float:
    return sum(day.duration_ms for day in days) / 1000


def _ratio(total: float, count: int) -> float | None:
    return total / count if count else None


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
