"""Resumable order of samples, distributed over processes and data workers.

A `SampleReader` reads prepared samples without end from any position on. A position is made of
plain numbers that a checkpoint can hold; each returned sample advances it. Samples that workers
have prepared ahead do not count.
"""

import hashlib
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from samkit.datasets import SampleSource, SampleStream
from samkit.errors import DataError, ImageError, SamkitError
from samkit.training.data.prepare import Prepared, Preparer, Skip

# Purpose of random numbers, part of their seed, so that no two purposes share theirs.
ORDER = 301
BROKEN_IMAGE, BROKEN_SAMPLE = "broken image", "broken sample"

Position = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetched:
    """Result of reading one sample.

    Attributes:
        result: a prepared image; the reason why it was skipped; an error that ends the training;
            or None at the end of an epoch of a stream.
        shard: index of the stream's shard that the sample comes from.
        after: position in that shard after the sample: epoch, and number of samples read in it.
    """

    result: Prepared | Skip | SamkitError | None
    shard: int = 0
    after: tuple[int, int] = (0, 0)


class SampleReader(Protocol):
    """Reads samples without end, from any position on."""

    def start(self) -> Position:
        """Position of the first sample."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the facts that must be unchanged for a saved position to be valid."""
        ...

    def read(self, position: Position) -> Generator[Fetched]:
        """Read samples from a position on."""
        ...

    def advance(self, position: Position, fetched: Fetched) -> Position:
        """The position after a sample."""
        ...

    def is_exhausted(self, unusable: Sequence[Fetched]) -> bool:
        """Whether these consecutive unusable samples cover a full epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """Distributed sampler: each epoch is a permutation of all samples.

    Processes take turns: of the endless sequence of samples, process r of n takes every n-th,
    beginning with the r-th. So each sample comes once in an epoch, whatever the number of
    processes, and all of them advance at the same pace.

    Attributes:
        count: number of samples.
        seed: seed of the permutations.
        rank: index of this process.
        world: number of processes.
    """

    count: int
    seed: int
    rank: int
    world: int

    def indices(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield epoch and index of this process's samples without end, from its `start`-th on."""
        epoch, order = -1, np.zeros(0, np.int64)
        number = self.rank + self.world * start
        while True:
            if number // self.count != epoch:
                epoch = number // self.count
                order = np.random.default_rng([ORDER, self.seed, epoch]).permutation(self.count)
            yield epoch, int(order[number % self.count])
            number += self.world


@dataclass(frozen=True, kw_only=True)
class IndexedReader:
    """Reads an indexed data set. The order does not depend on the number of workers."""

    source: SampleSource
    preparer: Preparer
    sampler: EpochSampler
    workers: int
    prefetch: int

    def start(self) -> Position:
        return {"position": 0}

    def identity(self) -> dict[str, Any]:
        sampler = self.sampler
        return {
            "samples": sampler.count,
            "seed": sampler.seed,
            "rank": sampler.rank,
            "world": sampler.world,
        }

    def read(self, position: Position) -> Generator[Fetched]:
        dataset = _IndexedDataset(self.source, self.preparer)
        indices = self.sampler.indices(position["position"])
        if self.workers == 0:
            return (dataset[epoch_index] for epoch_index in indices)
        return read_in_workers(dataset, self.workers, self.prefetch, sampler=indices)

    def advance(self, position: Position, fetched: Fetched) -> Position:  # noqa: ARG002 - sequential
        return {"position": position["position"] + 1}

    def is_exhausted(self, unusable: Sequence[Fetched]) -> bool:
        # An image that is first in one epoch may be last in the next, and the only one.
        return len(unusable) >= 2 * self.sampler.count - 1


class _IndexedDataset(Dataset[Fetched]):
    """Prepared samples by epoch and index."""

    def __init__(self, source: SampleSource, preparer: Preparer) -> None:
        self.source, self.preparer = source, preparer

    def __getitem__(self, epoch_index: tuple[int, int]) -> Fetched:
        epoch, index = epoch_index
        try:
            sample = self.source[index]
            return Fetched(result=self.preparer.prepare(sample, epoch, index))
        except ImageError as error:
            reason, message = BROKEN_IMAGE, str(error)
        except DataError as error:
            reason, message = BROKEN_SAMPLE, str(error)
        except SamkitError as error:  # returned: a DataLoader would raise it with a long traceback
            return Fetched(result=error)
        return Fetched(result=Skip(key=self.source.key(index), reason=reason, message=message))


