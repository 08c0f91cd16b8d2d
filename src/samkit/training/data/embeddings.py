"""Embeddings kept on disk, so that a decoder is trained without an encoder."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.errors import ConfigError, DataError, EmbeddingError, ImageError, OutputError
from samkit.files import write_tensors
from samkit.training.data.sample import Sample, SampleSource, SampleStream

if TYPE_CHECKING:  # heavy
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from samkit.predict import Predictor

logger = logging.getLogger(__name__)

FORMAT = "samkit-kept-embedding-1"
FEATURES = "features"
SUFFIX = ".emb.safetensors"
PHOTO_CHECKSUM = "photo_crc32"
# What numbers are kept in, and safetensors' names of those.
DTYPES = {"float16": "F16", "float32": "F32"}
LONGEST_NAME = 80  # of a key's characters in a file's name, which has a checksum besides


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedSample(Sample):
    """A sample, and what the image encoder made of its photo.

    Attributes:
        features: (C, G, G), float16 or float32.
    """

    features: Tensor


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What `keep_embeddings` did.

    Attributes:
        encoded: number of photos that were encoded.
        found: number of those that had been before.
        skipped: photos that are broken, by key, and why.
    """

    encoded: int
    found: int
    skipped: Mapping[str, str] = field(default_factory=dict)


def keep_embeddings(
    predictor: Predictor,
    source: SampleSource | SampleStream,
    folder: str | os.PathLike[str],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    dtype: str = "float16",
    rank: int = 0,
    world: int = 1,
) -> Kept:
    """Encode each photo of a data set once, to a file of its own.

    Files are written whole or not at all, and those that are there are not made again, so that a
    run that was stopped goes on where it was. Whether those are of the same photos is seen when
    they are read with them, by `EmbeddedData`.

    Args:
        predictor: its image encoder.
        source: the data set; numbered, not a stream.
        folder: for the files; made if it is missing.
        on_progress: told after each photo how many are done, and how many there are.
        dtype: "float16" takes half of the space, 2 MB for each photo of SAM's usual size, and
            changes an embedding by some 0.02%; or "float32".
        rank: which of `world` processes this is; each encodes every so-many-th photo.
        world: number of processes.

    Raises:
        ConfigError: the data set is a stream, or the dtype unknown.
        EmbeddingError: the folder holds embeddings of another encoder.
        OutputError: files cannot be written.
    """
    import torch

    if isinstance(source, SampleStream):
        raise ConfigError(
            "embeddings are kept of numbered data sets: unpack tar shards into a folder first"
        )
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    checksum, skipped = predictor.encoder_checksum, dict[str, str]()
    encoded = found = 0
    for index in range(rank, len(source), world):
        key = source.key(index)
        path = folder / file_name(key)
        if _is_kept(path, key, checksum, dtype):
            found += 1
        else:
            try:
                sample = source[index]
                embedding = predictor.embed(sample.photo)
            except (DataError, ImageError) as error:
                skipped[key] = str(error)
                logger.warning("skipped %s: %s", key, error)
            else:
                height, width = embedding.coords.original_hw
                metadata = {
                    "format": FORMAT,
                    "key": key,
                    "encoder_checksum": checksum,
                    "model_name": predictor.model_name,
                    "original_hw": f"{height},{width}",
                    PHOTO_CHECKSUM: photo_checksum(sample.photo),
                }
                features = embedding.features[0].to(getattr(torch, dtype))
                write_tensors(path, {FEATURES: features}, metadata)
                encoded += 1
        if on_progress is not None:
            on_progress(index + 1, len(source))
    return Kept(encoded=encoded, found=found, skipped=skipped)


class EmbeddedData:
    """A data set with the embeddings that `keep_embeddings` made of it.

    Attributes:
        source: the data set.
        folder: of the embeddings.
        encoder_checksum: of the encoder that must have made them, as `Predictor.encoder_checksum`.
    """

    def __init__(
        self, source: SampleSource, folder: str | os.PathLike[str], *, encoder_checksum: str
    ) -> None:
        """Check that there are embeddings, and that the first is of the encoder.

        Raises:
            EmbeddingError: there are none, or they are of another encoder.
        """
        self.source = source
        self.folder = Path(folder)
        self.encoder_checksum = encoder_checksum
        first = next((path for path in map(self._path, range(len(source))) if path.is_file()), None)
        if first is None:
            raise EmbeddingError(f"{folder} has no embeddings of this data set: keep them first")
        try:
            _, metadata = _read(first)
        except DataError:
            return  # skipped when its turn comes
        _check_encoder(first, metadata, encoder_checksum)

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def __getitem__(self, index: int) -> EmbeddedSample:
        """A sample and its features.

        Raises:
            DataError: broken sample, or its embedding is missing, damaged or of another photo.
            ImageError: the photo cannot be read.
            EmbeddingError: the embedding is of another encoder.
        """
        path = self._path(index)
        features, metadata = _read(path)
        _check_encoder(path, metadata, self.encoder_checksum)
        sample = self.source[index]
        is_own = metadata.get(PHOTO_CHECKSUM) == photo_checksum(sample.photo)
        if metadata.get("key") != sample.key or not is_own:
            raise DataError(
                f"{path} was made of another photo than {sample.key} is now: delete it and keep"
                " embeddings again, or name another folder for each data set"
            )
        return EmbeddedSample(
            key=sample.key,
            photo=sample.photo,
            rles=sample.rles,
            faults=sample.faults,
            features=features,
        )

    def _path(self, index: int) -> Path:
        return self.folder / file_name(self.key(index))


def file_name(key: str) -> str:
    """Name of the file of a photo's embedding: legible, and another for each key."""
    legible = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-LONGEST_NAME:]
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
    return f"{legible}-{digest[:12]}{SUFFIX}"


def photo_checksum(photo: npt.NDArray[np.uint8]) -> str:
    """Tells a photo (H, W, 3) from others: data sets number their photos alike."""
    return f"{zlib.crc32(photo.tobytes(), zlib.crc32(repr(photo.shape).encode())):08x}"


def _read(path: Path) -> tuple[Tensor, dict[str, str]]:
    """A file's features and metadata.

    Raises:
        DataError: missing, damaged, or another kind of file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(file, path)
            return file.get_tensor(FEATURES), metadata
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: keep embeddings again, which adds it") from error
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _is_kept(path: Path, key: str, checksum: str, dtype: str) -> bool:
    """Whether a file is whole and need not be made again."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(file, path)
            found = file.get_slice(FEATURES).get_dtype()
    except (SafetensorError, OSError, DataError):
        return False
    _check_encoder(path, metadata, checksum)
    return metadata.get("key") == key and PHOTO_CHECKSUM in metadata and found == DTYPES[dtype]


def _metadata(file: Any, path: Path) -> dict[str, str]:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is not a kept embedding")
    return metadata


def _check_encoder(path: Path, metadata: Mapping[str, str], checksum: str) -> None:
    made_by = metadata.get("encoder_checksum", "")
    if made_by != checksum:
        raise EmbeddingError(
            f"{path} was made by the encoder {made_by[:12]} of {metadata.get('model_name')}, not by"
            f" {checksum[:12]}: delete {path.parent} or name another folder, and keep embeddings"
            " again"
        )
