"""`samkit train`: trains a SAM by a recipe, whose settings are changed by key=value."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samkit.cli.progress import on_step_of, progress
from samkit.cli.training import check_training, print_once, print_plan, shown, training_options
from samkit.cli.wording import counted
from samkit.errors import ConfigError, DataError
from samkit.weights.catalog import check_source

if TYPE_CHECKING:
    from samkit.training.sam.recipes import TrainRecipe
    from samkit.training.task import Task

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
# The name of the first metric, by `EvaluationRecipe.prompt`.
SCORES = {"click": "1-click mIoU", "text": "text-to-mask mIoU"}
# The metrics that are logged at each evaluation; the first one chooses the best weights.
LOGGED_METRICS = ("miou", "oracle_miou", "text_miou", "text_corrected_miou", "text_pairs_right")


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
    from samkit.training.sam.recipes import RECIPES
    from samkit.training.settings import override, settings

    recipe = override(RECIPES[recipe_name](), changes)
    if show:
        click.echo(shown(settings(recipe), as_json=as_json))
        return
    from samkit.training.sam.run import train_sam

    if recipe.model.weights is not None:
        check_source(recipe.model.weights)
    data = check_training(output, recipe.data.train, resume=resume, seed=recipe.run.seed)
    evaluate = evaluation(recipe)
    images = counted(recipe.data.images_per_batch, "image")
    batch = f"{images}, up to {counted(recipe.data.max_masks_per_image, 'mask')} each"
    print_plan(recipe.run, batch, data, resume=resume, quiet=as_json)
    with progress("step", recipe.run.steps, bar=not as_json) as meter:
        meter.start()
        trained = train_sam(
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
        score = f", {SCORES[recipe.evaluation.prompt]} {trained.best_score:.3f}"
    text = f"{trained.best}{score}, after {trained.seconds:.0f} s; log in {output / 'log.csv'}"
    print_once(json.dumps(result, indent=2) if as_json else text)


def evaluation(recipe: TrainRecipe) -> Callable[[Task], dict[str, float]] | None:
    """A function that scores a task on the recipe's validation images; None if it has none.

    An image encoder that does not learn runs once for each image.
    """
    from samkit.datasets.registry import open_data
    from samkit.datasets.sample import Sample, SampleStream
    from samkit.evaluation.one_click import OneClick
    from samkit.evaluation.protocol import EvaluationProtocol
    from samkit.evaluation.text import TextToMask
    from samkit.evaluation.truth import MIN_AREA_PX, MaskChoice
    from samkit.text import Clip
    from samkit.training.held_out import readable
    from samkit.training.sam.run import task_predictor
    from samkit.training.sam.task import InteractiveTask
    from samkit.types import ImageEmbedding

    if recipe.data.val is None:
        return None
    source = open_data(recipe.data.val)
    if isinstance(source, SampleStream):
        raise ConfigError("data.val must be a numbered data set, not tar shards")
    held_out = cache(lambda: readable(source, recipe.evaluation.images))
    cached: dict[str, ImageEmbedding] = {}
    choice = MaskChoice(masks_per_image=recipe.evaluation.masks_per_image)
    protocols: dict[str, Callable[[], EvaluationProtocol]] = {
        "click": lambda: OneClick(choice=choice),
        "text": lambda: TextToMask(choice=choice),
    }
    protocol = protocols[recipe.evaluation.prompt]()
    clip = cache(lambda: Clip.load(str(recipe.model.text_encoder)))

    def evaluate(task: Task) -> dict[str, float]:
        assert isinstance(task, InteractiveTask)
        device = next(task.parameters()).device
        asks_text = recipe.evaluation.prompt == "text"
        predictor = task_predictor(task, device, clip=clip() if asks_text else None)

        def embed(sample: Sample) -> ImageEmbedding:
            if task.trainable.encoder_learns:
                return predictor.embed(sample.image)
            if sample.key not in cached:
                cached[sample.key] = predictor.embed(sample.image)
            return cached[sample.key]

        images = held_out()
        samples = (images[index] for index in range(len(images)))
        results = [protocol.measure(predictor, embed(sample), sample) for sample in samples]
        if not any(result["masks"] for result in results):
            named = "mask with a name" if asks_text else "mask"
            raise DataError(
                f"{recipe.data.val}: the first {recipe.evaluation.images} images have no {named} of"
                f" {MIN_AREA_PX} pixels or more to evaluate with"
            )
        metrics = protocol.summarise(results).metrics
        return {name: metrics[name] for name in LOGGED_METRICS if name in metrics}

    return evaluate
