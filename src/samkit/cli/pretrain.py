"""The command `samkit pretrain`: MAE pre-training of image encoders, and a small CLIP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samkit.cli.progress import on_step_of, progress
from samkit.cli.training import check_training, print_once, print_plan, shown, training_options
from samkit.cli.wording import counted

RECIPE_NAMES = ("scenes", "vit_b", "vit_l", "vit_h")
CLIP_RECIPE_NAMES = ("clip_named",)


@click.command()
@click.argument(
    "recipe_name", metavar="RECIPE", type=click.Choice(RECIPE_NAMES + CLIP_RECIPE_NAMES)
)
@training_options("samkit-pretraining")
def pretrain(
    *,
    recipe_name: str,
    changes: tuple[str, ...],
    output: Path,
    resume: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Pre-train an image encoder on images without masks, as a masked autoencoder (MAE).

    The recipe clip_named trains a small CLIP on images with named masks, for text prompts.

    \b
    samkit pretrain scenes
    samkit train scenes model.encoder_weights=samkit-pretraining/last.safetensors
    samkit pretrain clip_named -o clip
    samkit train named_text model.text_encoder=clip/clip
    """
    from samkit.training import list_settings, override

    recipe = override(pretraining_recipes()[recipe_name](), changes)
    if show:
        click.echo(shown(list_settings(recipe), as_json=as_json))
        return
    result = run(recipe, output, resume=resume, as_json=as_json)
    if as_json:
        print_once(json.dumps(result, indent=2))
        return
    what = ", ".join(f"{name} in {path}" for name, path in result.items() if name != "seconds")
    print_once(f"{what}, after {result['seconds']:.0f} s; log in {output / 'log.csv'}")


def pretraining_recipes() -> dict[str, Callable[[], Any]]:
    """Return all recipes of both kinds by name."""
    from samkit.training import CLIP_RECIPES, MAE_RECIPES

    return {**MAE_RECIPES, **CLIP_RECIPES}


def run(recipe: Any, output: Path, *, resume: bool, as_json: bool) -> dict[str, Any]:
    """Run a recipe; return the paths of its results, and the seconds."""
    from samkit.training import CLIP_FOLDER, PICTURES, MaeRecipe, train

    is_mae = isinstance(recipe, MaeRecipe)
    images = recipe.data.train if is_mae else recipe.train
    data = check_training(output, images, resume=resume, seed=recipe.run.seed)
    if is_mae:
        batch = counted(recipe.data.images_per_batch, "image")
    else:
        batch = counted(recipe.crops, "crop")
    print_plan(recipe.run, batch, data, resume=resume, quiet=as_json)
    with progress("step", recipe.run.steps, bar=not as_json) as meter:
        meter.start()
        trained = train(recipe, output, resume=resume, on_step=on_step_of(meter))
    if is_mae:
        made = {"last": str(trained.last), "pictures": str(output / PICTURES)}
    else:
        made = {"clip": str(output / CLIP_FOLDER)}
    return {**made, "seconds": round(trained.seconds, 1)}
