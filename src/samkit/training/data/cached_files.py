"""Files kept for each image of a data set: what a network made of it, so that it runs once."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.datasets.sample import Sample, SampleSource, SampleStream, require_indexed
from samkit.errors import DataError, EmbeddingError, ImageError, OutputError
from samkit.files import write_tensors
from samkit.geometry import Rle

if TYPE_CHECKING:  # heavy
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

logger = logging.getLogger(__name__)

IMAGE_CHECKSUM = "image_crc32"
FORMER_IMAGE_CHECKSUM = "photo_crc32"  # its name in files of earlier versions
LONGEST_NAME = 80  # of a key's characters in a file's name, which has a checksum besides


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What keeping did.

    Attributes:
        encoded: number of images that were encoded.
        found: number of those that had been before.
        skipped: images that are broken, by key, and why.
    """

    encoded: int
    found: int
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CachedFiles:
    """One kind of files in a folder, one for each image.

    Attributes:
        folder: where they are.
        format: marks the kind.
        what: it is, for messages, in the plural.
        tensor: name of the tensor in each file.
        suffix: of the files' names.
        maker_key: in their metadata, of the checksum of what made them.
        maker: that checksum.
        maker_kind: what made them, for messages.
        former_maker: the checksum that earlier versions gave the same maker.
        of_masks: whether they are of an image's masks too, so that they are made again when these
            change; for that, `keep` reads each image.
    """

    folder: Path
    format: str
    what: str
    tensor: str
    suffix: str
    maker_key: str
    maker: str
    maker_kind: str
    of_masks: bool = False
    former_maker: str | None = None

    def path(self, key: str) -> Path:
        """The file of an image."""
        return self.folder / file_name(key, self.suffix)

    def check_any(self, source: SampleSource) -> None:
        """Check that there are files, and that the first is of the same maker.

        Raises:
            EmbeddingError: there are none, or they are of another maker.
        """
        paths = (self.path(source.key(index)) for index in range(len(source)))
        first = next((path for path in paths if path.is_file()), None)
        if first is None:
            raise EmbeddingError(
                f"{self.folder} has no {self.what} of this data set: keep them first"
            )
        try:
            _, metadata = self._read(first)
        except DataError:
            return  # skipped when its turn comes
        self._check_maker(first, metadata)

    def of(self, sample: Sample) -> Tensor:
        """What is kept of an image.

        Raises:
            DataError: missing, damaged or of another image.
            EmbeddingError: of another maker.
        """
        path = self.path(sample.key)
        tensor, metadata = self._read(path)
        self._check_maker(path, metadata)
        is_own = metadata.get(IMAGE_CHECKSUM) == self._checksum(sample)
        if metadata.get("key") != sample.key or not is_own:
            masks = " or other masks" if self.of_masks else ""
            raise DataError(
                f"{path} was made of another image{masks} than {sample.key} is now: delete it and"
                f" keep {self.what} again, or name another folder for each data set"
            )
        return tensor

    def _checksum(self, sample: Sample) -> str:
        if not self.of_masks:
            return image_checksum(sample.image)
        return f"{image_checksum(sample.image)}-{masks_checksum(sample.rles)}"

    def read(self, path: Path) -> Tensor:
        """A file's tensor, of whatever image; see `of`."""
        return self._read(path)[0]

    def keep(
        self,
        source: SampleSource | SampleStream,
        encode: Callable[[Sample], tuple[Tensor, dict[str, str]]],
        on_progress: Callable[[int, int], None] | None = None,
        *,
        dtype: str,
        rank: int = 0,
        world: int = 1,
    ) -> Kept:
        """Encode each image once, to a file of its own; those that are there are not made again.

        Args:
            source: the data set; numbered, not a stream.
            encode: gives an image's tensor, and what its file says besides.
            on_progress: told after each image how many are done, and how many there are.
            dtype: safetensors' name of the tensor's type.
            rank: which of `world` processes this is; each encodes every so-many-th image.
            world: number of processes.

        Raises:
            ConfigError: the data set is a stream.
            EmbeddingError: the folder holds files of another maker.
            OutputError: files cannot be written.
        """
        source = require_indexed(source, self.what)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror}") from error
        skipped = dict[str, str]()
        encoded = found = 0
        for index in range(rank, len(source), world):
            key = source.key(index)
            try:
                sample = source[index] if self.of_masks else None
                if self._is_whole(key, dtype, sample):
                    found += 1
                else:
                    self._write(source[index] if sample is None else sample, encode)
                    encoded += 1
            except (DataError, ImageError) as error:
                skipped[key] = str(error)
                logger.warning("skipped %s: %s", key, error)
            if on_progress is not None:
                on_progress(index + 1, len(source))
        return Kept(encoded=encoded, found=found, skipped=skipped)

    def _write(
        self, sample: Sample, encode: Callable[[Sample], tuple[Tensor, dict[str, str]]]
    ) -> None:
        tensor, facts = encode(sample)
        facts |= {
            "format": self.format,
            "key": sample.key,
            self.maker_key: self.maker,
            IMAGE_CHECKSUM: self._checksum(sample),
        }
        write_tensors(self.path(sample.key), {self.tensor: tensor}, facts)

    def _read(self, path: Path) -> tuple[Tensor, dict[str, str]]:
        """A file's tensor and metadata.

        Raises:
            DataError: missing, damaged, or another kind of file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                metadata = self._metadata(file, path)
                return file.get_tensor(self.tensor), metadata
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing: keep {self.what} again, which adds it") from error
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    def _is_whole(self, key: str, dtype: str, sample: Sample | None) -> bool:
        """Whether a file is whole and, where a sample is given, of it."""
        from safetensors import SafetensorError, safe_open

        path = self.path(key)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = self._metadata(file, path)
                found = file.get_slice(self.tensor).get_dtype()
        except (SafetensorError, OSError, DataError):
            return False
        self._check_maker(path, metadata)
        kept = metadata.get(IMAGE_CHECKSUM)
        is_own = kept is not None if sample is None else kept == self._checksum(sample)
        return metadata.get("key") == key and is_own and found == dtype

    def _metadata(self, file: Any, path: Path) -> dict[str, str]:
        metadata: dict[str, str] = file.metadata() or {}
        if metadata.get("format") != self.format:
            raise DataError(f"{path} does not hold {self.what}")
        if FORMER_IMAGE_CHECKSUM in metadata:
            metadata[IMAGE_CHECKSUM] = metadata[FORMER_IMAGE_CHECKSUM]
        return metadata

    def _check_maker(self, path: Path, metadata: Mapping[str, str]) -> None:
        made_by = metadata.get(self.maker_key, "")
        if made_by not in (self.maker, self.former_maker):
            model = metadata.get("model_name")
            raise EmbeddingError(
                f"{path} was made by the {self.maker_kind} {made_by[:12]} of {model}, not by"
                f" {self.maker[:12]}: delete {path.parent} or name another folder, and keep"
                f" {self.what} again"
            )


def file_name(key: str, suffix: str) -> str:
    """Name of an image's file: legible, and another for each key."""
    legible = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-LONGEST_NAME:]
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
    return f"{legible}-{digest[:12]}{suffix}"


def masks_checksum(rles: Sequence[Rle]) -> str:
    """Tells masks, in their order, from others."""
    codes = json.dumps([rle["counts"] for rle in rles])
    return f"{zlib.crc32(codes.encode()):08x}"


def image_checksum(image: npt.NDArray[np.uint8]) -> str:
    """Tells an image (H, W, 3) from others: data sets number their images alike."""
    return f"{zlib.crc32(image.tobytes(), zlib.crc32(repr(image.shape).encode())):08x}"
