"""Loader of batches: endless, resumable after any batch; and held-out batches for evaluation."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samkit.datasets import ImageFolder, SampleSource, SampleStream, open_data
from samkit.errors import ConfigError, DataError, SamkitError
from samkit.image_spec import Fit
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.embeddings import CachingEncoder, EmbeddedData
from samkit.training.data.given import stack_given
from samkit.training.data.prepare import NotEncoded, Prepared, Preparer, Skip
from samkit.training.data.sampling import (
    EpochSampler,
    Fetched,
    IndexedReader,
    SampleReader,
    StreamReader,
)
from samkit.training.task import Batch, GivenTensors
from samkit.types import GivenPrompts

BROKEN_ANNOTATION = "broken annotation"
HELD_OUT_SEED = 0  # fixed, so that all evaluations use the same held-out images

logger = logging.getLogger(__name__)


class BatchLoader:
    """An endless iterator of a data set's batches.

        loader = BatchLoader(open_data(recipe.train), recipe, 1024, 256, seed=0)
        batch = next(loader)
        checkpoint["data"] = loader.state_dict()

    Every batch has the same number of images, each with at least one mask; at the end of an epoch a
    batch continues with the next one. Each epoch has its own order. All randomness depends on the
    seed, the epoch and the sample, never on what ran before, nor on the number of workers.

    Broken images and annotations, and images without a usable mask, are skipped, counted and logged
    once; the next images take their place in the batch.
    """

    def __init__(
        self,
        source: SampleSource | SampleStream,
        recipe: DataRecipe,
        model_size: int,
        truth_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        with_masks: bool = True,
        encoder: CachingEncoder | None = None,
        fit: Fit = "pad",
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            recipe: filters, augmentation, and the size of a batch.
            model_size: side S of the model space.
            truth_size: side T of the target space.
            seed: seed of the sample order and the augmentation.
            rank: index of this process.
            world: number of processes, each with its own loader.
            with_masks: False makes batches of images only, including images without a mask.
            encoder: encodes images of an `EmbeddedData` that are not in its cache.
            fit: how images fill the model space; see `ImageSpec`.

        Raises:
            ConfigError: invalid numbers, augmentation with cached embeddings, or a data set
                without masks where masks are needed.
        """
        if min(model_size, truth_size) < 1 or seed < 0 or not 0 <= rank < world:
            raise ConfigError(
                "sizes must be positive, seed at least 0 and rank within 0..world - 1; got"
                f" {model_size=}, {truth_size=}, {seed=}, {rank=}, {world=}"
            )
        if with_masks and isinstance(source, ImageFolder):
            raise ConfigError(
                f"images:{source.folder} has no masks, which are needed here: it is for data.train"
                " of samkit pretrain and samkit distill"
            )
        if isinstance(source, EmbeddedData) and recipe.augments:
            raise ConfigError(
                "cached embeddings are of images without augmentation: train without"
                " data.scale_jitter and data.flip, or with embeddings=none"
            )
        self.recipe = recipe
        preparer = Preparer(
            recipe=recipe,
            model_size=model_size,
            truth_size=truth_size,
            seed=seed,
            with_masks=with_masks,
            fit=fit,
        )
        self._encoder = encoder
        self._reader = _make_reader(source, preparer, rank, world)
        self._position = self._reader.start()
        self._samples: Generator[Fetched] | None = None
        self._skips = SkipLog()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DataError: a full epoch has no usable image.
            OutputError: the embedding cache cannot be written.
        """
        try:
            images, position, skips = self._gather()
            batch = self._collate(images)
        except BaseException:
            self.close()  # samples that were read but not returned are read again
            raise
        # Only now: the state must always be that after a returned batch.
        self._position = position
        self._note(skips)
        for image in images:
            self._skips.note_faults(image.key, image.faults)
        return batch

    @property
    def skipped(self) -> Counter[str]:
        """Number of images or annotations that were skipped, by reason; each counts once."""
        return self._skips.counts()

    def state_dict(self) -> dict[str, Any]:
        """Return this loader's position as plain numbers and strings.

        Each process has its own: skipped images let one get ahead of another.
        """
        return {
            "place": self._position,
            "identity": self._reader.identity(),
            "skipped": self._skips.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batch at which `state_dict` was called.

        Raises:
            ConfigError: the state is of another data set, seed or number of processes.
        """
        mine, given = self._reader.identity(), dict(state["identity"])
        if given != mine:
            differing = [name for name in mine if given.get(name) != mine[name]] or sorted(given)
            listed = ", ".join(
                f"{name} {given.get(name)} (now {mine.get(name)})" for name in differing
            )
            raise ConfigError(f"the order of the data cannot be resumed: it was of {listed}")
        self.close()
        self._position = state["place"]
        self._skips.load_state_dict(state["skipped"])

    def __enter__(self) -> BatchLoader:  # noqa: PYI034 -- Self is of Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers and log the number of skipped images."""
        self.close()
        for reason, count in self.skipped.items():
            logger.warning("%d %s", count, reason)

    def close(self) -> None:
        """End the workers; the next batch starts them again."""
        if self._samples is not None:
            self._samples.close()
        self._samples = None

    def _gather(self) -> tuple[list[Prepared], dict[str, Any], list[Skip]]:
        """Read a batch; return its images, the position after it, and the images skipped."""
        if self._samples is None:
            self._samples = self._reader.read(self._position)
        images: list[Prepared] = []
        skips: list[Skip] = []
        unusable: list[Fetched] = []  # since the last usable image
        position = self._position
        while len(images) < self.recipe.images_per_batch:
            fetched = next(self._samples)
            position = self._reader.advance(position, fetched)
            match fetched.result:
                case Prepared() as image:
                    images.append(image)
                    unusable.clear()
                    continue
                case Skip() as skip:
                    skips.append(skip)
                case SamkitError() as error:
                    raise error
            unusable.append(fetched)
            if self._reader.is_exhausted(unusable):
                self._note(skips)
                raise DataError(self._nothing())
        return images, position, skips

    def _note(self, skips: list[Skip]) -> None:
        for skip in skips:
            self._skips.note_faults(skip.key, skip.faults)
            self._skips.note(skip.reason, skip.key, skip.message)

    def _nothing(self) -> str:
        found = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        return f"no image of a full epoch can be used: {found or 'there are none'}"

    def _collate(self, images: list[Prepared]) -> Batch:
        """Make a batch of prepared images; encode those that are not cached yet."""
        pixels = [image.pixels for image in images if image.pixels is not None]
        features = [self._encoded(image.features) for image in images if image.features is not None]
        levels = [torch.stack(level) for level in zip(*features, strict=True)]
        counts = torch.tensor([len(image.masks) for image in images])
        embeds = [image.text_embeds for image in images if image.text_embeds is not None]
        return Batch(
            pixels=torch.stack(pixels) if pixels else None,
            features=levels[-1] if levels else None,
            finer=tuple(levels[:-1]),
            masks=torch.cat([image.masks for image in images]),
            ignored=torch.stack([image.ignored for image in images]),
            image_index=torch.repeat_interleave(torch.arange(len(images)), counts),
            keys=tuple(image.key for image in images),
            phrases=tuple(phrase for image in images for phrase in image.phrases),
            text_embeds=torch.cat(embeds) if len(embeds) == len(images) else None,
            given=given_of(images),
            **rejected_of(images),
        )

    def _encoded(self, features: tuple[Tensor, ...] | NotEncoded) -> tuple[Tensor, ...]:
        if not isinstance(features, NotEncoded):
            return features
        assert self._encoder is not None
        return self._encoder.features(features.image_sha256, features.image)


