"""Batches without end, in an order that can be taken up again at any of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from samkit.datasets.folders import ImageFolder
from samkit.datasets.sample import SampleSource, SampleStream
from samkit.errors import ConfigError, DataError, SamkitError
from samkit.training.batch import Batch
from samkit.training.data.data_recipe import DataRecipe
from samkit.training.data.embeddings import EmbeddedData
from samkit.training.data.prepare import Prepared, Preparer, Skip
from samkit.training.data.sampling import Feed, Item, Order, SourceFeed, StreamFeed
from samkit.training.data.skips import SkipLedger

__all__ = ["BatchLoader", "DataRecipe"]

logger = logging.getLogger(__name__)


class BatchLoader:
    """Batches of a data set, epoch after epoch without end.

        loader = BatchLoader(open_data(recipe.train), recipe, 1024, 256, seed=0)
        batch = next(loader)
        checkpoint["data"] = loader.state_dict()

    Every batch has the same number of images, each with a mask at least; at the end of an epoch a
    batch goes on with the next one. Each epoch has an order of its own. All that is random depends
    on the seed, the epoch and the sample, never on what ran before, nor on the number of workers.

    Broken images and annotations, and images without a usable mask, are left out, counted and
    logged once; the batch is filled from what follows.
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
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            source: the data set.
            recipe: filters, augmentation, sizes.
            model_size: side S of the model space.
            truth_size: side T of the target space.
            seed: of the order and of the augmentation.
            rank: which process this is.
            world: number of processes, each with a loader of its own.
            with_masks: False for batches of images alone, also of those without a mask.

        Raises:
            ConfigError: numbers that make no sense, augmentation of kept embeddings, or masks
                of a folder of images.
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
                "kept embeddings are of whole images as they are: train without scale_jitter and"
                " flip, or with the encoder"
            )
        self.recipe = recipe
        preparer = Preparer(
            recipe=recipe,
            model_size=model_size,
            truth_size=truth_size,
            seed=seed,
            with_masks=with_masks,
        )
        self._feed = _make_feed(source, preparer, rank, world)
        self._place = self._feed.begin()
        self._items: Generator[Item] | None = None
        self._ledger = SkipLedger()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DataError: nothing in a whole epoch can be used.
            EmbeddingError: kept embeddings are of another encoder.
        """
        try:
            images, place, skips = self._gather()
        except BaseException:
            self.close()  # what was taken and not handed out is taken again
            raise
        # Only now: the state is always that after a batch that was handed out.
        self._place = place
        self._note(skips)
        for image in images:
            self._ledger.note_faults(image.key, image.faults)
        return _collate(images)

    @property
    def skipped(self) -> Counter[str]:
        """How many images or annotations were left out, by reason; each counts once."""
        return self._ledger.counts()

    def state_dict(self) -> dict[str, Any]:
        """Where this loader stands, as plain numbers and texts.

        Each process has its own: where images are left out, one is ahead of the other.
        """
        return {
            "place": self._place,
            "identity": self._feed.identity(),
            "skipped": self._ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch at which `state_dict` was asked for.

        Raises:
            ConfigError: the state is of another data set, seed or number of processes.
        """
        mine, given = self._feed.identity(), dict(state["identity"])
        if given != mine:
            differing = [name for name in mine if given.get(name) != mine[name]] or sorted(given)
            listed = ", ".join(
                f"{name} {given.get(name)} (now {mine.get(name)})" for name in differing
            )
            raise ConfigError(f"the order of the data cannot be taken up: it was of {listed}")
        self.close()
        self._place = state["place"]
        self._ledger.load_state_dict(state["skipped"])

    def __enter__(self) -> BatchLoader:  # noqa: PYI034 -- Self is of Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers, and tell what was left out."""
        self.close()
        for reason, count in self.skipped.items():
            logger.warning("%d %s", count, reason)

    def close(self) -> None:
        """End the workers; the next batch starts them again."""
        if self._items is not None:
            self._items.close()
        self._items = None

    def _gather(self) -> tuple[list[Prepared], dict[str, Any], list[Skip]]:
        """Images for one batch; the place after them; what was left out on the way."""
        if self._items is None:
            self._items = self._feed.items(self._place)
        images: list[Prepared] = []
        skips: list[Skip] = []
        unusable: list[Item] = []  # since the last usable image
        place = self._place
        while len(images) < self.recipe.images_per_batch:
            item = next(self._items)
            place = self._feed.advance(place, item)
            match item.result:
                case Prepared() as image:
                    images.append(image)
                    unusable.clear()
                    continue
                case Skip() as skip:
                    skips.append(skip)
                case SamkitError() as error:
                    raise error
            unusable.append(item)
            if self._feed.is_exhausted(unusable):
                self._note(skips)
                raise DataError(self._nothing())
        return images, place, skips

    def _note(self, skips: list[Skip]) -> None:
        for skip in skips:
            self._ledger.note_faults(skip.key, skip.faults)
            self._ledger.note(skip.reason, skip.key, skip.message)

    def _nothing(self) -> str:
        found = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        return f"no image of a whole epoch can be used: {found or 'there are none'}"


def _make_feed(
    source: SampleSource | SampleStream, preparer: Preparer, rank: int, world: int
) -> Feed:
    recipe = preparer.recipe
    if isinstance(source, SampleStream):
        return StreamFeed(
            stream=source,
            preparer=preparer,
            rank=rank,
            world=world,
            workers=recipe.workers,
            prefetch=recipe.prefetch,
        )
    if len(source) == 0:
        raise DataError("the data set has no images")
    return SourceFeed(
        source=source,
        preparer=preparer,
        order=Order(count=len(source), seed=preparer.seed, rank=rank, world=world),
        workers=recipe.workers,
        prefetch=recipe.prefetch,
    )


def _collate(images: list[Prepared]) -> Batch:
    tensors = torch.stack([image.image for image in images])
    counts = torch.tensor([len(image.masks) for image in images])
    is_embedded = images[0].is_embedded
    codes = [image.text_embeds for image in images if image.text_embeds is not None]
    return Batch(
        pixels=None if is_embedded else tensors,
        features=tensors if is_embedded else None,
        masks=torch.cat([image.masks for image in images]),
        image_index=torch.repeat_interleave(torch.arange(len(images)), counts),
        keys=tuple(image.key for image in images),
        phrases=tuple(phrase for image in images for phrase in image.phrases),
        text_embeds=torch.cat(codes) if len(codes) == len(images) else None,
    )
