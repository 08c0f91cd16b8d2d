"""The commands `samkit engine import|export`: masks from and for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import json_option
from samkit.cli.progress import progress
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

# Those of samkit.annotations, which takes a second to import.
IMPORT_FORMATS = (
    "coco",
    "yolo",
    "voc",
    "cvat",
    "label-studio",
    "datumaro",
    "labelme",
    "sa1b",
    "png",
)
EXPORT_FORMATS = (
    "coco",
    "cvat",
    "datumaro",
    "geojson",
    "labelme",
    "label-studio",
    "png",
    "roboflow",
    "sa1b",
    "voc",
    "yolo",
)
HISTORY_NAME = "history.jsonl"


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(IMPORT_FORMATS),
    default=None,
    help="Format of PATH, a file or folder; by default, it is detected.",
)
@click.option(
    "--no-crowds", is_flag=True, help="Leave out what a COCO file marks as a crowd (iscrowd)."
)
@click.option("--boxes", is_flag=True, help="Take boxes without a mask for masks.")
@click.option(
    "--void", type=click.IntRange(0), metavar="N", help="Number in label images that is no object."
)
@click.option(
    "--binary", is_flag=True, help="Take each label image for one mask, with a threshold of 128."
)
@store_option
@project_option
@click.option(
    "--user", metavar="NAME", help="User recorded as the masks' author; by default the admin."
)
@json_option
def import_masks(
    *,
    path: Path,
    file_format: str | None,
    no_crowds: bool,
    boxes: bool,
    void: int | None,
    binary: bool,
    where: str,
    project: str | None,
    user: str | None,
    as_json: bool,
) -> int:
    """Add masks made elsewhere to a project's images; importing again adds nothing."""
    from samkit.annotations import ReadOptions
    from samkit.dataengine import import_masks as import_files

    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        with progress("image", bar=not as_json) as meter:
            report = import_files(
                store,
                found.id,
                path,
                file_format=file_format,
                options=ReadOptions(
                    crowds=not no_crowds, boxes=boxes, void=void, binary=binary or None
                ),
                user_id=maker.id,
                on_image=meter.update,
            )
    for line in (*report.notes, *report.faults):
        click.echo(line, err=True)
    result = {
        "project": found.name,
        "format": report.file_format,
        "annotations": report.num_annotations,
        "images": report.num_images,
        "added": report.num_added,
        "known": report.num_known,
        "joined": report.num_joined,
        "left_out": report.num_left_out,
        "faults": list(report.faults),
        "notes": list(report.notes),
    }
    joined = f", {report.num_joined} joined to others" if report.num_joined else ""
    text = (
        f"{found.name}: {counted(report.num_annotations, 'annotation')} ({report.file_format}):"
        f" {counted(report.num_added, 'mask')} added, {report.num_known} known{joined},"
        f" {report.num_left_out} left out; on {counted(report.num_images, 'image')};"
        f" {counted(len(report.faults), 'fault')}"
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
    help="Fraction of the images in the validation split.",
)
@click.option(
    "--states",
    metavar="A,B,...",
    default="submitted,accepted",
    show_default=True,
    help="Only images in these states of review; others: none, returned, skipped, unusable.",
)
@click.option("--accepted-only", is_flag=True, help="The same as --states accepted.")
@click.option("--copy-images", is_flag=True, help="Also copy the images.")
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
    states: str,
    accepted_only: bool,
    copy_images: bool,
    history: bool,
    as_json: bool,
) -> int:
    """Write a project's masks to a folder of their own; an earlier export in it is replaced.

    \b
    samkit engine export out --format yolo --val-fraction 0.1 --accepted-only --copy-images
    """
    from samkit.dataengine import check_states, count_images, export_project

    chosen = ("accepted",) if accepted_only else tuple(split_names(states))
    with open_store(where) as store:
        found = find_project(store, project)
        check_states(chosen)
        counts = count_images(store, found.id)
        total = sum(one.num_images for state, one in counts.items() if state in chosen)
        with progress("image", total, bar=not as_json) as meter:
            report = export_project(
                store,
                found.id,
                folder,
                file_format=file_format,
                val_fraction=val_fraction,
                states=chosen,  # type: ignore[arg-type]
                copy_images=copy_images,
                with_history=history,
                on_image=meter.update,
            )
    left_out = {
        state: one.num_images
        for state, one in counts.items()
        if one.num_images and state not in chosen
    }
    for line in (*report.faults, *report.notes):
        click.echo(line, err=True)
    result = {
        "project": found.name,
        "folder": str(folder),
        "images": report.num_images,
        "masks": report.num_masks,
        "history": report.num_lines,
        "left_out": left_out,
        "faults": list(report.faults),
        "notes": list(report.notes),
    }
    parts = ", ".join(
        f"{split}: {counted(count, 'image')}, {counted(report.num_masks[split], 'mask')}"
        for split, count in report.num_images.items()
    )
    lines = report.num_lines
    note = "" if lines is None else f"; {HISTORY_NAME}: {counted(lines, 'mask')}"
    if report.faults:
        note += f"; {counted(len(report.faults), 'image')} left out by faults"
    if left_out:
        listed = ", ".join(f"{count:,} {state}" for state, count in left_out.items())
        note += f"; images left out by their state: {listed} (--states)"
    click.echo(json.dumps(result, indent=2) if as_json else f"{folder}: {parts}{note}")
    return EXIT_SOME_FAILED if report.faults else 0