def rejected_of(images: Sequence[Prepared]) -> dict[str, Any]:
    """The fields of a batch about masks that people rejected; none if there are none."""
    found = [(at, image.rejected) for at, image in enumerate(images) if image.rejected is not None]
    if not found:
        return {}
    return {
        "rejected": torch.cat([one.regions for _, one in found]),
        "rejected_truths": torch.cat([one.truths for _, one in found]),
        "rejected_index": torch.tensor([at for at, one in found for _ in one.regions]),
    }


def given_of(images: Sequence[Prepared]) -> GivenTensors | None:
    """Prompts that people gave for the masks of a batch; None if they gave none."""
    if not any(image.given for image in images):
        return None
    unknown = GivenPrompts()
    return stack_given(
        [one for image in images for one in image.given or [unknown] * len(image.masks)]
    )


def _make_reader(
    source: SampleSource | SampleStream, preparer: Preparer, rank: int, world: int
) -> SampleReader:
    recipe = preparer.recipe
    if isinstance(source, SampleStream):
        return StreamReader(
            stream=source,
            preparer=preparer,
            rank=rank,
            world=world,
            workers=recipe.workers,
            prefetch=recipe.prefetch,
        )
    if len(source) == 0:
        raise DataError("the data set has no images")
    return IndexedReader(
        source=source,
        preparer=preparer,
        sampler=EpochSampler(count=len(source), seed=preparer.seed, rank=rank, world=world),
        workers=recipe.workers,
        prefetch=recipe.prefetch,
    )


class SkipLog:
    """Counts and logs skipped images and annotations, each one once."""

    def __init__(self) -> None:
        self._by_reason: dict[str, dict[str, int]] = {}

    def note(self, reason: str, key: str, message: str, count: int = 1) -> None:
        """Note that an image, or `count` annotations of it, were skipped."""
        keys = self._by_reason.setdefault(reason, {})
        if key not in keys:
            keys[key] = count
            logger.warning("skipped %s: %s: %s", key, reason, message)

    def note_faults(self, key: str, faults: tuple[str, ...]) -> None:
        """Note the annotations of an image that were skipped."""
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            self.note(BROKEN_ANNOTATION, key, faults[0] + more, len(faults))

    def counts(self) -> Counter[str]:
        """Number of skipped images or annotations by reason."""
        return Counter({reason: sum(keys.values()) for reason, keys in self._by_reason.items()})

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Return all notes in a form that JSON can hold."""
        return {reason: dict(keys) for reason, keys in self._by_reason.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue from the notes of `state_dict`."""
        self._by_reason = {reason: dict(keys) for reason, keys in state.items()}


def held_out_batches(
    recipe: DataRecipe, model_size: int, truth_size: int, *, images: int, with_masks: bool
) -> Iterator[Batch]:
    """Iterate over held-out batches, without augmentation: of `recipe.val`, else of `recipe.train`.

    Args:
        model_size: side S of the model space.
        truth_size: side T of the target space.
        images: number of images, rounded up to full batches; fewer if the data set has fewer.
        with_masks: use only images with masks.

    Raises:
        DataError: the data set is missing or invalid.
        ConfigError: the recipe names no data set.
    """
    spec = recipe.val or recipe.train
    if spec is None:
        raise ConfigError("no images to evaluate on: give data.val=coco:FILE.json or the like")
    plain = replace(recipe, train=spec, scale_jitter=None, flip=False, workers=0)
    source = open_data(spec)
    if not isinstance(source, SampleStream):
        images = min(images, len(source))
    loader = BatchLoader(
        source, plain, model_size, truth_size, seed=HELD_OUT_SEED, with_masks=with_masks
    )
    for _ in range(math.ceil(images / plain.images_per_batch)):
        yield next(loader)
