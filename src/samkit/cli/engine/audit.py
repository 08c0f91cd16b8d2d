"""The commands `samkit engine audit start|report`: how good automatic masks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.options import json_option
from samkit.cli.progress import progress
from samkit.cli.stores import (
    find_project,
    find_user,
    local_admin,
    open_store,
    project_option,
    store_option,
)
from samkit.cli.wording import counted
from samkit.errors import StoreError
from samkit.extras import require_packages

if TYPE_CHECKING:
    from samkit.dataengine import Project, QualityAudit, Store
    from samkit.learning import AuditFigures, Estimate

# Figures with their words, and whether they are shares.
ROWS = (
    ("iou_over_0.90", "pairs with IoU over 0.90", True),
    ("iou_over_0.75", "pairs with IoU over 0.75", True),
    ("mean_iou", "mean IoU of pairs", False),
    ("unchanged", "pairs that nobody changed", True),
    ("deleted", "automatic masks deleted", True),
    ("added", "corrected masks added", True),
    ("automatic_mean", "automatic masks per image, mean", False),
    ("automatic_median", "automatic masks per image, median", False),
    ("corrected_mean", "corrected masks per image, mean", False),
    ("corrected_median", "corrected masks per image, median", False),
    ("automatic_size", "size of automatic masks", False),
    ("corrected_size", "size of corrected masks", False),
    ("automatic_concavity", "concavity of automatic masks", False),
    ("corrected_concavity", "concavity of corrected masks", False),
)


@click.group()
def audit() -> None:
    """Measure automatic masks on a random sample of images that people correct."""


@audit.command()
@click.option(
    "--images",
    "num_images",
    type=click.IntRange(1),
    required=True,
    metavar="N",
    help="Number of images in the sample; the paper took 500.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the sample."
)
@store_option
@project_option
@click.option("--user", metavar="NAME", help="User who starts it; by default the admin.")
@json_option
def start(
    *, num_images: int, seed: int, where: str, project: str | None, user: str | None, as_json: bool
) -> None:
    """Draw a sample of images with automatic masks that nobody has touched.

    Annotators are offered these images first, and see that they are part of an audit.
    """
    from samkit.dataengine import start_quality_audit

    with open_store(where) as store:
        found = find_project(store, project)
        maker = local_admin(store) if user is None else find_user(store, user)
        one = start_quality_audit(
            store, found.id, num_images=num_images, seed=seed, user_id=maker.id
        )
    text = (
        f"{found.name}: audit {one.id} has {counted(one.num_images, 'image')} of"
        f" {one.num_untouched:,} with untouched automatic masks; annotators get them first"
    )
    click.echo(json.dumps(_head(found, one), indent=2) if as_json else text)


@audit.command()
@click.option(
    "--audit",
    "audit_id",
    type=click.IntRange(1),
    metavar="N",
    help="Number of the audit; by default the project's latest.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for audit.json and plots.",
)
@store_option
@project_option
@json_option
def report(
    *, audit_id: int | None, output: Path | None, where: str, project: str | None, as_json: bool
) -> None:
    """Compare automatic masks with what people made of them, as far as they have corrected them.

    \b
    samkit engine audit report -o audit
    """
    from samkit.dataengine import audited_images
    from samkit.files import make_folder, write_bytes

    plotting = () if output is None else ("matplotlib",)
    require_packages("samkit engine audit report", ("scipy", *plotting), "bench")
    from samkit.learning import measure_audit, write_audit_plots

    with open_store(where) as store:
        found = find_project(store, project)
        one = _find_audit(store, found, audit_id)
        with progress("image", one.num_images, bar=not as_json) as meter:
            figures = measure_audit(audited_images(store, one.id), on_image=meter.update)
    content = _head(found, one) | figures.to_json()
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        _print(found, one, figures)
    if output is not None:
        make_folder(output)
        write_bytes(output / "audit.json", json.dumps(content, indent=1).encode())
        names = ["audit.json", *(path.name for path in write_audit_plots(figures, output))]
        click.echo(f"{output}: {', '.join(names)}", err=as_json)


def _find_audit(store: Store, project: Project, audit_id: int | None) -> QualityAudit:
    """Find an audit of a project; the latest by default.

    Raises:
        StoreError: there is none, or none of this number.
    """
    from samkit.dataengine import list_quality_audits

    audits = list_quality_audits(store, project.id)
    if not audits:
        raise StoreError(f"{project.name} has no audit: start one with samkit engine audit start")
    for one in audits:
        if one.id == (audits[-1].id if audit_id is None else audit_id):
            return one
    numbers = ", ".join(str(one.id) for one in audits)
    raise StoreError(f"no audit {audit_id} of {project.name}; there are {numbers}")


def _head(project: Project, audit: QualityAudit) -> dict[str, Any]:
    return {
        "project": project.name,
        "audit": audit.id,
        "seed": audit.seed,
        "started": audit.created_at.isoformat(),
        "num_images": audit.num_images,
        "num_untouched": audit.num_untouched,
    }


def _print(project: Project, audit: QualityAudit, figures: AuditFigures) -> None:
    from rich.console import Console
    from rich.table import Table

    masks = figures.num_masks
    left = [f"{figures.num_open:,} open"] if figures.num_open else []
    left += [f"{figures.num_unusable:,} unusable"] if figures.num_unusable else []
    head = (
        f"{project.name}, audit {audit.id}: {len(figures.images):,} of"
        f" {counted(audit.num_images, 'image')} corrected{''.join(f', {one}' for one in left)}"
    )
    pairs = (
        f"{counted(masks['automatic'], 'automatic mask')}, {masks['corrected']:,} corrected;"
        f" {counted(masks['pairs'], 'pair')}: {masks['unchanged']:,} unchanged,"
        f" {masks['edited']:,} edited, {masks['redrawn']:,} redrawn; {masks['deleted']:,} deleted,"
        f" {masks['added']:,} added"
    )
    table = Table("", "", "95% interval", box=None, pad_edge=False, show_header=True)
    for name, words, is_share in ROWS:
        one = figures.estimates[name]
        table.add_row(words, *_cells(one, is_share=is_share))
    console = Console(soft_wrap=True)
    console.print(head, pairs, sep="\n", markup=False, highlight=False)
    console.print(table)


def _cells(one: Estimate, *, is_share: bool) -> tuple[str, str]:
    """A figure and its interval as text; the latter says so if there are too few images."""

    def text(value: float) -> str:
        return f"{100 * value:.1f}%" if is_share else f"{value:.3g}"

    if one.value is None:
        return "", ""
    if one.interval is None:
        return text(one.value), "too few images"
    low, high = one.interval
    return text(one.value), f"{text(low)} to {text(high)}"
