"""`samkit train`: SAM from a recipe, with settings changed by key=value."""

from __future__ import annotations

import json
from pathlib import Path

import click

from samkit.cli.steps import embedding_bar, training_bars
from samkit.cli.training import check_new, shown, tell, training_options

RECIPE_NAMES = (
    "scenes",
    "scenes_long",
    "named_text",
    "text",
    "finetune",
    "lora",
    "vit_b",
    "vit_l",
    "vit_h",
)
# Of `EvaluationRecipe.prompt`: the protocol's name, and of its first metric.
SCORES = {"click": "1-click mIoU", "text": "text-to-mask mIoU"}


@click.command()
@click.argument("recipe_name", metavar="RECIPE", type=click.Choice(RECIPE_NAMES))
@training_options("samkit-training")
def train(
    *,
    recipe_name: str,
    changes: tuple[str, ...],
    output: Path,
    resume: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Train a SAM. Settings are changed by key=value; --show lists them.

    \b
    samkit train scenes
    samkit train finetune data.train=coco:train.json data.val=coco:val.json
    torchrun --nproc-per-node 8 -m samkit train vit_b data.train=shards:sa1b
    """
    from samkit.evaluation import validation_scores
    from samkit.training import SAM_RECIPES, list_settings, override
    from samkit.training import train as run_training

    recipe = override(SAM_RECIPES[recipe_name](), changes)
    if show:
        click.echo(shown(list_settings(recipe), as_json=as_json))
        return
    check_new(output, resume=resume)
    with (
        embedding_bar(hidden=as_json) as on_crops,
        training_bars(hidden=as_json) as (on_step, on_embedding),
    ):
        trained = run_training(
            recipe,
            output,
            resume=resume,
            evaluate=validation_scores(recipe),
            on_step=on_step,
            on_embedding=on_embedding,
            on_crops=on_crops,
        )
    result = {
        "best": str(trained.best),
        "best_score": trained.best_score,
        "last": str(trained.last),
        "seconds": round(trained.seconds, 1),
    }
    score = ""
    if trained.best_score is not None:
        score = f", {SCORES[recipe.evaluation.prompt]} {trained.best_score:.3f}"
    text = f"{trained.best}{score}, after {trained.seconds:.0f} s; log in {output / 'log.csv'}"
    tell(json.dumps(result, indent=2) if as_json else text)
