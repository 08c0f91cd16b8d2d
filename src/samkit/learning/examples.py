"""Finished images of a project as samples, and which of them are held back to judge models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from samkit.dataengine import (
    FINISHED,
    Store,
    StoredImage,
    all_items,
    first_clicks,
    get_image,
    list_annotations,
    list_images,
    read_stored_image,
    rejected_masks,
)
from samkit.datasets import Sample
from samkit.errors import MissingError

if TYPE_CHECKING:
    from samkit.geometry import Rle

IMAGES_AT_ONCE = 500
UNKNOWN = (float("nan"), float("nan"))
# Of all images, as their contents decide: an image never moves from one side to the other.
HELD_OUT_SHARE = 1 / 3


class Lesson(NamedTuple):
    """What is to be learned from an image: masks, their first clicks, and rejected masks."""

    rles: tuple[Rle, ...]
    clicks: Sequence[Sequence[float]]  # xy of each mask; NaN where unknown
    rejected: tuple[Rle, ...]


class FinishedImages:
    """A data set of images that people have finished, with the masks that they hold now.

    Masks are listed once, in the beginning, with the clicks that people began them with and the
    masks that they rejected: a data set does not change while a model learns from it. Embeddings
    are under the keys of the server's cache, so that no image is encoded twice.
    """

    def __init__(
        self, store: Store, lessons: Sequence[tuple[StoredImage, Lesson]], *, max_pixels: int
    ) -> None:
        """Take images and what is to be learned from each; see `finished_images`."""
        self.max_pixels = max_pixels
        self._store = store
        self.images = [image for image, _ in lessons]
        self._lessons = [lesson for _, lesson in lessons]

    @property
    def num_masks(self) -> int:
        """Number of masks of all images."""
        return sum(len(lesson.rles) for lesson in self._lessons)

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        return self.images[index].path

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            ImageError, StoreError: it cannot be read, or has changed since it was added.
        """
        image, lesson = self.images[index], self._lessons[index]
        return Sample(
            key=image.path,
            image=read_stored_image(self._store, image, max_pixels=self.max_pixels),
            rles=lesson.rles,
            clicks_xy=np.array(lesson.clicks, np.float32),
            embedding_key=image.pixels_key,
            rejected=lesson.rejected,
        )

    def masks(self, index: int) -> tuple[Rle, ...]:
        """Masks of an image, without reading it."""
        return self._lessons[index].rles

    def rejected(self, index: int) -> tuple[Rle, ...]:
        """Masks of an image that people rejected."""
        return self._lessons[index].rejected

    def content(self) -> list[dict[str, Any]]:
        """All that is to be learned, as JSON, for `remembered_images`."""
        return [
            {"image": image.id, "pixels_key": image.pixels_key, **lesson._asdict()}
            for image, lesson in zip(self.images, self._lessons, strict=True)
        ]


class Split(NamedTuple):
    """Finished images to learn from, and those held back."""

    learned: FinishedImages
    held_out: FinishedImages


def finished_images(store: Store, project_id: int, *, max_pixels: int) -> Split:
    """Split a project's finished images, as their contents decide; too large ones are left out.

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
        if math.prod(image.size_hw) <= max_pixels:
            sides[is_held_out(image)].append(image)
    learned, held_out = (
        FinishedImages(store, list(_lessons(store, side)), max_pixels=max_pixels) for side in sides
    )
    return Split(learned, held_out)


def remembered_images(
    store: Store, content: Sequence[Mapping[str, Any]], *, max_pixels: int
) -> FinishedImages | None:
    """The images that a training began with, and their masks then, however they are now.

    Args:
        content: of `FinishedImages.content`.

    Returns:
        None if an image is not there any more, or has other pixels.
    """
    lessons: list[tuple[StoredImage, Lesson]] = []
    for one in content:
        try:
            image = get_image(store, one["image"])
        except MissingError:
            return None
        if image.pixels_key != one["pixels_key"]:
            return None
        lesson = Lesson(tuple(one["rles"]), one["clicks"], tuple(one["rejected"]))
        lessons.append((image, lesson))
    return FinishedImages(store, lessons, max_pixels=max_pixels)


def _lessons(store: Store, images: Sequence[StoredImage]) -> Iterator[tuple[StoredImage, Lesson]]:
    """List the masks of images; those without any are left out."""
    for image in images:
        masks = list_annotations(store, image.id)
        if masks:
            clicks = first_clicks(store, image.id)
            yield (
                image,
                Lesson(
                    tuple(one.rle for one in masks),
                    [list(clicks.get(one.id, UNKNOWN)) for one in masks],
                    rejected_masks(store, image.id),
                ),
            )


def is_held_out(image: StoredImage) -> bool:
    """Whether an image judges models and no model learns from it: its content decides."""
    return int(image.sha256[:8], 16) < HELD_OUT_SHARE * 2**32
