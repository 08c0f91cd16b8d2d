"""The command `samkit train`: training of SAM, or of SAM 2 on videos, by a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samkit.cli.progress import on_step_of, progress
from samkit.cli.training import (
    check_training,
    check_videos,
    print_once,
    print_plan,
    shown,
    training_options,
)
from samkit.cli.wording import counted
from samkit.weights import check_source

if TYPE_CHECKING:
    from samkit.training import Evaluate, SamRecipe, VideoRecipe

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
)
VIDEO_RECIPE_NAMES = ("video", "video_scenes")
# Name of the first metric for each `EvaluationRecipe.prompt`.
SCORES = {"click": "1-click mIoU", "text": "text-to-mask mIoU"}


@click.command()
@click.argument(
    "recipe_name", metavar="RECIPE", type=click.Choice(RECIPE_NAMES + VIDEO_RECIPE_NAMES)
)
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
    """Train a SAM, or a SAM 2 on videos. Settings are changed by key=value; --show lists them.

    \b
    samkit train scenes
    samkit train finetune data.train=coco:train.json data.val=coco:val.json
    samkit train video data.train=davis:DAVIS
    torchrun --nproc-per-node 8 -m samkit train vit_b data.train=shards:sa1b
    """
    from samkit.evaluation import validation_scores, video_scores
    from samkit.training import SAM_RECIPES, VIDEO_RECIPES, VideoRecipe, list_settings, override
    from samkit.training import train as run_training

    named: Mapping[str, Callable[[], SamRecipe | VideoRecipe]] = {**SAM_RECIPES, **VIDEO_RECIPES}
    recipe = override(named[recipe_name](), changes)
    if show:
        click.echo(shown(list_settings(recipe), as_json=as_json))
        return
    if recipe.model.weights is not None:
        check_source(recipe.model.weights)
    evaluate: Evaluate[Any] | None
    if isinstance(recipe, VideoRecipe):
        data = check_videos(output, recipe.data.train, resume=resume)
        evaluate = video_scores(recipe)
    else:
        data = check_training(output, recipe.data.train, resume=resume, seed=recipe.run.seed)
        evaluate = validation_scores(recipe)
    print_plan(recipe.run, describe_batch(recipe), data, resume=resume, quiet=as_json)
    with progress("step", recipe.run.steps, bar=not as_json) as meter:
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
    result = {
        "best": str(trained.best),
        "best_score": trained.best_score,
        "last": str(trained.last),
        "seconds": round(trained.seconds, 1),
    }
    score = ""
    if trained.best_score is not None:
        score = f", {name_of_score(recipe)} {trained.best_score:.3f}"
    text = f"{trained.best}{score}, after {trained.seconds:.0f} s; log in {output / 'log.csv'}"
    print_once(json.dumps(result, indent=2) if as_json else text)


def describe_batch(recipe: SamRecipe | VideoRecipe) -> str:
    """Size of a batch in each process, such as "4 images, up to 16 masks each"."""
    from samkit.training import VideoRecipe

    if isinstance(recipe, VideoRecipe):
        clips, objects = (
            counted(recipe.data.clips_per_batch, "clip"),
            counted(recipe.data.max_objects, "object"),
        )
        return f"{clips} of {recipe.data.frames} frames, up to {objects} each"
    images = counted(recipe.data.images_per_batch, "image")
    return f"{images}, up to {counted(recipe.data.max_masks_per_image, 'mask')} each"


def name_of_score(recipe: SamRecipe | VideoRecipe) -> str:
    """Name of the metric that chooses the best weights."""
    from samkit.training import VideoRecipe

    return "J&F" if isinstance(recipe, VideoRecipe) else SCORES[recipe.evaluation.prompt]
