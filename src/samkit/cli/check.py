"""The command `samkit check`: what a data set is, before it is imported or trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.exit_codes import EXIT_SOME_FAILED
from samkit.cli.options import json_option
from samkit.cli.progress import progress
from samkit.cli.wording import counted

if TYPE_CHECKING:
    from samkit.datasets import CheckedImage, DataReport

MOST_LINES = 10  # of faults, warnings and the like; --json has all


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "--fix",
    "repaired",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write what can be used as a COCO file, with masks drawn twice left out.",
)
@json_option
def check(*, data: tuple[str, ...], repaired: Path | None, as_json: bool) -> int:
    """Tell what annotations and their images are, and what would be left out.

    DATA is a file or folder of annotations in any format that can be read, or KIND:PATH as for
    training. Several are the splits of one data set, which should share no image. Exit code 1 if
    anything would be left out, or splits share images.

    \b
    samkit check instances_train.json instances_val.json
    samkit check labels/ --fix repaired.json
    """
    from samkit.datasets import check_data, find_shared, open_annotated
    from samkit.errors import ConfigError

    if repaired is not None and len(data) > 1:
        raise ConfigError("--fix repairs one data set at a time")
    if repaired is not None and repaired.exists():
        raise ConfigError(f"{repaired} exists: name a new file")
    reports = []
    for spec in data:
        source = open_annotated(spec)
        with ExitStack() as stack:
            keep = None
            if repaired is not None:
                keep = stack.enter_context(_repairs(repaired))
            meter = stack.enter_context(progress("image", len(source), bar=not as_json))
            reports.append(check_data(source, on_image=meter.update, on_checked=keep))
    shared = find_shared(reports) if len(reports) > 1 else []
    if as_json:
        click.echo(json.dumps(_document(reports, shared), indent=2))
    else:
        for report in reports:
            _show(report)
        _list("images in several splits", shared)
        if repaired is not None:
            folder = reports[0].folder
            click.echo(f"{repaired}: what can be used; train on coco:{repaired},images={folder}")
    return EXIT_SOME_FAILED if shared or not all(one.is_complete for one in reports) else 0


@contextmanager
def _repairs(path: Path) -> Iterator[Callable[[CheckedImage], None]]:
    """Write images as they are checked to a COCO file; on any error, nothing is written."""
    from samkit.formats import Categories, category_entries, coco_writer

    categories = Categories()
    with coco_writer(path, lambda: category_entries(categories)) as writer:

        def keep(checked: CheckedImage) -> None:
            writer.add_image(checked.path, checked.size_hw, checked.annotations(categories.number))

        yield keep


def _document(reports: Sequence[DataReport], shared: Sequence[str]) -> dict[str, Any]:
    return {"data": [_facts(report) for report in reports], "shared": list(shared)}


def _facts(report: DataReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "format": report.format_name,
        "folder": str(report.folder),
        "images": report.num_images,
        "found": report.num_found,
        "unannotated": report.unannotated,
        "sizes": {f"{w}x{h}": count for (h, w), count in report.sizes_hw.most_common()},
        "annotations": report.num_annotations,
        "masks": report.num_masks,
        "joined": report.num_joined,
        "left_out": report.num_left_out,
        "classes": {name or "": count for name, count in report.classes.most_common()},
        "masks_by_size": dict(report.masks_by_size),
        "overlapping_images": report.num_overlapping,
        "shared_pixels": report.shared_pixels,
        "duplicates": [list(group) for group in report.duplicates],
        "faults": report.faults,
        "warnings": report.warnings,
        "notes": report.notes,
    }


def _show(report: DataReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in _rows(report):
        table.add_row(*row)
    Console(soft_wrap=False).print(table)
    _list("left out, or to be looked at", report.faults)
    _list("valid, but maybe not meant", report.warnings)
    _list("understood in an unusual way", report.notes)
    groups = [", ".join(group) for group in report.duplicates]
    _list("images with the same content", groups)


def _rows(report: DataReport) -> Iterator[tuple[str, str]]:
    yield "data", f"{report.path} ({report.format_name})"
    missing = report.num_images - report.num_found
    yield "images", f"{report.num_found:,} found in {report.folder}, {missing:,} missing"
    if report.unannotated:
        yield "", f"{len(report.unannotated):,} more without annotations"
    sizes = report.sizes_hw.most_common(3)
    shown = ", ".join(f"{w} x {h} ({count:,})" for (h, w), count in sizes)
    more = len(report.sizes_hw) - len(sizes)
    yield "sizes", f"{shown}{f', {more:,} more' if more else ''}" or "none"
    from samkit.datasets import SIZES_PX

    joined = f"{report.num_joined:,} joined to others, " if report.num_joined else ""
    masks = f"{counted(report.num_masks, 'mask')}, {joined}{report.num_left_out:,} left out"
    yield "annotations", f"{report.num_annotations:,}: {masks}"
    by_size = report.masks_by_size
    named = ", ".join(f"{name} {by_size[name]:,}" for name in SIZES_PX if by_size[name])
    yield "masks", named or "none"
    classes = report.classes.most_common(MOST_LINES)
    shown = ", ".join(f"{name or 'no class'} {count:,}" for name, count in classes)
    more = len(report.classes) - len(classes)
    yield "classes", f"{shown}{f', {more:,} more' if more else ''}" or "none"
    overlap = f"on {counted(report.num_overlapping, 'image')}"
    yield "overlaps", f"{overlap}; {100 * report.shared_pixels:.1f} % of the masks' pixels"


def _list(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    click.echo(f"\n{title} ({len(lines):,}):")
    for line in lines[:MOST_LINES]:
        click.echo(f"  {line}")
    if len(lines) > MOST_LINES:
        click.echo(f"  and {len(lines) - MOST_LINES:,} more (--json has all)")
