"""`samkit engine import|export`: masks from and for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from samkit.cli.options import json_option
from samkit.cli.steps import image_bar
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    store_option,
)

IMPORT_FORMATS = ("coco", "labelme", "png", "sa1b")
EXPORT_FORMATS = ("coco", "geojson", "png", "sa1b", "voc", "yolo")
HISTORY_NAME = "history.jsonl"
EXIT_SOME_FAILED = 1


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(IMPORT_FORMATS),
    default="coco",
    show_default=True,
    help="coco: PATH is a JSON file; the others: a folder.",
)
@store_option
@project_option
@click.option("--user", metavar="NAME", help="Who counts as their maker; by default the admin.")
@json_option
def import_masks(
    *,
    path: Path,
    file_format: str,
    where: str,
    project: str | None,
    user: str | None,
    as_json: bool,
) -> int:
    """Add masks that were made elsewhere to images that a project has. Again, it adds nothing."""
    from samkit.dataengine import import_masks as import_files

    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        with image_bar(hidden=as_json) as on_image:
            report = import_files(
                store,
                found.id,
                path,
                file_format=file_format,
                user_id=maker.id,
                on_image=on_image,
            )
    for fault in report.faults:
        click.echo(fault, err=True)
    result = {
        "project": found.name,
        "images": report.num_images,
        "added": report.num_added,
        "known": report.num_known,
        "faults": list(report.faults),
    }
    text = (
        f"{found.name}: {report.num_added} masks added, {report.num_known} known,"
        f" on {report.num_images} images; {len(report.faults)} faults"
    )
    click.echo(json.dumps(result, indent=2) if as_json else text)
    return EXIT_SOME_FAILED if report.faults else 0


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(EXPORT_FORMATS),
    default="coco",
    show_default=True,
)
@store_option
@project_option
@click.option(
    "--val-fraction",
    type=float,
    default=0.0,
    show_default=True,
    help="So much of the images into a split for validation.",
)
@click.option("--accepted-only", is_flag=True, help="Only images that a reviewer has accepted.")
@click.option("--copy-images", is_flag=True, help="Put the images beside their masks.")
@click.option(
    "--history",
    is_flag=True,
    help=f"Also write {HISTORY_NAME}: every prompt and every state of each mask.",
)
@json_option
def export_masks(
    *,
    folder: Path,
    file_format: str,
    where: str,
    project: str | None,
    val_fraction: float,
    accepted_only: bool,
    copy_images: bool,
    history: bool,
    as_json: bool,
) -> None:
    """Write a project's masks to a folder.

    \b
    samkit engine export out --format yolo --val-fraction 0.1 --accepted-only --copy-images
    """
    from samkit.dataengine import count_images, export_history, export_project

    with open_store(where) as store:
        found = find_project(store, project)
        states = count_images(store, found.id)
        chosen = [states["accepted"]] if accepted_only else states.values()
        total = sum(one.num_images for one in chosen)
        with image_bar(hidden=as_json, total=total) as on_image:
            report = export_project(
                store,
                found.id,
                folder,
                file_format=file_format,
                val_fraction=val_fraction,
                accepted_only=accepted_only,
                copy_images=copy_images,
                on_image=on_image,
            )
        lines = None
        if history:
            with image_bar(hidden=as_json, total=total) as on_image:
                lines = export_history(
                    store,
                    found.id,
                    folder / HISTORY_NAME,
                    accepted_only=accepted_only,
                    on_image=on_image,
                )
    result = {
        "project": found.name,
        "folder": str(folder),
        "images": report.num_images,
        "masks": report.num_masks,
        "history": lines,
    }
    parts = ", ".join(
        f"{split}: {count} images, {report.num_masks[split]} masks"
        for split, count in report.num_images.items()
    )
    note = "" if lines is None else f"; {HISTORY_NAME}: {lines} masks"
    click.echo(json.dumps(result, indent=2) if as_json else f"{folder}: {parts}{note}")
