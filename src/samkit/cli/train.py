"""The command `samkit train`: training of SAM, or of a proposal head, by a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.cli.progress import on_step_of, progress
from samkit.cli.training import check_training, print_once, print_plan, shown, training_options
from samkit.cli.wording import counted
from samkit.weights import check_source

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.training import ProposalRecipe, SamRecipe, Trained

RECIPE_NAMES = (
    "scenes",
    "scenes_long",
    "named_text",
    "text",
    "finetune",
    "tuned",
    "lora",
    "vit_b",
    "vit_l",
    "vit_h",
    "proposals",
)
# Name of the first metric for each `EvaluationRecipe.prompt`.
SCORES = {"click": "1-click mIoU", "text": "text-to-mask mIoU"}
BOX_SCORE = "recall of boxes, AR@100,"


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
    """Train a SAM, or a proposal head. Settings are changed by key=value; --show lists them.

    \b
    samkit train scenes
    samkit train finetune data.train=coco:train.json data.val=coco:val.json
    samkit train proposals data.train=coco:train.json data.val=coco:val.json
    torchrun --nproc-per-node 8 -m samkit train vit_b data.train=shards:sa1b
    """
    from samkit.training import PROPOSAL_RECIPES, SAM_RECIPES, list_settings, override

    if recipe_name in PROPOSAL_RECIPES:
        recipe: SamRecipe | ProposalRecipe = PROPOSAL_RECIPES[recipe_name]()
    else:
        recipe = SAM_RECIPES[recipe_name]()
    recipe = override(recipe, changes)
    if show:
        click.echo(shown(list_settings(recipe), as_json=as_json))
        return
    trained, score_name = run_recipe(recipe, output, resume=resume, quiet=as_json)
    result = {
        "best": str(trained.best),
        "best_score": trained.best_score,
        "last": str(trained.last),
        "seconds": round(trained.seconds, 1),
    }
    score = ""
    if trained.best_score is not None:
        score = f", {score_name} {trained.best_score:.3f}"
    text = f"{trained.best}{score}, after {trained.seconds:.0f} s; log in {output / 'log.csv'}"
    print_once(json.dumps(result, indent=2) if as_json else text)


def run_recipe(
    recipe: SamRecipe | ProposalRecipe, output: Path, *, resume: bool, quiet: bool
) -> tuple[Trained, str]:
    """Check and run a training, with progress; return its result and the name of its score."""
    from samkit.training import SamRecipe
    from samkit.training import train as run_training

    images = counted(recipe.data.images_per_batch, "image")
    if isinstance(recipe, SamRecipe):
        from samkit.evaluation import validation_scores

        weights, score_name = recipe.model.weights, SCORES[recipe.evaluation.prompt]
        batch = f"{images}, up to {counted(recipe.data.max_masks_per_image, 'mask')} each"
    else:
        weights, score_name, batch = recipe.model, BOX_SCORE, images
    if weights is not None:
        check_source(weights)
    data = check_training(output, recipe.data.train, resume=resume, seed=recipe.run.seed)
    evaluate = validation_scores(recipe) if isinstance(recipe, SamRecipe) else None
    print_plan(recipe.run, batch, data, resume=resume, quiet=quiet)
    with progress("step", recipe.run.steps, bar=not quiet) as meter:
        meter.start()
        trained = run_training(
            recipe,
            output,
            resume=resume,
            evaluate=evaluate,
            on_step=on_step_of(meter),
            on_embedding=meter.beside("image embedding").update,
            on_crops=meter.beside("image with crops").update,
        )
    return trained, score_name
