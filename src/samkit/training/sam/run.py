"""From a recipe to a trained SAM: the network, its data, and the loop that brings them together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from samkit.backends import create_backend
from samkit.datasets.registry import open_data
from samkit.datasets.sample import SampleSource, SampleStream, require_indexed
from samkit.errors import DataError
from samkit.models import CONFIGS
from samkit.predict import Predictor
from samkit.training.data.crop_embeds import CropEmbeddedData, cache_crop_embeds
from samkit.training.data.embeddings import EmbeddedData, cache_embeddings
from samkit.training.data.loader import BatchLoader
from samkit.training.distributed import all_ranks_or_fail
from samkit.training.loop import Evaluate, Progress, Trained, launch, train
from samkit.training.oom_hints import oom_hints
from samkit.training.sam.recipes import TrainRecipe
from samkit.training.sam.task import InteractiveTask
from samkit.training.sam.trainable import build_trainable
from samkit.training.settings import settings
from samkit.weights.checkpoint import TextEncoder

logger = logging.getLogger(__name__)

IMAGES_TRIED = 200  # to see how many masks are large enough for crops
FEW_MASKS = 0.1  # of them: below, it is told

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from samkit.models import Sam
    from samkit.text import Clip


def train_sam(
    recipe: TrainRecipe,
    folder: Path,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_embedding: Callable[[int, int], None] | None = None,
    on_crops: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train SAM as a recipe says.

    Args:
        recipe: all settings.
        folder: for checkpoints, exported weights and logs.
        resume: go on from the folder's checkpoint, if it has one.
        evaluate: gives scores of an `InteractiveTask`.
        on_step: called after each step.
        on_embedding: called with images done and all, while embeddings are made.
        on_crops: likewise, while CLIP sees crops of masks.

    Raises:
        WeightsError, DataError, ConfigError, EmbeddingError, OutputError, TrainingError: see
            `build_trainable`, `open_data`, `BatchLoader`, `cache_embeddings` and `train`.
    """
    fabric = launch(recipe.run)
    clip = load_clip(recipe, fabric)
    text_encoder = text_encoder_of(clip)
    torch.manual_seed(recipe.run.seed)  # for weights that begin fresh
    task = InteractiveTask(build_trainable(recipe.model, text_encoder), recipe.session)
    source = open_data(recipe.data.train, seed=recipe.run.seed)
    if clip is not None and recipe.session.prompts.text_probability > 0:
        source = with_crop_embeds(source, recipe, clip, fabric, on_crops)
    del clip  # as large as the network, and not needed any more
    if recipe.embeddings is not None:
        source = embedded(source, recipe, task.sam, fabric, on_embedding)
    loader = BatchLoader(
        source,
        recipe.data,
        CONFIGS[recipe.model.config].image_size,
        recipe.truth_size,
        seed=recipe.run.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    with loader:
        return train(
            task,
            loader,
            optim=recipe.optim,
            run=recipe.run,
            folder=folder,
            settings=settings(recipe),
            evaluate=evaluate,
            on_step=on_step,
            resume=resume,
            fabric=fabric,
        )


def load_clip(recipe: TrainRecipe, fabric: Fabric) -> Clip | None:
    """The CLIP that text prompts are of; None for a recipe without.

    Raises:
        ConfigError, WeightsError, DownloadError: as `Clip.load`.
    """
    if recipe.model.text_encoder is None:
        return None
    from samkit.text import Clip

    return Clip.load(recipe.model.text_encoder, device=str(fabric.device))


def text_encoder_of(clip: Clip | None) -> TextEncoder | None:
    """What a model remembers of the CLIP of its text prompts."""
    if clip is None:
        return None
    return TextEncoder(source=clip.source, fingerprint=clip.fingerprint, dim=clip.dim)


def with_crop_embeds(
    source: SampleSource | SampleStream,
    recipe: TrainRecipe,
    clip: Clip,
    fabric: Fabric,
    on_progress: Callable[[int, int], None] | None,
) -> CropEmbeddedData:
    """A data set with what CLIP sees in crops of its masks, which is made where it is missing.

    Raises:
        ConfigError: the data set is a stream.
        EmbeddingError: the folder holds what another CLIP saw.
        DataError: no mask is large enough.
    """
    source = require_indexed(source, "text prompts")
    rank, world = fabric.global_rank, fabric.world_size
    with oom_hints(), all_ranks_or_fail(fabric):
        cache_crop_embeds(clip, source, recipe.crops, on_progress, rank=rank, world=world)
    coded = CropEmbeddedData(source, recipe.crops, clip_fingerprint=clip.fingerprint)
    share = coded.share_with_embeds(IMAGES_TRIED)
    least = recipe.crops.min_area_px
    if share == 0:
        raise DataError(f"no mask has {least} pixels for text prompts: lower crops.min_area_px")
    if share < FEW_MASKS:
        logger.warning("%.0f%% of the masks have %d pixels for text prompts", 100 * share, least)
    return coded


def embedded(
    source: SampleSource | SampleStream,
    recipe: TrainRecipe,
    sam: Sam,
    fabric: Fabric,
    on_progress: Callable[[int, int], None] | None,
) -> EmbeddedData:
    """A data set with its embeddings, which are made where they are missing.

    Raises:
        ConfigError: the data set is a stream.
        EmbeddingError: the folder holds embeddings of another encoder.
    """
    source = require_indexed(source, "kept embeddings")
    assert recipe.embeddings is not None
    folder = Path(recipe.embeddings)
    device = str(fabric.device)
    with oom_hints(), all_ranks_or_fail(fabric):
        backend = create_backend(sam.eval(), backend="auto", precision="float32", device=device)
        predictor = Predictor(sam, model_name=recipe.model.config, backend=backend)
        # All at once: one of them alone would let the others wait longer than they do.
        rank, world = fabric.global_rank, fabric.world_size
        cache_embeddings(predictor, source, folder, on_progress, rank=rank, world=world)
    return EmbeddedData(source, folder, predictor)


def task_predictor(
    task: InteractiveTask, device: torch.device | str, *, clip: Clip | None = None
) -> Predictor:
    """A predictor of a network in training, in float32 on a device; switches it to evaluation.

    Args:
        task: of the network.
        device: where it is.
        clip: what encodes its text prompts, if it is to be asked with text.
    """
    sam = task.sam.eval()
    backend = create_backend(sam, backend="torch", precision="float32", device=str(device))
    text_model = None
    if clip is not None:
        from samkit.text import TextPrompter

        text_model = TextPrompter(clip)
    return Predictor(
        sam,
        model_name=task.trainable.recipe.config,
        backend=backend,
        text_encoder=task.trainable.text_encoder,
        text_model=text_model,
    )
