"""Embeddings of waiting images by the version that answers, so that nobody waits for them.

A version with an image encoder of its own needs other embeddings than those that are cached. They
are made in the queue's order; what is there is left as it is, so that a run goes on with the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samkit.dataengine import StoredImage, offered_images, read_stored_image
from samkit.datasets import Sample
from samkit.errors import DatabaseError, ImageError, StoreError

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.learning.learner import Learner
    from samkit.predict import Predictor
    from samkit.types import ImageEmbedding


@dataclass(frozen=True, kw_only=True)
class EmbedReport:
    """What became of the images.

    Attributes:
        num_encoded: images that were encoded.
        num_known: images whose embedding was there.
        faults: one line for each image that cannot be read.
    """

    num_encoded: int
    num_known: int
    faults: tuple[str, ...]


def embed_waiting(
    learner: Learner,
    project_id: int,
    *,
    limit: int,
    on_image: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> EmbedReport:
    """Encode the images that people will be offered, the next ones first.

    Args:
        limit: number of images that shall have an embedding.
        on_image: called after each image with the number of images done, and their total.

    Raises:
        StoreError: no such project.
        OutputError: the cache cannot be written.
    """
    predictor, _ = learner.serving(project_id)
    waiting = offered_images(learner.store, project_id, limit=limit)
    known = learner.cache.images(predictor.encoder_checksum)
    missing = [image for image in waiting if image.pixels_key not in known]
    faults: list[str] = []
    for done, image in enumerate(missing, start=1):
        try:
            embed_image(learner, image, predictor)
        except DatabaseError:
            raise
        except (ImageError, StoreError) as error:
            faults.append(" ".join(f"{image.path}: {error}".split()))
        on_image(done, len(missing))
    return EmbedReport(
        num_encoded=len(missing) - len(faults),
        num_known=len(waiting) - len(missing),
        faults=tuple(faults),
    )


def embed_image(learner: Learner, image: StoredImage, predictor: Predictor) -> ImageEmbedding:
    """The embedding of an image by a predictor: from the cache, or computed and put there.

    Raises:
        ImageError, StoreError: it cannot be read, or has changed since it was added.
    """
    pixels = read_stored_image(learner.store, image, max_pixels=learner.max_pixels)
    sample = Sample(key=image.path, image=pixels, rles=(), embedding_key=image.pixels_key)
    return learner.embed(sample, predictor)
