"""Setup of a proposal head's training: the frozen encoder, the head, data and evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from samkit.backends import create_backend
from samkit.datasets import SampleSource, open_data, require_indexed
from samkit.errors import ConfigError
from samkit.geometry import box_iou
from samkit.models import ProposalHead
from samkit.predict import EmbeddingCache, Predictor
from samkit.proposals import propose_boxes
from samkit.training.data.embeddings import CachingEncoder
from samkit.training.oom_hints import oom_hints
from samkit.training.proposals.data import ProposalLoader
from samkit.training.proposals.recipe import ProposalRecipe
from samkit.training.proposals.task import ProposalTask
from samkit.training.setup import Context, Setup
from samkit.weights import find_proposal_head, load_model, load_proposal_head

EMBEDDED = "embedded"
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
LIMITS = (100, 10)


def set_up_proposals(recipe: ProposalRecipe, context: Context) -> Setup[ProposalTask]:
    """Prepare a training of a proposal head, with box recall on `data.val` as its scores.

    Raises:
        WeightsError, DataError, ConfigError, OutputError: weights, data and settings are missing,
            invalid or do not fit.
    """
    fabric = context.fabric
    train = require_indexed(
        context.open_data(recipe.data.train, seed=recipe.run.seed), "proposal heads"
    )
    automatic = open_indexed(recipe.data.automatic)
    loaded = load_model(recipe.model)
    backend = create_backend(
        loaded.model.eval(), backend="auto", precision="float32", device=str(fabric.device)
    )
    predictor = Predictor(loaded.model, model_name=loaded.name, backend=backend)
    cache = EmbeddingCache(recipe.embeddings, dtype="float16")
    torch.manual_seed(recipe.run.seed)
    task = ProposalTask(
        build_head(recipe, predictor), recipe.loss, encoder_checksum=predictor.encoder_checksum
    )

    def loader(
        source: SampleSource, automatic: SampleSource | None = None, rank: int = 0, world: int = 1
    ) -> ProposalLoader:
        encoder = CachingEncoder(
            predictor, cache, num_images=len(source), on_embedding=context.on_embedding
        )
        return ProposalLoader(
            source,
            encoder,
            recipe.data,
            automatic=automatic,
            seed=recipe.run.seed,
            rank=rank,
            world=world,
        )

    val = open_indexed(recipe.data.val)
    held_out = None if val is None else loader(val)
    with oom_hints():
        return Setup(
            task=task,
            loader=loader(train, automatic, fabric.global_rank, fabric.world_size),
            evaluate=None
            if held_out is None
            else lambda task: box_recall(task, held_out, recipe.data.held_out_images),
        )


def build_head(recipe: ProposalRecipe, predictor: Predictor) -> ProposalHead:
    """Build the head of a recipe, with its initial weights.

    Raises:
        ConfigError: it does not fit the model's features.
        WeightsError: the weights are missing, damaged or of another encoder.
    """
    spec, encoder = predictor.model.config.encoder, recipe.head
    stride = predictor.model.image_spec.size // spec.grid_size
    if (encoder.in_channels, encoder.stride) != (spec.out_channels, stride):
        raise ConfigError(
            f"{recipe.model} has features of {spec.out_channels} channels and stride {stride}: give"
            f" head.in_channels={spec.out_channels} head.stride={stride}"
        )
    if recipe.weights is None:
        return ProposalHead(recipe.head)
    checksum = predictor.encoder_checksum
    if recipe.weights == EMBEDDED:
        return find_proposal_head(checksum)
    return load_proposal_head(recipe.weights, encoder_checksum=checksum)


def open_indexed(spec: str | None) -> SampleSource | None:
    """Open a data set that may be missing from a recipe."""
    return None if spec is None else require_indexed(open_data(spec), "proposal heads")


@torch.no_grad()
def box_recall(task: ProposalTask, loader: ProposalLoader, images: int) -> Mapping[str, float]:
    """Average recall of boxes among the best 100 and 10 proposals, over IoU 0.5 to 0.95."""
    device = next(task.head.parameters()).device
    found = {limit: np.zeros(len(IOU_THRESHOLDS)) for limit in LIMITS}
    total = 0
    for index, targets in loader.in_order(images):
        batch = loader.batch([(index, targets)]).to(device)
        assert batch.features is not None
        boxes, _ = propose_boxes(
            task.head, batch.features, tuple(targets.visible_wh.tolist()), max(LIMITS)
        )
        total += len(targets.boxes_xyxy)
        if not len(boxes) or not len(targets.boxes_xyxy):
            continue
        ious = box_iou(targets.boxes_xyxy[:, None], boxes[None])
        for limit in LIMITS:
            best = ious[:, :limit].max(1)
            found[limit] += (best[:, None] >= IOU_THRESHOLDS).sum(0)
    return {f"box_ar_{limit}": float(found[limit].mean()) / max(1, total) for limit in LIMITS}
