"""Embeddings kept on disk, so that a decoder is trained without an encoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.datasets.sample import Sample, SampleSource, SampleStream
from samkit.errors import ConfigError
from samkit.training.data.cached_files import CachedFiles, Kept

if TYPE_CHECKING:  # heavy
    from torch import Tensor

    from samkit.predict import Predictor

# What numbers are kept in, and safetensors' names of those.
DTYPES = {"float16": "F16", "float32": "F32"}


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedSample(Sample):
    """A sample, and what the image encoder made of its image.

    Attributes:
        features: (C, G, G), float16 or float32.
    """

    features: Tensor


def cached_embeddings(folder: str | os.PathLike[str], predictor: Predictor) -> CachedFiles:
    """The embeddings in a folder, of a predictor's encoder."""
    return CachedFiles(
        folder=Path(folder),
        format="samkit-kept-embedding-1",
        what="embeddings",
        tensor="features",
        suffix=".emb.safetensors",
        maker_key="encoder_checksum",
        maker=predictor.encoder_checksum,
        former_maker=predictor.former_checksum,
        maker_kind="encoder",
    )


def cache_embeddings(
    predictor: Predictor,
    source: SampleSource | SampleStream,
    folder: str | os.PathLike[str],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    dtype: str = "float16",
    rank: int = 0,
    world: int = 1,
) -> Kept:
    """Encode each image of a data set once, to a file of its own.

    Files are written whole or not at all, and those that are there are not made again, so that a
    run that was stopped goes on where it was. Whether those are of the same images is seen when
    they are read with them, by `EmbeddedData`.

    Args:
        predictor: its image encoder.
        source: the data set; numbered, not a stream.
        folder: for the files; made if it is missing.
        on_progress: told after each image how many are done, and how many there are.
        dtype: "float16" takes half of the space, 2 MB for each image of SAM's usual size, and
            changes an embedding by some 0.02%; or "float32".
        rank: which of `world` processes this is; each encodes every so-many-th image.
        world: number of processes.

    Raises:
        ConfigError: the data set is a stream, or the dtype unknown.
        EmbeddingError: the folder holds embeddings of another encoder.
        OutputError: files cannot be written.
    """
    import torch

    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")

    def encode(sample: Sample) -> tuple[Tensor, dict[str, str]]:
        embedding = predictor.embed(sample.image)
        height, width = embedding.coords.original_hw
        facts = {"model_name": predictor.model_name, "original_hw": f"{height},{width}"}
        return embedding.features.grid[0].to(getattr(torch, dtype)), facts

    files = cached_embeddings(folder, predictor)
    return files.keep(source, encode, on_progress, dtype=DTYPES[dtype], rank=rank, world=world)


class EmbeddedData:
    """A data set with the embeddings that `cache_embeddings` made of it.

    Attributes:
        source: the data set.
        files: the embeddings.
    """

    def __init__(
        self, source: SampleSource, folder: str | os.PathLike[str], predictor: Predictor
    ) -> None:
        """Check that there are embeddings, and that the first is of the predictor's encoder.

        Raises:
            EmbeddingError: there are none, or they are of another encoder.
        """
        self.source = source
        self.files = cached_embeddings(folder, predictor)
        self.files.check_any(source)

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def __getitem__(self, index: int) -> EmbeddedSample:
        """A sample and its features.

        Raises:
            DataError: broken sample, or its embedding is missing, damaged or of another image.
            ImageError: the image cannot be read.
            EmbeddingError: the embedding is of another encoder.
        """
        sample = self.source[index]
        return EmbeddedSample(**vars(sample), features=self.files.of(sample))
