"""`samkit pretrain`: MAE pre-training of a ViT image encoder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from samkit.cli.steps import step_bar
from samkit.cli.training import check_new, shown, tell, training_options

RECIPE_NAMES = ("scenes", "vit_b", "vit_l", "vit_h")


@click.command()
@click.argument("recipe_name", metavar="RECIPE", type=click.Choice(RECIPE_NAMES))
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
    """Pre-train an image encoder on photos without masks, by drawing what is hidden of them.

    \b
    samkit pretrain scenes
    samkit train scenes model.encoder_weights=samkit-pretraining/last.safetensors
    """
    from samkit.training.pretrain import PICTURES, PRETRAIN_RECIPES
    from samkit.training.recipe import override, settings

    recipe = override(PRETRAIN_RECIPES[recipe_name](), changes)
    if show:
        click.echo(shown(settings(recipe), as_json=as_json))
        return
    from samkit.training.pretrain import pretrain as run_pretraining

    check_new(output, resume=resume)
    with step_bar(hidden=as_json) as on_step:
        trained = run_pretraining(recipe, output, resume=resume, on_step=on_step)
    result = {
        "last": str(trained.last),
        "pictures": str(output / PICTURES),
        "seconds": round(trained.seconds, 1),
    }
    text = (
        f"{trained.last}, after {trained.seconds:.0f} s; reconstructions in {output / PICTURES},"
        f" log in {output / 'log.csv'}"
    )
    tell(json.dumps(result, indent=2) if as_json else text)
