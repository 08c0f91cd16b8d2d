"""Data sets with cached embeddings, for training a decoder without running the encoder.

Data workers look embeddings up in the cache. An image without one is encoded in the training
process, right before its first batch is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from samkit.datasets import Sample, SampleSource
from samkit.predict import EmbeddingCache, pixels_sha256

if TYPE_CHECKING:  # heavy
    from torch import Tensor

    from samkit.predict import Predictor
    from samkit.types import ImageEmbedding

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedSample(Sample):
    """A sample with the embedding of its image.

    Attributes:
        image_sha256: key of its embedding.
        features: levels (C_i, G_i, G_i) float32, finest first; None if the image is not in the
            cache yet.
    """

    image_sha256: str
    features: tuple[Tensor, ...] | None


class EmbeddedData:
    """A data set with the cached embeddings of its images.

    Attributes:
        source: the data set.
        cache: cache of the embeddings.
        encoder_checksum: checksum of the encoder's weights.
    """

    def __init__(self, source: SampleSource, cache: EmbeddingCache, encoder_checksum: str) -> None:
        self.source, self.cache, self.encoder_checksum = source, cache, encoder_checksum

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def __getitem__(self, index: int) -> EmbeddedSample:
        """A sample with its features, if they are cached.

        Raises:
            DataError: this image or its masks are broken.
            ImageError: the image cannot be read.
        """
        sample = self.source[index]
        sha256 = sample.embedding_key or pixels_sha256(sample.image)
        embedding = self.cache.get(sha256, self.encoder_checksum)
        features = None if embedding is None else levels_of(embedding)
        return EmbeddedSample(**vars(sample), image_sha256=sha256, features=features)


class CachingEncoder:
    """Encodes images that are not in the cache, and adds them to it.

    Attributes:
        num_encoded: number of images that were encoded.
    """

    def __init__(
        self,
        predictor: Predictor,
        cache: EmbeddingCache,
        *,
        num_images: int,
        on_embedding: Callable[[int, int], None] | None = None,
    ) -> None:
        """Use a predictor's encoder, which must not change.

        Args:
            predictor: the predictor whose encoder is used.
            cache: cache that embeddings are looked up in and added to.
            num_images: size of the data set.
            on_embedding: called after each encoded image with `num_encoded` and `num_images`.
        """
        self.predictor, self.cache = predictor, cache
        self.num_images, self.on_embedding = num_images, on_embedding
        self.num_encoded = 0

    def features(self, image_sha256: str, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Features of an image (H, W, 3), float32 on the CPU, as the cache returns them.

        Raises:
            OutputError: the cache cannot be written.
        """
        # Another process, or an earlier batch, may have encoded it since a worker looked it up.
        embedding = self.cache.get(image_sha256, self.predictor.encoder_checksum)
        if embedding is None:
            embedding = self.cache.put(image_sha256, self.predictor.encode(image))
            self.num_encoded += 1
            if self.on_embedding is not None:
                self.on_embedding(self.num_encoded, self.num_images)
        return levels_of(embedding)


def levels_of(embedding: ImageEmbedding) -> tuple[Tensor, ...]:
    """tuple[Tensor, ...] (C_i, G_i, G_i) of an embedding, finest first, on the CPU."""
    return tuple(level[0].cpu() for level in embedding.features.levels)


def warn_of_former_files(cache: EmbeddingCache) -> None:
    """Log that a folder holds embeddings of earlier versions, which are not read any more."""
    former = cache.other_files()
    if former:
        logger.warning(
            "%s has %d embeddings of an earlier version of samkit, which are no longer used: images"
            " are encoded again; delete the old files, such as %s",
            cache.folder,
            len(former),
            former[0].name,
        )
