"""Setup of SAM 2's training on videos."""

import torch

from samkit.datasets import VideoSource, open_videos
from samkit.errors import ConfigError
from samkit.training.sam.trainable import build_trainable
from samkit.training.setup import Context, Setup
from samkit.training.video.likeness import begin_from_likeness
from samkit.training.video.loader import VideoLoader
from samkit.training.video.recipe import VideoRecipe
from samkit.training.video.task import VideoTask


def set_up_video(recipe: VideoRecipe, context: Context) -> Setup[VideoTask]:
    """Prepare a training of SAM 2 on videos; it has no evaluation of its own.

    Raises:
        WeightsError, DataError, ConfigError: weights, data and settings are missing, invalid or do
            not fit.
    """
    if context.source is not None:
        raise ConfigError("a training on videos takes its data from data.train alone")
    fabric = context.fabric
    source = open_training_videos(recipe.data.train)
    torch.manual_seed(recipe.run.seed)  # for random initial weights
    task = VideoTask(build_trainable(recipe.model), recipe.session)
    if recipe.model.weights is None:
        begin_from_likeness(task.sam)
    loader = VideoLoader(
        source,
        recipe.data,
        task.sam.config.image_size,
        recipe.truth_size,
        seed=recipe.run.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    return Setup(task=task, loader=loader)


def open_training_videos(spec: str | None) -> VideoSource:
    """Open the videos that `data.train` names.

    Raises:
        ConfigError: it names none.
        DataError: they are missing or invalid.
    """
    if spec is None:
        raise ConfigError(
            "no videos to train on: give data.train=davis:FOLDER, or moving:DATA for clips made of"
            " still images with masks, such as data.train=moving:coco:FILE.json"
        )
    return open_videos(spec)
