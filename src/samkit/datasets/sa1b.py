"""SA-1B in tar shards: images with a JSON file of the same name each, read front to back."""

import io
import json
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from samkit.annotations import draw_image, sa1b_image
from samkit.arrays import RgbImage
from samkit.datasets.sample import Sample
from samkit.errors import ConfigError, DataError, ImageError
from samkit.extras import install_hint
from samkit.formats import has_image_suffix, read_image_bytes, read_size_and_orientation

# Images of a shard that are shuffled together in each epoch, in memory and still encoded: 64 images
# of SA-1B take about 30 MB.
SHUFFLE_BLOCK = 64
# Seeds of the two kinds of random order, so that they are independent.
SHARD_ORDER, BLOCK_ORDER = 101, 102

Members = dict[str, Any]  # an image's files in a shard: bytes by suffix; webdataset's __key__


def _sample(key: str, image: RgbImage, orientation: int, document: Any) -> Sample:
    """Make a sample of an image and the content of its JSON file."""
    annotated = sa1b_image(document, Path(key), "")
    drawn = draw_image(annotated, (image.shape[0], image.shape[1]), orientation)
    faults = tuple(fault.text for fault in drawn.faults)
    return Sample(key=key, image=image, rles=drawn.rles, faults=faults, void=drawn.void)


class Sa1bShards:
    """Tar files of images and JSON files, read from front to back.

    Each epoch has another order of the shards, and of the images within blocks of a shard. Readers
    take whole shards; if there are more readers than shards, several read the same one, and each
    decodes a part of it.
    """

    def __init__(self, shards: Iterable[str | os.PathLike[str]], *, seed: int = 0) -> None:
        """Check that the shards are there; they are opened when they are read.

        Args:
            shards: paths of tar files.
            seed: seed of the order.

        Raises:
            ConfigError: webdataset is not installed.
            DataError: there are no shards, or one is missing.
        """
        if find_spec("webdataset") is None:
            raise ConfigError(f"tar shards need webdataset: {install_hint('train')}")
        self.shards = sorted(Path(shard) for shard in shards)
        self.seed = seed
        if not self.shards:
            raise DataError("a data set of tar shards needs at least one")
        missing = [shard for shard in self.shards if not shard.is_file()]
        if missing:
            raise DataError(f"no such file: {missing[0]}")

    def read(
        self, epoch: int, rank: int, world: int, *, start: int = 0
    ) -> Iterator[Sample | DataError]:
        """One reader's part of an epoch; see `SampleStream.read`."""
        for entry in islice(self._entries(epoch, rank, world), start, None):
            yield entry if isinstance(entry, DataError) else _decode(entry)

    def _entries(self, epoch: int, rank: int, world: int) -> Iterator[Members | DataError]:
        """Yield the images of `read`, still encoded."""
        count = len(self.shards)
        rng = np.random.default_rng([SHARD_ORDER, self.seed, epoch])
        order: list[int] = rng.permutation(count).tolist()
        if count >= world:
            for number in order[rank::world]:
                yield from self._shuffled(number, epoch)
            return
        sharers = len(range(rank % count, world, count))
        shard = self._shuffled(order[rank % count], epoch)
        yield from islice(shard, rank // count, None, sharers)

    def _shuffled(self, number: int, epoch: int) -> Iterator[Members | DataError]:
        """Yield a shard's images in an epoch's order."""
        entries = _read_shard(self.shards[number])
        for block_number in range(2**62):
            block = list(islice(entries, SHUFFLE_BLOCK))
            if not block:
                return
            seeds = [BLOCK_ORDER, self.seed, epoch, number, block_number]
            for index in np.random.default_rng(seeds).permutation(len(block)):
                yield block[index]


def _read_shard(path: Path) -> Iterator[Members | DataError]:
    """Yield the files of each image in a shard, still encoded; errors if the shard is damaged."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    faults: list[DataError] = []

    def add_fault(error: Exception) -> bool:
        reason = getattr(error, "strerror", None) or (error.args or (type(error).__name__,))[0]
        faults.append(DataError(f"{path}: the shard is damaged: {' '.join(str(reason).split())}"))
        return True  # go on

    try:
        with path.open("rb") as stream:
            source = [{"url": str(path), "stream": stream}]
            files = tar_file_expander(source, handler=add_fault)
            for members in group_by_keys(files, handler=add_fault):
                yield members | {"__key__": f"{path.stem}/{members['__key__']}"}
                yield from faults
                faults.clear()
    except OSError as error:
        faults.append(DataError(f"{path}: cannot be read: {error.strerror}"))
    yield from faults


def _decode(members: Members) -> Sample | DataError:
    """Decode an image's files to a sample; an error about them is returned, not raised."""
    key = str(members["__key__"])
    suffixes = [suffix for suffix in members if has_image_suffix(f"_.{suffix}")]
    if not suffixes or "json" not in members:
        missing = "JSON file" if suffixes else "image"
        return DataError(f"{key}: its {missing} is missing in the shard")
    try:
        content = members[suffixes[0]]
        image = read_image_bytes(content, "the image")
        _, orientation = read_size_and_orientation(io.BytesIO(content), "the image")
        return _sample(key, image, orientation, json.loads(members["json"]))
    except ImageError as error:
        return DataError(f"{key}: {error}")
    except (ValueError, RecursionError) as error:
        return DataError(f"{key}: its annotations are not JSON: {error}")
    except DataError as error:
        return DataError(f"{key}: {error}")
