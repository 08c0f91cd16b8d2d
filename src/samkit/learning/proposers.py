"""What finds the masks that images are prefilled with: a grid of points, or a proposal head.

The head is that of this package, or one that the project's finished masks have taught, which begins
from the one before. Which of them is used is decided on held-back images: the one by which most
masks are right at the target precision.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.dataengine import read_proposal_head, save_proposal_head
from samkit.errors import WeightsError
from samkit.files import hold, write_bytes
from samkit.learning.learner import config_of
from samkit.learning.lessons import fingerprint
from samkit.models import ProposalHeadConfig
from samkit.proposals import AutoMaskConfig
from samkit.training import OptimRecipe, ProposalDataRecipe, ProposalRecipe, RunRecipe, train
from samkit.weights import find_proposal_head, save_checkpoint

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.learning.examples import FinishedImages
    from samkit.learning.learner import Learner
    from samkit.predict import Predictor

GRID, PACKAGED = "grid", "learned"  # names of proposers; others are checksums of heads
LEAST_IMAGES = 16  # finished and not held back, to teach a head
PASSES, MIN_STEPS, MAX_STEPS = 20, 60, 300  # over all images, if the steps allow
IMAGES_PER_BATCH = 8
FRESH_LR, LR = 1.5e-3, 5e-4  # of a head from random weights, and of one that goes on
# The confidence decides, so that the filter lets through what may be good.
BY_GRID = AutoMaskConfig(
    points_per_side=16, iou_thresh=0.3, stability_thresh=0.6, max_area_fraction=0.9
)
BY_HEAD = replace(BY_GRID, proposer=PACKAGED)


@dataclass(frozen=True)
class Proposer:
    """What finds masks.

    Attributes:
        name: "grid", "learned" for the head of this package, or the checksum of a project's.
        head: a head that has just been taught, to be stored if it is used.
    """

    name: str
    config: AutoMaskConfig
    head: bytes | None = None


def known_proposer(
    learner: Learner, project_id: int, predictor: Predictor, name: str
) -> AutoMaskConfig | None:
    """Settings of a proposer by its name; None if it is a head that is not stored any more."""
    if name == GRID:
        return BY_GRID
    if name == PACKAGED:
        return BY_HEAD
    stored = read_proposal_head(learner.store, project_id, predictor.encoder_checksum)
    if stored is None or checksum(stored.content) != name:
        return None
    return by_file(learner, project_id, stored.content).config


def proposers(
    learner: Learner,
    project_id: int,
    predictor: Predictor,
    images: FinishedImages,
    *,
    enough: int,
) -> Iterator[Proposer]:
    """Yield what may find masks in a project's images: the grid, and the best head.

    A head that learned from fewer masks than `enough` is taught anew, from these images.

    Raises:
        TrainingError, OutputError: the training failed; or another process teaches a head.
    """
    yield Proposer(GRID, BY_GRID)
    stored = read_proposal_head(learner.store, project_id, predictor.encoder_checksum)
    if len(images) >= LEAST_IMAGES and (stored is None or stored.num_finished < enough):
        content = teach_head(
            learner, project_id, predictor, images, None if stored is None else stored.content
        )
        yield by_file(learner, project_id, content, is_new=True)
    elif stored is not None:
        yield by_file(learner, project_id, stored.content)
    elif has_packaged(predictor):
        yield Proposer(PACKAGED, BY_HEAD)


def use_proposer(
    learner: Learner, project_id: int, predictor: Predictor, chosen: Proposer, *, num_finished: int
) -> None:
    """Store the head of the proposer that is used, if it is new."""
    if chosen.head is not None:
        save_proposal_head(
            learner.store,
            project_id,
            predictor.encoder_checksum,
            chosen.head,
            num_finished=num_finished,
        )


def teach_head(
    learner: Learner,
    project_id: int,
    predictor: Predictor,
    images: FinishedImages,
    before: bytes | None,
) -> bytes:
    """Train a head on finished images; returns its file. Resumed if it was stopped."""
    folder = _folder(learner, project_id)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "teaching.lock"
    with place.open("wb") as lock:
        hold(lock, place)
        for index in range(len(images)):
            learner.embed(images[index], predictor)
        model = folder / f"encoder-{predictor.encoder_checksum[:16]}.safetensors"
        if not model.exists():
            save_checkpoint(predictor.model, model, name=config_of(learner.base))
        weights = None
        if before is not None:
            weights = str(_file(folder, before))
        elif has_packaged(predictor):
            weights = "embedded"
        recipe = head_recipe(learner, predictor, model, weights, num_images=len(images))
        training = folder / f"training-{fingerprint(images, 0, recipe)}"
        for other in folder.glob("training-*"):
            if other != training:
                shutil.rmtree(other, ignore_errors=True)
        content = train(recipe, training, source=images, resume=True).last.read_bytes()
        shutil.rmtree(training, ignore_errors=True)
    return content


def head_recipe(
    learner: Learner, predictor: Predictor, model: Path, weights: str | None, *, num_images: int
) -> ProposalRecipe:
    """The recipe of a head's training on cached embeddings."""
    encoder = predictor.model.config.encoder
    steps = min(max(PASSES * num_images // IMAGES_PER_BATCH, MIN_STEPS), MAX_STEPS)
    return ProposalRecipe(
        model=str(model),
        weights=weights,
        embeddings=str(learner.cache.folder),
        head=ProposalHeadConfig(
            in_channels=encoder.out_channels,
            stride=predictor.model.image_spec.size // encoder.grid_size,
        ),
        data=ProposalDataRecipe(images_per_batch=IMAGES_PER_BATCH),
        optim=OptimRecipe(
            lr=FRESH_LR if weights is None else LR,
            weight_decay=0.05,
            warmup_steps=min(20, steps // 4),
            schedule="cosine",
            clip_norm=5.0,
            average_decay=0.95,
        ),
        run=RunRecipe(steps=steps, save_every=25),
    )


def has_packaged(predictor: Predictor) -> bool:
    """Whether this package has a head for a predictor's image encoder."""
    try:
        find_proposal_head(predictor.encoder_checksum)
    except WeightsError:
        return False
    return True


def by_file(learner: Learner, project_id: int, content: bytes, *, is_new: bool = False) -> Proposer:
    """The proposer of a head."""
    path = _file(_folder(learner, project_id), content)
    config = replace(BY_HEAD, proposer=str(path))
    return Proposer(checksum(content), config, content if is_new else None)


def checksum(content: bytes) -> str:
    """Name of a head."""
    return hashlib.sha256(content).hexdigest()


def _folder(learner: Learner, project_id: int) -> Path:
    return learner.folder / f"project-{project_id}-heads"


def _file(folder: Path, content: bytes) -> Path:
    """Write a head's file, unless it is there."""
    path = folder / f"{checksum(content)}.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    return path
