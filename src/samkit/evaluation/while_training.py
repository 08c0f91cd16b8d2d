"""Evaluation of a SAM in training on its recipe's validation images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from samkit.datasets import Sample, SampleSource, open_data, require_indexed
from samkit.errors import DataError, ImageError
from samkit.evaluation.one_click import OneClick
from samkit.evaluation.protocol import EvaluationProtocol
from samkit.evaluation.text import TextToMask
from samkit.evaluation.truth import MIN_AREA_PX, MaskChoice

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.text import Clip
    from samkit.training import InteractiveTask, SamRecipe
    from samkit.types import ImageEmbedding

# Metrics that are logged; the first one of a protocol chooses the best weights.
LOGGED_METRICS = ("miou", "oracle_miou", "text_miou", "text_corrected_miou", "text_pairs_right")

logger = logging.getLogger(__name__)


def validation_scores(
    recipe: SamRecipe,
) -> Callable[[InteractiveTask], dict[str, float]] | None:
    """Make a function that scores a task on `data.val`; None if the recipe names no such images.

        train(recipe, folder, evaluate=validation_scores(recipe))

    If the image encoder is frozen, it runs once for each image.

    Raises:
        DataError: the data set is missing or invalid.
        ConfigError: the data set is a stream.
    """
    if recipe.data.val is None:
        return None
    name, most = recipe.data.val, recipe.evaluation.images
    source = require_indexed(open_data(name), "evaluations during training (data.val)")
    held_out = cache(lambda: readable_images(source, most))
    embeddings: dict[str, ImageEmbedding] = {}
    choice = MaskChoice(masks_per_image=recipe.evaluation.masks_per_image)
    protocols: dict[str, Callable[[], EvaluationProtocol]] = {
        "click": lambda: OneClick(choice=choice),
        "text": lambda: TextToMask(choice=choice),
    }
    protocol = protocols[recipe.evaluation.prompt]()
    uses_text = recipe.evaluation.prompt == "text"

    @cache
    def load_clip() -> Clip:
        from samkit.text import Clip

        return Clip.load(str(recipe.model.text_encoder))

    def evaluate(task: InteractiveTask) -> dict[str, float]:
        import torch

        # What a task compiles is for the shapes of its batches.
        with torch.compiler.set_stance("force_eager"):
            return scores_of(task)

    def scores_of(task: InteractiveTask) -> dict[str, float]:
        from samkit.training import task_predictor

        device = next(task.parameters()).device
        predictor = task_predictor(task, device, clip=load_clip() if uses_text else None)

        def embed(sample: Sample) -> ImageEmbedding:
            if task.trainable.encoder_learns:
                return predictor.embed(sample.image)
            if sample.key not in embeddings:
                embeddings[sample.key] = predictor.embed(sample.image)
            return embeddings[sample.key]

        samples = (source[index] for index in held_out())
        results = [protocol.measure(predictor, embed(sample), sample) for sample in samples]
        if not any(result["masks"] for result in results):
            kind = "mask with a name" if uses_text else "mask"
            raise DataError(
                f"{name}: the first {most} images have no {kind} of {MIN_AREA_PX} pixels or more to"
                " evaluate on"
            )
        metrics = protocol.summarise(results).metrics
        return {name: metrics[name] for name in LOGGED_METRICS if name in metrics}

    return evaluate


def readable_images(source: SampleSource, images: int) -> list[int]:
    """Return the indices of the first `images` images that are not broken; log broken ones."""
    indices = []
    for index in range(min(images, len(source))):
        try:
            source[index]
        except (DataError, ImageError) as error:  # noqa: PERF203 - the others are not affected
            logger.warning("skipped %s: %s", source.key(index), error)
        else:
            indices.append(index)
    return indices
