"""The commands `samkit engine init|move|rename|delete`: projects."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import ValueRangeType, json_option
from samkit.cli.progress import progress
from samkit.cli.stores import (
    all_projects,
    all_users,
    ask_password,
    check_installed,
    find_project,
    open_store,
    password_option,
    project_option,
    split_names,
    store_option,
    system_user,
)
from samkit.cli.wording import counted
from samkit.errors import StoreError

if TYPE_CHECKING:
    from samkit.dataengine import Project, Store


@click.command()
@click.argument("root", metavar="FOLDER|URL")
@click.option(
    "--store",
    "where",
    envvar="SAMKIT_STORE",
    metavar="FOLDER|FILE|URL",
    help="Store, created if needed; by default in FOLDER.",
)
@click.option("--name", help="Name of the project; by default the folder's.")
@click.option("--classes", default="", metavar="A,B,...", help="Classes to label with.")
@click.option(
    "--annotators",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of people who annotate each image independently.",
)
@click.option(
    "--range",
    "value_range",
    type=ValueRangeType(),
    help="Which values become black and white in images of more than 8 bits, also of images that"
    " the project has already; by default auto. See samkit segment.",
)
@click.option("--decode", is_flag=True, help="Decode all images, to find truncated files.")
@click.option(
    "--admin", metavar="NAME", help="First user of a new store; by default your user name."
)
@password_option
@json_option
def init(
    *,
    root: str,
    where: str | None,
    name: str | None,
    classes: str,
    annotators: int,
    value_range: str | None,
    decode: bool,
    admin: str | None,
    password_stdin: bool,
    as_json: bool,
) -> int:
    """Create a project with the images of a folder; repeated, add new images to it.

    \b
    samkit engine init images
    samkit engine init s3://bucket/cells --store postgresql://samkit@db/samkit --classes cell,other
    """
    check_installed()
    from samkit.dataengine import ImageSource, add_class, add_images, set_value_range
    from samkit.formats import left_out_summary

    base = ImageSource(root).root  # checked before anything is created
    with open_store(where or (root if "://" not in root else "."), create=True) as store:
        _make_admin(store, admin, password_stdin=password_stdin)
        project = _begin(store, base, name)
        if value_range not in (None, project.value_range):
            set_value_range(store, project.id, value_range or "auto")
        for one in split_names(classes):
            add_class(store, project.id, one)
        with progress("image", bar=not as_json) as meter:
            report = add_images(
                store, project.id, num_annotators=annotators, decode=decode, on_image=meter.update
            )
        url = store.url
    for fault in report.faults:
        click.echo(fault, err=True)
    if report.left_out:
        click.echo(f"samkit: {left_out_summary(report.left_out)}", err=True)
    result = {
        "store": url,
        "project": project.name,
        "added": report.num_added,
        "known": report.num_known,
        "duplicates": len(report.duplicates),
        "faults": len(report.faults),
        "left_out": dict(report.left_out),
    }
    text = (
        f"{project.name}: {counted(report.num_added, 'image')} added, {report.num_known} known,"
        f" {counted(len(report.duplicates), 'duplicate')}, {counted(len(report.faults), 'fault')}"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
    return EXIT_SOME_FAILED if report.faults else 0


def _make_admin(store: Store, name: str | None, *, password_stdin: bool) -> None:
    """Create the first user of a new store."""
    from samkit.dataengine import create_user

    if all_users(store):
        if name is not None or password_stdin:
            raise StoreError("the store has users already: samkit engine users add NAME")
        return
    chosen = name or system_user()
    password = ask_password(from_stdin=password_stdin)
    create_user(store, name=chosen, role="admin", password=password)
    if password is None:
        click.echo(
            f"{chosen} has no password yet: samkit engine users change {chosen} --password",
            err=True,
        )


def _begin(store: Store, root: str, name: str | None) -> Project:
    """Return the project of a folder; create it if there is none."""
    from samkit.dataengine import create_project

    for one in all_projects(store):
        if one.root == root and name in (None, one.name):
            return one
    return create_project(store, name=name or PurePath(root).name, root=root)


@click.command()
@click.argument("root", metavar="FOLDER|URL")
@store_option
@project_option
@click.option("--allow-missing", is_flag=True, help="Continue if some images are missing.")
@json_option
def move(*, root: str, where: str, project: str | None, allow_missing: bool, as_json: bool) -> None:
    """Set where a project's images are now: another folder, or new names in the same one.

    Images are recognised by their content, anywhere below FOLDER.

    \b
    samkit engine move /data/cells --store cells.db
    """
    from samkit.dataengine import move_project

    with open_store(where) as store:
        found = find_project(store, project)
        with progress("image", bar=not as_json) as meter:
            report = move_project(
                store, found.id, root, allow_missing=allow_missing, on_image=meter.update
            )
    result = {
        "project": found.name,
        "same": report.num_same,
        "moved": [{"from": old, "to": new} for old, new in report.moved],
        "missing": list(report.missing),
    }
    text = (
        f"{found.name}: {counted(report.num_same, 'image')} at the same path,"
        f" {len(report.moved)} moved, {len(report.missing)} missing"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)


@click.command()
@click.argument("name")
@store_option
@project_option
def rename(*, name: str, where: str, project: str | None) -> None:
    """Rename a project."""
    from samkit.dataengine import rename_project

    with open_store(where) as store:
        found = find_project(store, project)
        rename_project(store, found.id, name)
    click.echo(f"{found.name} is now {name}")


@click.command()
@click.argument("name")
@store_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(*, name: str, where: str, yes: bool) -> None:
    """Delete a project with all its masks and their history. Images stay where they are."""
    from samkit.dataengine import count_images, delete_project

    with open_store(where) as store:
        found = find_project(store, name)
        states = count_images(store, found.id).values()
        images, masks = (
            sum(one.num_images for one in states),
            sum(one.num_masks for one in states),
        )
        counts = f"{counted(images, 'image')}, {counted(masks, 'mask')}"
        if not yes:
            click.confirm(f"Delete {found.name}: {counts}?", abort=True)
        delete_project(store, found.id)
    click.echo(f"{found.name} is deleted: {counts}")
