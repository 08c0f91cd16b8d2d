"""The learner: trains a project's decoder further on its finished masks, and lets it be judged.

A round starts from the model that answers in the project, or from the server's own. It can be
killed at any moment: its training is resumed if the masks are still the same, and the store has a
learned model whole or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.dataengine import (
    LearnedModel,
    Learning,
    ModelVersion,
    Project,
    Store,
    add_learned_model,
    add_model_version,
    count_finished_masks,
    get_project,
    list_learned_models,
    model_version,
    read_decoder,
    serving_version,
)
from samkit.datasets import Sample, SampleSource, open_data, require_indexed
from samkit.errors import StoreError
from samkit.files import hold
from samkit.learning.decoders import pack_decoder, unpack_decoder
from samkit.learning.examples import FinishedImages, Split, finished_images
from samkit.learning.judge import (
    LEAST_IMAGES,
    Costs,
    Judgement,
    judge_costs,
    measure_costs,
    unjudged,
)
from samkit.models import CONFIGS
from samkit.training import (
    DataRecipe,
    InteractiveRecipe,
    LossRecipe,
    ModelRecipe,
    OptimRecipe,
    PromptRecipe,
    RunRecipe,
    SamRecipe,
    train,
)
from samkit.weights import (
    CATALOG,
    load_model,
    save_checkpoint,
    weights_sha256,
    weights_sha256_of_bytes,
)

if TYPE_CHECKING:
    from samkit.predict import EmbeddingCache, Predictor
    from samkit.training import Progress
    from samkit.types import ImageEmbedding

logger = logging.getLogger(__name__)

# Drawn scenes: what every model should still segment, whatever it learned.
GENERAL = "scenes:count=24,size=256,seed=7"
ONE_CLICK = Learning(max_clicks=1)  # on general images
TRUTH_SIZE = 256
MIN_STEPS, MAX_STEPS = 40, 300
PASSES = 2.0  # over all masks, if the steps allow


@dataclass(frozen=True, kw_only=True)
class LearnRecipe:
    """Settings of a round.

    Attributes:
        images_per_batch, masks_per_image: size of a batch.
        corrections: most corrections in a simulated session.
        lr: highest learning rate.
        rejected: weight of the predicted IoU where people rejected masks.
        general: data set of general images that must not be forgotten; None for none.
        judged: False promotes every candidate, to compare what images teach with simulations that
            are too small for the judge.
        threads: threads of the training; None for all.
    """

    images_per_batch: int = 4
    masks_per_image: int = 2
    corrections: int = 3
    lr: float = 2e-4
    rejected: float = 1.0
    general: str | None = GENERAL
    judged: bool = True
    threads: int | None = None

    def steps(self, num_masks: int) -> int:
        """Number of training steps for this many masks."""
        wanted = PASSES * num_masks / (self.images_per_batch * self.masks_per_image)
        return round(min(max(wanted, MIN_STEPS), MAX_STEPS))

    def training(
        self, weights: Path, cache: EmbeddingCache, *, config: str, num_masks: int
    ) -> SamRecipe:
        """The recipe of the decoder's training."""
        steps = self.steps(num_masks)
        return SamRecipe(
            model=ModelRecipe(config=config, weights=str(weights), learns="decoder"),
            data=DataRecipe(
                images_per_batch=self.images_per_batch, max_masks_per_image=self.masks_per_image
            ),
            truth_size=min(TRUTH_SIZE, CONFIGS[config].image_size),
            embeddings=str(cache.folder),
            session=InteractiveRecipe(
                prompts=PromptRecipe(
                    box_probability=0.2,
                    single_box_probability=0.7,
                    box_noise=0.05,
                    center_probability=0.7,
                    given_probability=0.5,
                    corrections=self.corrections,
                    min_corrections=1,
                    mask_only_between=False,
                    mask_only_last=False,
                ),
                loss=LossRecipe(focal_alpha=0.5, iou=2.0, click=0.1, rejected=self.rejected),
                checkpoint_iterations=False,
            ),
            optim=OptimRecipe(
                lr=self.lr,
                weight_decay=0.01,
                warmup_steps=min(20, steps // 4),
                schedule="cosine",
                average_decay=0.95,
            ),
            run=RunRecipe(steps=steps, precision="auto", save_every=25),
        )


class Learner:
    """Trains and judges a project's models; one at a time for each project.

        learner = Learner(store, Predictor.load(), cache, Path("learning"))
        learned = learner.learn(project.id)

    Attributes:
        base: the server's own model.
        base_version: the store's record of it.
    """

    def __init__(
        self,
        store: Store,
        base: Predictor,
        cache: EmbeddingCache,
        folder: Path,
        *,
        recipe: LearnRecipe | None = None,
        max_pixels: int,
    ) -> None:
        """Register the base model with the store.

        Args:
            cache: the server's embedding cache.
            folder: for trainings in progress.
        """
        self.store, self.base, self.cache, self.folder = store, base, cache, folder
        self.recipe = recipe or LearnRecipe()
        self.max_pixels = max_pixels
        self.base_version = register(store, base)
        self._general: tuple[SampleSource, Costs] | None = None

    def embed(self, sample: Sample) -> ImageEmbedding:
        """The embedding of a sample: from the cache, or encoded and put there."""
        from samkit.predict import pixels_sha256

        key = sample.embedding_key or pixels_sha256(sample.image)
        embedding = self.cache.get(key, self.base.encoder_checksum)
        if embedding is not None and embedding.coords.original_hw == sample.image.shape[:2]:
            return embedding
        own = pixels_sha256(sample.image)  # known from a training, under another key
        embedding = None if own == key else self.cache.get(own, self.base.encoder_checksum)
        return self.cache.put(key, embedding or self.base.embed(sample.image))

    def examples(self, project_id: int) -> Split:
        """Finished images of a project: to learn from, and held back."""
        return finished_images(self.store, project_id, max_pixels=self.max_pixels)

    def serving(self, project_id: int) -> tuple[Predictor, int]:
        """The model that answers in a project, and its version's id.

        Raises:
            StoreError: no such project.
            WeightsError: its file is damaged, or of another image encoder.
        """
        get_project(self.store, project_id)
        version = serving_version(self.store, project_id)
        if version is None:
            version = self.base_version.id
        return self.open_version(version), version

    def open_version(self, model_version_id: int) -> Predictor:
        """A predictor of a promoted version.

        Raises:
            StoreError: its decoder is not in the store, and it is not the base model.
            WeightsError: its file is damaged, or of another image encoder.
        """
        if model_version_id == self.base_version.id:
            return self.base
        content = read_decoder(self.store, model_version_id)
        if content is None:
            raise StoreError(
                f"the store has no decoder of model version {model_version_id}: serve another one"
            )
        name = model_version(self.store, model_version_id).name
        return self.base.with_decoder(unpack_decoder(content, self.base.model), model_name=name)

    def learn(
        self, project_id: int, *, on_step: Callable[[Progress], None] | None = None
    ) -> LearnedModel:
        """Run a round: train a candidate on the finished images, judge it, record it.

        Raises:
            StoreError: no such project, or too few finished images.
            ConflictError: another version was chosen in the meantime.
            TrainingError, OutputError: the training failed; or another learner is at work on the
                project, such as that of a server that was killed.
        """
        project = get_project(self.store, project_id)
        with self._hold(project):
            return self._learn(project, on_step)

    @contextmanager
    def _hold(self, project: Project) -> Iterator[None]:
        """Keep other learners away from a project: they would write into the same folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"project-{project.id}.lock"
        with place.open("wb") as lock:
            hold(lock, place)
            yield

    def _learn(self, project: Project, on_step: Callable[[Progress], None] | None) -> LearnedModel:
        project_id = project.id
        num_finished = count_finished_masks(self.store, project_id)
        split = self.examples(project_id)
        check_enough(project, split, least_held_out=LEAST_IMAGES if self.recipe.judged else 0)
        before, parent_id = self.serving(project_id)
        for index in range(len(split.learned)):
            self.embed(split.learned[index])
        folder = self._round_folder(project, split.learned, parent_id)
        trained = self._train(split.learned, before, folder, on_step)
        # Judged as it is stored, with rounded numbers.
        decoder = pack_decoder(load_model(trained).model)
        after = self.base.with_decoder(unpack_decoder(decoder, self.base.model))
        judgement = (
            self.judge(project, split.held_out, before, after) if self.recipe.judged else unjudged()
        )
        logger.info("%s: %s", project.name, judgement.reason)
        learned = add_learned_model(
            self.store,
            project_id,
            name=self._next_name(project),
            checksum=weights_sha256(after.model),
            parent_id=parent_id,
            decoder=decoder if judgement.is_better else None,
            num_images=len(split.learned),
            num_masks=split.learned.num_masks,
            num_finished=num_finished,
            reason=judgement.reason,
            figures=judgement.figures(),
        )
        shutil.rmtree(folder, ignore_errors=True)
        return learned

    def judge(
        self, project: Project, held_out: SampleSource, before: Predictor, after: Predictor
    ) -> Judgement:
        """Compare two models on held-back images, and the second with the base on general ones."""
        costs = [
            measure_costs(model, held_out, self.embed, project.learning)
            for model in (before, after)
        ]
        general = None
        if self.recipe.general is not None:
            source, of_base = self._general_costs()
            general = (of_base, measure_costs(after, source, self.embed, ONE_CLICK))
        return judge_costs(
            costs[0], costs[1], general=general, max_forgotten=project.learning.max_forgotten
        )

    def _general_costs(self) -> tuple[SampleSource, Costs]:
        if self._general is None:
            assert self.recipe.general is not None
            source = require_indexed(open_data(self.recipe.general), "general images")
            costs = measure_costs(self.base, source, self.embed, ONE_CLICK)
            self._general = (source, costs)
        return self._general

    def _round_folder(self, project: Project, examples: FinishedImages, parent_id: int) -> Path:
        """Make the folder of a round; those of rounds that nobody will go on with are removed."""
        rounds = self.folder / f"project-{project.id}"
        folder = rounds / fingerprint(examples, parent_id, self.recipe)
        for other in rounds.glob("*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _train(
        self,
        examples: FinishedImages,
        before: Predictor,
        folder: Path,
        on_step: Callable[[Progress], None] | None,
    ) -> Path:
        """Train a candidate; returns its weights. Resumed if it was killed with these masks."""
        weights = folder / "before.safetensors"
        if not weights.exists():
            save_checkpoint(before.model, weights, name=config_of(self.base))
        recipe = self.recipe.training(
            weights, self.cache, config=config_of(self.base), num_masks=examples.num_masks
        )
        return train(
            recipe, folder / "training", source=examples, on_step=on_step, resume=True
        ).last

    def _next_name(self, project: Project) -> str:
        return f"{project.name} {len(list_learned_models(self.store, project.id)) + 1}"


def register(store: Store, base: Predictor) -> ModelVersion:
    """Record a server's own model, as the server does."""
    return add_model_version(
        store,
        name=base.model_name,
        checksum=weights_sha256(base.model),
        former_checksum=weights_sha256_of_bytes(base.model),
        path="",
    )


def check_enough(project: Project, split: Split, *, least_held_out: int) -> None:
    """Check that there is something to learn from and to judge by.

    Raises:
        StoreError: there is not.
    """
    if len(split.held_out) < least_held_out or not len(split.learned):
        raise StoreError(
            f"{project.name} has {len(split.learned)} finished images to learn from and"
            f" {len(split.held_out)} to judge by: learning needs 1 and {least_held_out}; every"
            " third image or so is held back"
        )


def fingerprint(examples: FinishedImages, parent_id: int, recipe: LearnRecipe) -> str:
    """Identify a training: its masks, what it begins from, and its settings."""
    digest = hashlib.sha256(f"{parent_id} {recipe}".encode())
    for index in range(len(examples)):
        digest.update(examples.images[index].pixels_key.encode())
        for rle in (*examples.masks(index), *examples.rejected(index)):
            digest.update(str(rle["counts"]).encode())
    return digest.hexdigest()[:16]


def config_of(predictor: Predictor) -> str:
    """Kind of a predictor's model, a name in `samkit.models.CONFIGS`."""
    entry = CATALOG.get(predictor.model_name)
    return predictor.model_name if entry is None else entry.config
