"""In which order samples are read, by how many processes, and where to go on after a stop.

A feed gives items one after another without end. Where it stands is a place, plain numbers that a
checkpoint can hold; each item that is handed out moves it on. What workers have prepared ahead does
not count.
"""

import hashlib
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from samkit.datasets.sample import SampleSource, SampleStream
from samkit.errors import DataError, ImageError, SamkitError
from samkit.training.data.prepare import Prepared, Preparer, Skip

# What random numbers are drawn for, so that no two purposes share theirs.
ORDER = 301
BROKEN_IMAGE, BROKEN_SAMPLE = "broken image", "broken sample"

Place = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """What a feed gives.

    Attributes:
        result: an image; why there is none; an error that ends the training; None at the end of a
            reader's epoch.
        reader: which of a stream's readers it comes from.
        after: of a stream's reader: epoch, and number of samples in it, up to and with this one.
    """

    result: Prepared | Skip | SamkitError | None
    reader: int = 0
    after: tuple[int, int] = (0, 0)


class Feed(Protocol):
    """Items without end, from any place on."""

    def begin(self) -> Place:
        """Where a training begins."""
        ...

    def identity(self) -> dict[str, Any]:
        """What must be the same for a place to mean the same."""
        ...

    def items(self, place: Place) -> Generator[Item]:
        """The items from a place on."""
        ...

    def advance(self, place: Place, item: Item) -> Place:
        """The place after an item."""
        ...

    def is_exhausted(self, unusable: Sequence[Item]) -> bool:
        """Whether a whole epoch lies in items that follow one another."""
        ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of all samples in all epochs: each epoch is a permutation of its own.

    Processes take turns: of the endless row of samples, process r of n takes every n-th from the
    r-th on. So each sample comes once in an epoch, whatever the number of processes, and all of
    them go at the same pace.

    Attributes:
        count: number of samples.
        seed: of the permutations.
        rank: which process this is.
        world: number of processes.
    """

    count: int
    seed: int
    rank: int
    world: int

    def draws(self, position: int) -> Iterator[tuple[int, int]]:
        """Epochs and numbers of the samples of this process, from its n-th on, without end."""
        epoch, order = -1, np.zeros(0, np.int64)
        place = self.rank + self.world * position
        while True:
            if place // self.count != epoch:
                epoch = place // self.count
                order = np.random.default_rng([ORDER, self.seed, epoch]).permutation(self.count)
            yield epoch, int(order[place % self.count])
            place += self.world


@dataclass(frozen=True, kw_only=True)
class SourceFeed:
    """Of a data set whose samples are numbered. Items do not depend on the number of workers."""

    source: SampleSource
    preparer: Preparer
    order: Order
    workers: int
    prefetch: int

    def begin(self) -> Place:
        return {"position": 0}

    def identity(self) -> dict[str, Any]:
        order = self.order
        return {
            "samples": order.count,
            "seed": order.seed,
            "rank": order.rank,
            "world": order.world,
        }

    def items(self, place: Place) -> Generator[Item]:
        numbered = _Numbered(self.source, self.preparer)
        draws = self.order.draws(place["position"])
        if self.workers == 0:
            return (numbered[ticket] for ticket in draws)
        return _worker_items(numbered, self.workers, self.prefetch, sampler=draws)

    def advance(self, place: Place, item: Item) -> Place:  # noqa: ARG002 - one after another
        return {"position": place["position"] + 1}

    def is_exhausted(self, unusable: Sequence[Item]) -> bool:
        # An image that is first in one epoch may be last in the next, and the only one.
        return len(unusable) >= 2 * self.order.count - 1


class _Numbered(Dataset[Item]):
    """Prepared samples by epoch and number."""

    def __init__(self, source: SampleSource, preparer: Preparer) -> None:
        self.source, self.preparer = source, preparer

    def __getitem__(self, ticket: tuple[int, int]) -> Item:
        epoch, index = ticket
        try:
            sample = self.source[index]
            return Item(result=self.preparer.prepare(sample, epoch, index))
        except ImageError as error:
            reason, message = BROKEN_IMAGE, str(error)
        except DataError as error:
            reason, message = BROKEN_SAMPLE, str(error)
        except SamkitError as error:  # carried over: a DataLoader would make pages of it
            return Item(result=error)
        return Item(result=Skip(key=self.source.key(index), reason=reason, message=message))


@dataclass(frozen=True, kw_only=True)
class StreamFeed:
    """Of a data set that is read from front to back, by one reader in each worker, in turns.

    The order depends on the number of workers, which therefore must stay the same.
    """

    stream: SampleStream
    preparer: Preparer
    rank: int
    world: int
    workers: int
    prefetch: int

    @property
    def readers(self) -> int:
        """Number of readers in this process."""
        return max(1, self.workers)

    def begin(self) -> Place:
        return {"turn": 0, "readers": [[0, 0]] * self.readers}

    def identity(self) -> dict[str, Any]:
        return {
            "seed": self.preparer.seed,
            "rank": self.rank,
            "world": self.world,
            "workers": self.workers,
        }

    def items(self, place: Place) -> Generator[Item]:
        streamed = _Streamed(self, place)
        if self.workers == 0:
            return iter(streamed)
        return _worker_items(streamed, self.workers, self.prefetch)

    def advance(self, place: Place, item: Item) -> Place:
        readers = list(place["readers"])
        readers[item.reader] = list(item.after)
        return {"turn": (item.reader + 1) % self.readers, "readers": readers}

    def is_exhausted(self, unusable: Sequence[Item]) -> bool:
        if unusable[-1].result is not None:
            return False
        ends = Counter(item.reader for item in unusable if item.result is None)
        # The first end that a reader comes to may be that of an epoch that it began with images.
        return all(ends[reader] >= 2 for reader in range(self.readers))


class _Streamed(IterableDataset[Item]):
    """Prepared samples of one reader, and a mark at the end of each epoch."""

    def __init__(self, feed: StreamFeed, place: Place) -> None:
        self.feed, self.place = feed, place

    def __iter__(self) -> Generator[Item]:
        worker, feed = get_worker_info(), self.feed
        # Worker 0 is asked first: it goes on with the reader whose turn it is.
        reader = ((worker.id if worker else 0) + self.place["turn"]) % feed.readers
        epoch, start = self.place["readers"][reader]
        readers = feed.world * feed.readers
        while True:
            number = start
            samples = feed.stream.read(
                epoch, feed.rank * feed.readers + reader, readers, start=start
            )
            for number, sample in enumerate(samples, start=start + 1):
                if isinstance(sample, DataError):
                    key = str(sample).partition(": ")[0]
                    result: Prepared | Skip = Skip(
                        key=key, reason=BROKEN_SAMPLE, message=str(sample)
                    )
                else:
                    result = feed.preparer.prepare(sample, epoch, _number_of(sample.key))
                yield Item(result=result, reader=reader, after=(epoch, number))
            epoch, start = epoch + 1, 0
            yield Item(result=None, reader=reader, after=(epoch, 0))


def _number_of(key: str) -> int:
    """A number for a sample of a stream, whichever reader meets it."""
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def _worker_items(
    dataset: Dataset[Item],
    workers: int,
    prefetch: int,
    sampler: Iterator[tuple[int, int]] | None = None,
) -> Generator[Item]:
    """Items that workers prepare, one item from each in turns."""
    loader: DataLoader[Item] = DataLoader(
        dataset,
        batch_size=None,  # items are put together here, where it is known which are usable
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=prefetch,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_training,
        # Else torch's global random state moves on with every start, and so differs on resuming.
        generator=torch.Generator(),
    )
    items: Any = iter(loader)
    try:
        yield from items
    finally:
        # At once, not when the last traceback that knows them is gone: Python waits at its end for
        # its workers, and they for their orders.
        items._shutdown_workers()  # noqa: SLF001 - torch has no other way


def _as_it_is(item: Any) -> Any:
    return item


def _leave_signals_to_the_training(worker: int) -> None:  # noqa: ARG001
    """A training that is told to stop finishes its step, for which it needs its workers.

    Terminals and schedulers signal all processes. Workers end with the training in any case.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
