"""Setup of SAM's training: the network, and its data with cached embeddings."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

import torch

from samkit.backends import create_backend
from samkit.datasets import (
    DataSet,
    SampleSource,
    SampleStream,
    find_shared_with,
    open_data,
    require_indexed,
)
from samkit.errors import DataError, WeightsError
from samkit.models import CONFIGS
from samkit.predict import EmbeddingCache, Predictor
from samkit.training.data.crop_embeds import (
    CropEmbeddedData,
    cache_crop_embeds,
    fraction_with_crops,
)
from samkit.training.data.embeddings import CachingEncoder, EmbeddedData, warn_of_former_files
from samkit.training.data.loader import BatchLoader
from samkit.training.distributed import all_ranks_or_fail
from samkit.training.oom_hints import oom_hints
from samkit.training.sam.recipe import SamRecipe
from samkit.training.sam.task import InteractiveTask
from samkit.training.sam.teacher import Teacher
from samkit.training.sam.trainable import build_trainable
from samkit.training.setup import Context, Setup
from samkit.weights import TextEncoder, load_model, weights_sha256

logger = logging.getLogger(__name__)

MOST_NAMED = 3  # images in a warning
IMAGES_TRIED = 200  # to estimate how many masks are large enough for crops
FEW_MASKS = 0.1  # fraction of large enough masks below which a warning is logged

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from samkit.models import Sam
    from samkit.text import Clip
    from samkit.training.video.task import VideoTask


def set_up_sam(recipe: SamRecipe, context: Context) -> Setup[InteractiveTask]:
    """Prepare a training of SAM; it has no evaluation of its own.

    Raises:
        WeightsError, DataError, ConfigError, EmbeddingError, OutputError: weights, data and
            settings are missing, invalid or do not fit.
    """
    fabric = context.fabric
    source = context.open_data(recipe.data.train, seed=recipe.run.seed)
    if fabric.is_global_zero and recipe.data.val is not None:
        _warn_of_shared_images(source, open_data(recipe.data.val))
    clip = load_clip(recipe, fabric)
    text_encoder = text_encoder_of(clip)
    torch.manual_seed(recipe.run.seed)  # for random initial weights
    trainable = build_trainable(recipe.model, text_encoder)
    task = InteractiveTask(trainable, recipe.session, open_teacher(recipe, trainable.sam))
    if clip is not None and recipe.session.prompts.text_probability > 0:
        source = with_crop_embeds(source, recipe, clip, context)
    del clip  # as large as the network, and no longer needed
    encoder = None
    if recipe.embeddings is not None:
        source, encoder = with_embeddings(source, recipe, task.sam, context)
    loader = BatchLoader(
        source,
        recipe.data,
        CONFIGS[recipe.model.config].image_size,
        recipe.truth_size,
        seed=recipe.run.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
        encoder=encoder,
        fit=trainable.sam.image_spec.fit,
    )
    return Setup(task=task, loader=loader)


def open_teacher(recipe: SamRecipe, sam: Sam) -> Teacher | None:
    """Load the teacher of a recipe; None if it has none.

    Raises:
        WeightsError: its weights are missing or damaged, or of another image encoder.
    """
    if recipe.teacher.weights is None:
        return None
    model = load_model(recipe.teacher.weights).model
    if weights_sha256(model.image_encoder) != weights_sha256(sam.image_encoder):
        raise WeightsError(
            f"teacher.weights={recipe.teacher.weights} has another image encoder than the model in"
            " training, whose embeddings it must understand"
        )
    return Teacher(model, recipe.teacher)


def _warn_of_shared_images(train: DataSet, val: DataSet) -> None:
    if shared := find_shared_with(train, val):
        logger.warning(
            "%d images of data.val are in data.train too, so that scores are not those of new"
            " images: %s%s",
            len(shared),
            "; ".join(shared[:MOST_NAMED]),
            "; ..." if len(shared) > MOST_NAMED else "",
        )


def load_clip(recipe: SamRecipe, fabric: Fabric) -> Clip | None:
    """Load the CLIP that encodes text prompts; None for a recipe without text.

    Raises:
        ConfigError, WeightsError, DownloadError: as `Clip.load`.
    """
    if recipe.model.text_encoder is None:
        return None
    from samkit.text import Clip

    return Clip.load(recipe.model.text_encoder, device=str(fabric.device))


def text_encoder_of(clip: Clip | None) -> TextEncoder | None:
    """Return the record of a CLIP that a model stores with its weights."""
    if clip is None:
        return None
    return TextEncoder(source=clip.source, fingerprint=clip.fingerprint, dim=clip.dim)


def with_crop_embeds(
    source: SampleSource | SampleStream, recipe: SamRecipe, clip: Clip, context: Context
) -> CropEmbeddedData:
    """Add CLIP embeddings of mask crops to a data set; compute those that are not cached.

    Raises:
        ConfigError: the data set is a stream.
        DataError: no mask is large enough.
    """
    source = require_indexed(source, "text prompts")
    fraction = fraction_with_crops(source, recipe.crops, images=IMAGES_TRIED)
    min_area_px = recipe.crops.min_area_px
    if fraction == 0:
        raise DataError(
            f"no mask has the {min_area_px} pixels that text prompts need: lower crops.min_area_px"
        )
    if fraction < FEW_MASKS:
        logger.warning(
            "only %.0f%% of the masks have the %d pixels that text prompts need",
            100 * fraction,
            min_area_px,
        )
    fabric = context.fabric
    with oom_hints(), all_ranks_or_fail(fabric):
        cache_crop_embeds(
            clip,
            source,
            recipe.crops,
            context.on_crops,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )
    return CropEmbeddedData(source, recipe.crops, clip_fingerprint=clip.fingerprint)


def with_embeddings(
    source: SampleSource | SampleStream, recipe: SamRecipe, sam: Sam, context: Context
) -> tuple[EmbeddedData, CachingEncoder]:
    """Add cached image embeddings to a data set; also returns the encoder of those not cached yet.

    Raises:
        ConfigError: the data set is a stream.
        OutputError: the folder of the cache cannot be made.
    """
    source = require_indexed(source, "cached embeddings")
    assert recipe.embeddings is not None
    fabric = context.fabric
    with oom_hints(), all_ranks_or_fail(fabric):
        cache = EmbeddingCache(recipe.embeddings, dtype="float16")
        if fabric.is_global_zero:
            warn_of_former_files(cache)
        # Sharding would split the encoder, which must still encode images.
        frozen = copy.deepcopy(sam) if recipe.run.strategy == "fsdp" else sam
        backend = create_backend(
            frozen.eval(), backend="auto", precision="float32", device=str(fabric.device)
        )
        predictor = Predictor(frozen, model_name=recipe.model.config, backend=backend)
        # Computed here: data workers get the checksum, not the predictor.
        data = EmbeddedData(source, cache, predictor.encoder_checksum)
    encoder = CachingEncoder(
        predictor, cache, num_images=len(source), on_embedding=context.on_embedding
    )
    return data, encoder


def task_predictor(
    task: InteractiveTask | VideoTask, device: torch.device | str, *, clip: Clip | None = None
) -> Predictor:
    """Make a predictor of the network in training, in float32; switches it to evaluation mode.

    Args:
        task: task whose network is used.
        device: device of the network.
        clip: the CLIP that encodes text prompts; None for a predictor without.
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
