"""SA-1B: for each image a JSON file beside it, in folders or in tar shards.

Only the masks are read, so files of other programs that have no more than `segmentation` in each
annotation will do.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samkit.datasets.coco import check_size, read_json
from samkit.datasets.sample import Sample
from samkit.errors import ConfigError, DataError, ImageError
from samkit.extras import install_hint
from samkit.formats import read_image
from samkit.formats.image import RgbImage
from samkit.formats.segmentations import read_rles

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
# Images of a shard that are brought into another order in each epoch. They are in memory meanwhile,
# undecoded: 64 images of SA-1B take some 30 MB.
SHUFFLED_TOGETHER = 64
# What random numbers are drawn for, so that no two purposes share theirs.
SHARD_ORDER, BLOCK_ORDER = 101, 102

Members = dict[str, Any]  # of one image in a tar file: bytes by suffix, and webdataset's __key__


class Sa1bFolder:
    """Images with a JSON file of the same name beside each, in a folder and all folders in it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """List the files.

        Raises:
            DataError: there are no such pairs.
        """
        self.folder = Path(folder)
        self._pairs = list(find_pairs(self.folder))
        if not self._pairs:
            raise DataError(f"no image in {folder} has a JSON file of the same name beside it")

    def __len__(self) -> int:
        return len(self._pairs)

    def key(self, index: int) -> str:
        image, _ = self._pairs[index]
        return image.relative_to(self.folder).as_posix()

    def __getitem__(self, index: int) -> Sample:
        image_path, json_path = self._pairs[index]
        document = read_json(json_path)
        return _sample(self.key(index), read_image(image_path), document)


def find_pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Images and their JSON files, in the order of their names."""
    try:
        files = {path for path in folder.rglob("*") if path.suffix}
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    for path in sorted(files):
        document = path.with_suffix(".json")
        if path.suffix.lower() in IMAGE_SUFFIXES and document in files:
            yield path, document


def _sample(key: str, image: RgbImage, document: Any) -> Sample:
    """A sample of an image and what its JSON file holds."""
    parts = document if isinstance(document, dict) else {}
    annotations, entry = parts.get("annotations"), parts.get("image")
    if not isinstance(annotations, list):
        raise DataError(f"{key}: its JSON file has no list of annotations")
    height, width = image.shape[:2]
    if isinstance(entry, dict):
        check_size(key, entry, (height, width))
    segmentations = [
        one.get("segmentation") if isinstance(one, dict) else one for one in annotations
    ]
    rles, faults = read_rles(segmentations, (height, width))
    return Sample(key=key, image=image, rles=rles, faults=faults)


class Sa1bShards:
    """Tar files of images and JSON files, read from front to back.

    Each epoch has the shards in another order, and so blocks of images within each. Readers take
    whole shards; where there are more readers than shards, several read the same one and decode
    each a part of it.
    """

    def __init__(self, shards: Iterable[str | os.PathLike[str]], *, seed: int = 0) -> None:
        """Name the shards; they are opened when they are read.

        Args:
            shards: paths of tar files.
            seed: of the order.

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
        """What `read` decodes."""
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
        """A shard's entries in an epoch's order."""
        entries = _read_shard(self.shards[number])
        for block_number in range(2**62):
            block = list(islice(entries, SHUFFLED_TOGETHER))
            if not block:
                return
            seeds = [BLOCK_ORDER, self.seed, epoch, number, block_number]
            for index in np.random.default_rng(seeds).permutation(len(block)):
                yield block[index]


def _read_shard(path: Path) -> Iterator[Members | DataError]:
    """The members of each image in a tar file, undecoded; errors where the file is broken."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    faults: list[DataError] = []

    def note(error: Exception) -> bool:
        reason = getattr(error, "strerror", None) or (error.args or (type(error).__name__,))[0]
        faults.append(DataError(f"{path}: the shard is damaged: {' '.join(str(reason).split())}"))
        return True  # go on

    try:
        with path.open("rb") as stream:
            source = [{"url": str(path), "stream": stream}]
            files = tar_file_expander(source, handler=note)
            for members in group_by_keys(files, handler=note):
                yield members | {"__key__": f"{path.stem}/{members['__key__']}"}
                yield from faults
                faults.clear()
    except OSError as error:
        faults.append(DataError(f"{path}: cannot be read: {error.strerror}"))
    yield from faults


def _decode(members: Members) -> Sample | DataError:
    """An image's members to a sample, or the error that says what is wrong with them."""
    key = str(members["__key__"])
    suffixes = [suffix for suffix in members if f".{suffix}" in IMAGE_SUFFIXES]
    if not suffixes or "json" not in members:
        missing = "JSON file" if suffixes else "image"
        return DataError(f"{key}: its {missing} is missing in the shard")
    try:
        image = _decode_image(members[suffixes[0]])
        return _sample(key, image, json.loads(members["json"]))
    except ImageError as error:
        return DataError(f"{key}: {error}")
    except (ValueError, RecursionError) as error:
        return DataError(f"{key}: its annotations are not JSON: {error}")
    except DataError as error:
        return error


def _decode_image(data: bytes) -> RgbImage:
    try:
        opened = Image.open(io.BytesIO(data))
    except Exception as error:  # Pillow raises almost anything on damaged headers
        raise ImageError("the image is not an image that can be read") from error
    return read_image(opened)