@dataclass(frozen=True, kw_only=True)
class StreamReader:
    """Reads a stream: one shard in each worker, taking turns.

    The order depends on the number of workers, which therefore must stay the same.
    """

    stream: SampleStream
    preparer: Preparer
    rank: int
    world: int
    workers: int
    prefetch: int

    @property
    def shards(self) -> int:
        """Number of shards that this process reads."""
        return max(1, self.workers)

    def start(self) -> Position:
        return {"turn": 0, "readers": [[0, 0]] * self.shards}

    def identity(self) -> dict[str, Any]:
        return {
            "seed": self.preparer.seed,
            "rank": self.rank,
            "world": self.world,
            "workers": self.workers,
        }

    def read(self, position: Position) -> Generator[Fetched]:
        dataset = _StreamDataset(self, position)
        if self.workers == 0:
            return iter(dataset)
        return read_in_workers(dataset, self.workers, self.prefetch)

    def advance(self, position: Position, fetched: Fetched) -> Position:
        shards = list(position["readers"])
        shards[fetched.shard] = list(fetched.after)
        return {"turn": (fetched.shard + 1) % self.shards, "readers": shards}

    def is_exhausted(self, unusable: Sequence[Fetched]) -> bool:
        if unusable[-1].result is not None:
            return False
        ends = Counter(fetched.shard for fetched in unusable if fetched.result is None)
        # The first end of a shard may be that of an epoch that began with usable images.
        return all(ends[shard] >= 2 for shard in range(self.shards))


class _StreamDataset(IterableDataset[Fetched]):
    """Prepared samples of one shard, with a mark at the end of each epoch."""

    def __init__(self, reader: StreamReader, position: Position) -> None:
        self.reader, self.position = reader, position

    def __iter__(self) -> Generator[Fetched]:
        worker, reader = get_worker_info(), self.reader
        # Worker 0 is read from first, so it continues with the shard whose turn it is.
        shard = ((worker.id if worker else 0) + self.position["turn"]) % reader.shards
        epoch, start = self.position["readers"][shard]
        all_shards = reader.world * reader.shards
        while True:
            count = start
            samples = reader.stream.read(
                epoch, reader.rank * reader.shards + shard, all_shards, start=start
            )
            for count, sample in enumerate(samples, start=start + 1):
                if isinstance(sample, DataError):
                    key = str(sample).partition(": ")[0]
                    result: Prepared | Skip = Skip(
                        key=key, reason=BROKEN_SAMPLE, message=str(sample)
                    )
                else:
                    result = reader.preparer.prepare(sample, epoch, _number_of(sample.key))
                yield Fetched(result=result, shard=shard, after=(epoch, count))
            epoch, start = epoch + 1, 0
            yield Fetched(result=None, shard=shard, after=(epoch, 0))


def _number_of(key: str) -> int:
    """Number that identifies a sample of a stream, whichever shard it is in."""
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def read_in_workers(
    dataset: Dataset[T],
    workers: int,
    prefetch: int,
    sampler: Iterator[Any] | None = None,
) -> Generator[T]:
    """Read samples in worker processes, one sample from each in turns."""
    loader: DataLoader[T] = DataLoader(
        dataset,
        batch_size=None,  # batches are made in this process, which knows which samples are usable
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=prefetch,
        collate_fn=_unchanged,
        worker_init_fn=_ignore_signals,
        # Otherwise every start advances torch's global random state, which a resumed run lacks.
        generator=torch.Generator(),
    )
    samples: Any = iter(loader)
    try:
        yield from samples
    finally:
        # At once, not when the last traceback that refers to them is gone: Python waits for its
        # workers when it exits, and they wait for requests.
        samples._shutdown_workers()  # noqa: SLF001 - torch has no other way


def _unchanged(item: Any) -> Any:
    return item


def _ignore_signals(worker: int) -> None:  # noqa: ARG001
    """Ignore signals in workers: a training that is stopped needs them to finish its step.

    Terminals and schedulers signal all processes. Workers end with the training in any case.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
