"""The function `train`, which runs any recipe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from samkit.datasets import SampleSource, SampleStream
from samkit.training.distill.recipe import DistillRecipe
from samkit.training.distill.setup import set_up_distillation
from samkit.training.distributed import launch
from samkit.training.loop import Progress, Trained, fit
from samkit.training.mae.recipe import MaeRecipe
from samkit.training.mae.setup import set_up_mae
from samkit.training.proposals.recipe import ProposalRecipe
from samkit.training.proposals.setup import set_up_proposals
from samkit.training.sam.recipe import SamRecipe
from samkit.training.sam.setup import set_up_sam
from samkit.training.settings import list_settings
from samkit.training.setup import Context, OnImage, Setup
from samkit.training.task import Evaluate
from samkit.training.text.recipe import ClipRecipe
from samkit.training.text.setup import set_up_clip
from samkit.training.video.recipe import VideoRecipe
from samkit.training.video.setup import set_up_video

logger = logging.getLogger(__name__)

Recipe: TypeAlias = (
    SamRecipe | VideoRecipe | ProposalRecipe | MaeRecipe | DistillRecipe | ClipRecipe
)

SETUPS: Mapping[type, Callable[[Any, Context], Setup[Any]]] = {
    SamRecipe: set_up_sam,
    MaeRecipe: set_up_mae,
    DistillRecipe: set_up_distillation,
    ClipRecipe: set_up_clip,
    ProposalRecipe: set_up_proposals,
    VideoRecipe: set_up_video,
}


def train(
    recipe: Recipe,
    folder: Path,
    *,
    source: SampleSource | SampleStream | None = None,
    evaluate: Evaluate[Any] | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_embedding: OnImage | None = None,
    on_crops: OnImage | None = None,
    resume: bool = False,
) -> Trained:
    """Train what a recipe describes: SAM, SAM 2 on videos, a proposal head, MAE, and others.

        recipe = override(finetune(), ["data.train=coco:train.json"])
        trained = train(recipe, Path("mine"))

    Args:
        recipe: all settings.
        folder: output folder for checkpoints, exported weights and logs.
        source: data set to train on, instead of the one that the recipe names.
        evaluate: returns scores of the task in training, higher is better; the first one chooses
            the best weights. By default the task's own evaluation; SAM has none here, see
            `samkit.evaluation.validation_scores` and `video_scores`.
        on_step: called after each step.
        on_embedding: called after each image that is encoded for the embedding cache, with the
            number of images encoded so far and of all images.
        on_crops: the same for images whose mask crops CLIP encodes, before the first step.
        resume: continue from the folder's checkpoint, if it has one.

    Returns:
        exported weights and scores; `Distilled` for a distillation.

    Raises:
        ConfigError: settings do not fit together, or do not fit the checkpoint; `RecipeError` if
            this is of another recipe.
        DataError: the data set is missing or invalid, or has no usable image.
        WeightsError: weights are missing, damaged or do not fit.
        EmbeddingError: cached embeddings cannot be used.
        OutputError: the folder cannot be written, or the disk is full.
        TrainingError: the loss is not finite, memory is too small, or another process has failed.
        KeyboardInterrupt: stopped from outside, after saving.
    """
    fabric = launch(recipe.run)
    context = Context(
        fabric=fabric,
        folder=folder,
        source=source,
        on_embedding=on_embedding,
        on_crops=on_crops,
    )
    setup = SETUPS[type(recipe)](recipe, context)
    scores = evaluate or setup.evaluate
    if scores is None and (unused := unused_validation(recipe)) is not None:
        logger.warning(
            "data.val is not evaluated, since train() was called without evaluate=: see"
            " samkit.evaluation.%s",
            unused,
        )
    with setup.loader:
        trained = fit(
            setup.task,
            setup.loader,
            optim=recipe.optim,
            run=recipe.run,
            folder=folder,
            settings=list_settings(recipe),
            evaluate=scores,
            on_evaluation=setup.on_evaluation,
            on_step=on_step,
            resume=resume,
            fabric=fabric,
        )
    return trained if setup.finish is None else setup.finish(trained)


def unused_validation(recipe: Recipe) -> str | None:
    """What would evaluate a recipe's `data.val`, if it names any and has no evaluation of its own.

    The evaluation uses this package, and so cannot be called from here.
    """
    if isinstance(recipe, SamRecipe) and recipe.data.val is not None:
        return "validation_scores"
    if isinstance(recipe, VideoRecipe) and recipe.data.val is not None:
        return "video_scores"
    return None
