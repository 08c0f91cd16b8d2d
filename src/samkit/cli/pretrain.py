"""`samkit pretrain`: MAE pre-training of a ViT image encoder; a small CLIP from nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samkit.cli.steps import step_bar
from samkit.cli.training import check_new, shown, tell, training_options

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
    """Pre-train an image encoder on images without masks, by drawing what is hidden of them.

    Or, with clip_named, a small CLIP on images whose masks have names, for text prompts.

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
    check_new(output, resume=resume)
    result = run(recipe, output, resume=resume, hidden=as_json)
    if as_json:
        tell(json.dumps(result, indent=2))
        return
    what = ", ".join(f"{name} in {path}" for name, path in result.items() if name != "seconds")
    tell(f"{what}, after {result['seconds']:.0f} s; log in {output / 'log.csv'}")


def pretraining_recipes() -> dict[str, Callable[[], Any]]:
    """All recipes by name, of either kind."""
    from samkit.training import CLIP_RECIPES, MAE_RECIPES

    return {**MAE_RECIPES, **CLIP_RECIPES}


def run(recipe: Any, output: Path, *, resume: bool, hidden: bool) -> dict[str, Any]:
    """Pre-train what a recipe says; return what came of it, and the seconds."""
    from samkit.training import CLIP_FOLDER, PICTURES, MaeRecipe, train

    with step_bar(hidden=hidden) as on_step:
        trained = train(recipe, output, resume=resume, on_step=on_step)
    if isinstance(recipe, MaeRecipe):
        made = {"last": str(trained.last), "pictures": str(output / PICTURES)}
    else:
        made = {"clip": str(output / CLIP_FOLDER)}
    return {**made, "seconds": round(trained.seconds, 1)}
