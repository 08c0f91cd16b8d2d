"""Finished images of a project as samples, and which of them are held back to judge models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from samkit.dataengine import (
    FINISHED,
    Store,
    StoredImage,
    all_items,
    first_clicks,
    list_annotations,
    list_images,
    read_stored_image,
    rejected_masks,
)
from samkit.datasets import Sample

if TYPE_CHECKING:
    import numpy.typing as npt

    from samkit.geometry import Rle

IMAGES_AT_ONCE = 500
UNKNOWN = (float("nan"), float("nan"))
# Of all images, as their contents decide: an image never moves from one side to the other.
HELD_OUT_SHARE = 1 / 3


class FinishedImages:
    """A data set of images that people have finished, with the masks that they hold now.

    Masks are listed once, in the beginning, with the clicks that people began them with and the
    masks that they rejected: a data set does not change while a model learns from it. Embeddings
    are under the keys of the server's cache, so that no image is encoded twice.
    """

    def __init__(self, store: Store, images: Sequence[StoredImage], *, max_pixels: int) -> None:
        """List the masks of these images; those without any are left out."""
        self.max_pixels = max_pixels
        self._store = store
        self._rles: list[tuple[Rle, ...]] = []
        self._clicks: list[npt.NDArray[np.float32]] = []
        self._rejected: list[tuple[Rle, ...]] = []
        self.images: list[StoredImage] = []
        for image in images:
            masks = list_annotations(store, image.id)
            if masks:
                self.images.append(image)
                self._rles.append(tuple(one.rle for one in masks))
                clicks = first_clicks(store, image.id)
                rows = [clicks.get(one.id, UNKNOWN) for one in masks]
                self._clicks.append(np.array(rows, np.float32))
                self._rejected.append(rejected_masks(store, image.id))

    @property
    def num_masks(self) -> int:
        """Number of masks of all images."""
        return sum(map(len, self._rles))

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        return self.images[index].path

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            ImageError, StoreError: it cannot be read, or has changed since it was added.
        """
        image = self.images[index]
        return Sample(
            key=image.path,
            image=read_stored_image(self._store, image, max_pixels=self.max_pixels),
            rles=self._rles[index],
            clicks_xy=self._clicks[index],
            embedding_key=image.pixels_key,
            rejected=self._rejected[index],
        )

    def masks(self, index: int) -> tuple[Rle, ...]:
        """Masks of an image, without reading it."""
        return self._rles[index]

    def rejected(self, index: int) -> tuple[Rle, ...]:
        """Masks of an image that people rejected."""
        return self._rejected[index]


class Split(NamedTuple):
    """Finished images to learn from, and those held back."""

    learned: FinishedImages
    held_out: FinishedImages


def finished_images(store: Store, project_id: int, *, max_pixels: int) -> Split:
    """Split a project's finished images, as their contents decide.

    Raises:
        StoreError: no such project.
    """
    images = all_items(
        lambda after: list_images(
            store, project_id, after=after, limit=IMAGES_AT_ONCE, review=FINISHED
        )
    )
    sides: tuple[list[StoredImage], list[StoredImage]] = ([], [])
    for image in images:
        sides[is_held_out(image)].append(image)
    learned, held_out = (FinishedImages(store, side, max_pixels=max_pixels) for side in sides)
    return Split(learned, held_out)


def is_held_out(image: StoredImage) -> bool:
    """Whether an image judges models and no model learns from it: its content decides."""
    return int(image.sha256[:8], 16) < HELD_OUT_SHARE * 2**32
