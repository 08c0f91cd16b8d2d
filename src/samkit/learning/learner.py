"""The learner: trains a project's decoder further on its finished masks, and lets it be judged.

A round starts from the model that answers in the project, or from the server's own. It can be
killed at any moment: its training is resumed if the masks are still the same, and the store has a
learned model whole or not at all.

With LoRA a round trains low-rank corrections of the image encoder, too, on images. It takes so long
that people finish other masks meanwhile: it goes on with those that it began with.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
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
    count_verified_masks,
    get_project,
    list_learned_models,
    model_version,
    read_decoder,
    serving_version,
)
from samkit.datasets import Sample, SampleSource
from samkit.errors import ConfigError, RecipeError, StoreError
from samkit.files import hold
from samkit.learning.decoders import (
    corrected,
    corrections_in,
    joined,
    open_decoder,
    pack_decoder,
    read_state,
    scaled,
)
from samkit.learning.examples import (
    FinishedImages,
    Split,
    finished_images,
    finished_lessons,
)
from samkit.learning.general import GeneralImages, open_general, with_rehearsal
from samkit.learning.judge import (
    LEAST_IMAGES,
    Costs,
    Judgement,
    judge_costs,
    measure_costs,
    unjudged,
)
from samkit.learning.learn_recipe import LearnRecipe
from samkit.learning.lesson_images import LessonFiles
from samkit.learning.lessons import Lessons, lessons_of_round
from samkit.training import (
    corrections_file,
    takes_lora,
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

ONE_CLICK = Learning(max_clicks=1)  # on general images
# Of what was learned, as much as forgets no general images.
SHARES = (1.0, 0.5, 0.25)


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
        # The server's tiles are there, too: see `WebConfig.tile_folder`.
        self.files = LessonFiles(store, max_pixels=max_pixels, pyramids=cache.folder / "tiles")
        self.base_version = register(store, base)
        self._general: GeneralImages | None = None
        self._general_costs: Costs | None = None  # of the base model
        self._opened: tuple[int, Predictor] | None = None  # the version that was opened last
        # What a candidate's own encoder makes, and its checksum: of no use if it is rejected.
        self._on_trial: tuple[str, EmbeddingCache] | None = None

    def embed(self, sample: Sample, predictor: Predictor) -> ImageEmbedding:
        """The embedding of a sample by a predictor: from the cache, or encoded and put there."""
        from samkit.predict import pixels_sha256

        encoder, cache = predictor.encoder_checksum, self.cache
        if self._on_trial is not None and self._on_trial[0] == encoder:
            cache = self._on_trial[1]
        key = sample.embedding_key or pixels_sha256(sample.image)
        embedding = cache.get(key, encoder)
        if embedding is not None and embedding.coords.original_hw == sample.image.shape[:2]:
            return embedding
        own = pixels_sha256(sample.image)  # known from a training, under another key
        embedding = None if own == key else cache.get(own, encoder)
        return cache.put(key, embedding or predictor.embed(sample.image))

    def examples(self, project_id: int) -> Split:
        """What a project's decoder learns from, of images and videos, and what is held back."""
        return finished_lessons(self.files, project_id)

    def image_examples(self, project_id: int) -> Split:
        """Finished images, to learn from and held back: people masked all that they want there."""
        return finished_images(self.files, project_id)

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
        if self._opened is None or self._opened[0] != model_version_id:
            name = model_version(self.store, model_version_id).name
            others = () if self._opened is None else (self._opened[1],)
            opened = open_decoder(content, self.base, others, model_name=name)
            self._opened = (model_version_id, opened)
        return self._opened[1]

    def learn(
        self, project_id: int, *, on_step: Callable[[Progress], None] | None = None
    ) -> LearnedModel:
        """Run a round: train a candidate on finished images and videos, judge it, record it.

        Raises:
            StoreError: no such project, or too few finished images.
            ConfigError: the image encoder cannot be corrected.
            ConflictError: another version was chosen in the meantime.
            TrainingError, OutputError: the training failed; or another learner is at work on the
                project, such as that of a server that was killed.
        """
        project = get_project(self.store, project_id)
        if self.recipe.learns == "lora" and not takes_lora(self.base.model.image_encoder):
            raise ConfigError(
                f"the image encoder of {self.base.model_name} has no attention that LoRA could"
                " correct: learn without it"
            )
        with self._hold(project), closing(self.files):
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
        num_finished = count_verified_masks(self.store, project.id)
        split = self.examples(project.id)
        check_enough(project, split, least_held_out=LEAST_IMAGES if self.recipe.judged else 0)
        before, parent_id = self.serving(project.id)
        lessons = lessons_of_round(
            self.folder / f"project-{project.id}",
            split.learned,
            self.recipe,
            learns=self.recipe.learns,
            parent_id=parent_id,
            num_finished=num_finished,
        )
        source: SampleSource = lessons.images
        if self.recipe.general is not None:
            source = with_rehearsal(source, self._general_images().rehearsed)
        if self.recipe.learns == "decoder":
            for index in range(len(source)):
                self.embed(source[index], before)
        trained = self._train(lessons, source, before, on_step)
        for share in SHARES:
            # Judged as it is stored, with rounded numbers.
            content = self._packed(trained, before, parent_id, share)
            after = open_decoder(content, self.base, (before,), model_name=self._next_name(project))
            with self._trial(before, after, lessons.folder) as accept:
                judgement = self._judged(project, split.held_out, before, after, share)
                logger.info("%s: %s", project.name, judgement.reason)
                if judgement.forgets and share != SHARES[-1]:
                    continue
                learned = self._record(project, lessons, judgement, after, content, parent_id)
                if judgement.is_better:
                    accept()
                break
        shutil.rmtree(lessons.folder, ignore_errors=True)
        return learned

    def _judged(
        self,
        project: Project,
        held_out: FinishedImages,
        before: Predictor,
        after: Predictor,
        share: float,
    ) -> Judgement:
        """What the judge says of a candidate, of which only a share may be new."""
        if not self.recipe.judged:
            return unjudged()
        judgement = self.judge(project, held_out, before, after)
        if share == 1:
            return judgement
        return replace(
            judgement, reason=f"{judgement.reason}; {share:.0%} of what it learned, mixed"
        )

    def _record(  # noqa: PLR0917 - of one round
        self,
        project: Project,
        lessons: Lessons,
        judgement: Judgement,
        after: Predictor,
        content: bytes,
        parent_id: int,
    ) -> LearnedModel:
        has_own = after.encoder_checksum != self.base.encoder_checksum
        return add_learned_model(
            self.store,
            project.id,
            name=after.model_name,
            checksum=weights_sha256(after.model),
            parent_id=parent_id,
            decoder=content if judgement.is_better else None,
            num_images=len(lessons.images),
            num_masks=lessons.images.num_masks,
            num_finished=lessons.num_finished,
            reason=judgement.reason,
            figures=judgement.figures(),
            learns=self.recipe.learns,
            encoder_checksum=after.encoder_checksum if has_own else None,
        )

    @contextmanager
    def _trial(
        self, before: Predictor, after: Predictor, folder: Path
    ) -> Iterator[Callable[[], None]]:
        """Put what a new image encoder makes into a cache of its own until it is accepted."""
        from samkit.predict import EmbeddingCache

        if after.encoder_checksum in (before.encoder_checksum, self.base.encoder_checksum):
            yield lambda: None
            return
        cache = EmbeddingCache(folder / "embeddings" / after.encoder_checksum)
        self._on_trial = (after.encoder_checksum, cache)
        try:
            yield lambda: cache.move_to(self.cache)
        finally:
            self._on_trial = None

    def _packed(self, trained: Path, before: Predictor, parent_id: int, share: float) -> bytes:
        """Pack a trained network, with the corrections of its image encoder if it has any.

        Args:
            share: of what was trained; the rest is as it was before.
        """
        network = load_model(trained).model
        if share < 1:
            network.mix_decoder(before.model, 1 - share)
        content = read_decoder(self.store, parent_id)
        corrections = {} if content is None else corrections_in(read_state(content))
        network.image_encoder = before.model.image_encoder
        if self.recipe.learns == "lora":
            from safetensors.torch import load_file

            corrections = joined(corrections, scaled(load_file(corrections_file(trained)), share))
            network.image_encoder = corrected(self.base.model.image_encoder, corrections)
        return pack_decoder(network, corrections)

    def judge(
        self, project: Project, held_out: FinishedImages, before: Predictor, after: Predictor
    ) -> Judgement:
        """Compare two models on held-back images, and the second with the base on general ones."""
        costs = [
            measure_costs(model, held_out, self.embed, project.learning).by_group(held_out.groups)
            for model in (before, after)
        ]
        general = None
        if self.recipe.general is not None:
            judges = self._general_images().judges
            if self._general_costs is None:
                self._general_costs = measure_costs(self.base, judges, self.embed, ONE_CLICK)
            general = (self._general_costs, measure_costs(after, judges, self.embed, ONE_CLICK))
        return judge_costs(
            costs[0], costs[1], general=general, max_forgotten=project.learning.max_forgotten
        )

    def _general_images(self) -> GeneralImages:
        if self._general is None:
            assert self.recipe.general is not None
            self._general = open_general(self.recipe.general)
        return self._general

    def _train(
        self,
        lessons: Lessons,
        source: SampleSource,
        before: Predictor,
        on_step: Callable[[Progress], None] | None,
    ) -> Path:
        """Train a candidate; returns its weights. Resumed if it was stopped with these masks.

        Args:
            source: the lessons' images, and general ones.
        """
        weights = lessons.folder / "before.safetensors"
        if not weights.exists():
            save_checkpoint(before.model, weights, name=config_of(self.base))
        recipe = self.recipe.training(
            weights,
            self.cache,
            config=config_of(self.base),
            num_masks=lessons.images.num_masks * len(source) // len(lessons.images),
        )
        folder = lessons.folder / "training"
        try:
            trained = train(recipe, folder, source=source, on_step=on_step, resume=True)
        except RecipeError:  # an earlier release began it with other settings
            shutil.rmtree(folder, ignore_errors=True)
            trained = train(recipe, folder, source=source, on_step=on_step, resume=True)
        return trained.last

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
    learned, held_out = (len(set(side.groups)) for side in split)
    if held_out < least_held_out or not learned:
        raise StoreError(
            f"{project.name} has {learned} finished images and videos to learn from and"
            f" {held_out} to judge by: learning needs 1 and {least_held_out}; every third or so is"
            " held back"
        )


def config_of(predictor: Predictor) -> str:
    """Kind of a predictor's model, a name in `samkit.models.CONFIGS`."""
    entry = CATALOG.get(predictor.model_name)
    return predictor.model_name if entry is None else entry.config
