"""The command `samkit distill`: distillation of a large image encoder into a small one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.cli.progress import on_step_of, progress
from samkit.cli.training import check_training, print_once, print_plan, shown, training_options
from samkit.cli.wording import counted
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.training import Distilled

RECIPE_NAMES = ("scenes", "mobile_sam")


@click.command()
@click.argument("recipe_name", metavar="RECIPE", type=click.Choice(RECIPE_NAMES))
@training_options("samkit-distillation")
def distill(
    *,
    recipe_name: str,
    changes: tuple[str, ...],
    output: Path,
    resume: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Train a small image encoder to reproduce a large one's features; the mask decoder stays.

    \b
    samkit distill mobile_sam data.train=shards:sa1b
    samkit train scenes; samkit distill scenes teacher=samkit-training/best.safetensors
    """
    from samkit.training import DISTILL_RECIPES, Distilled, list_settings, override, train

    recipe = override(DISTILL_RECIPES[recipe_name](), changes)
    if show:
        click.echo(shown(list_settings(recipe), as_json=as_json))
        return
    data = check_training(output, recipe.data.train, resume=resume, seed=recipe.run.seed)
    check_source(recipe.teacher)
    images = counted(recipe.data.images_per_batch, "image")
    print_plan(recipe.run, images, data, resume=resume, quiet=as_json)
    with progress("step", recipe.run.steps, bar=not as_json) as meter:
        meter.start()
        distilled = train(recipe, output, resume=resume, on_step=on_step_of(meter))
    assert isinstance(distilled, Distilled)
    print_once(report(distilled, output, as_json=as_json))


def report(distilled: Distilled, folder: Path, *, as_json: bool) -> str:
    """Describe the files written, and student against teacher before and after."""
    before, after = distilled.before, distilled.after
    if as_json:
        result = {
            "best": str(distilled.best),
            "last": str(distilled.last),
            "seconds": round(distilled.seconds, 1),
            "before": asdict(before),
            "after": asdict(after),
        }
        return json.dumps(result, indent=2)
    rows = [
        ("error of features, of their variance", before.relative_error, after.relative_error),
        ("IoU of masks, for a point", before.point_iou, after.point_iou),
        ("IoU of masks, for a box", before.box_iou, after.box_iou),
    ]
    lines = [f"  {what:<38}{first:.3f}  {last:.3f}" for what, first, last in rows]
    return "\n".join(
        [
            f"{distilled.best}, after {distilled.seconds:.0f} s; log in {folder / 'log.csv'}",
            f"compared with its teacher, {after.masks} prompts of each kind, before and after:",
            *lines,
        ]
    )
