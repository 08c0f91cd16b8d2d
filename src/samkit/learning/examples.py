"""What people have finished in a project as samples, and what is held back to judge models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from samkit.dataengine import (
    FINISHED,
    Store,
    StoredImage,
    all_items,
    given_prompts,
    list_annotations,
    list_images,
    read_prompts,
    rejected_masks,
    verified_frames,
)
from samkit.datasets import Sample
from samkit.learning.large_images import region_lessons
from samkit.learning.lesson_images import (
    FullImage,
    Lesson,
    LessonFiles,
    LessonImage,
    VideoFrame,
    remembered_image,
)
from samkit.types import GivenPrompts

if TYPE_CHECKING:
    from samkit.geometry import Rle

IMAGES_AT_ONCE = 500
# Of all files, as their contents decide: an image never moves from one side to the other.
HELD_OUT_SHARE = 1 / 3


class FinishedImages:
    """A data set of images that people have finished, with the masks that they hold now.

    Masks are listed once, in the beginning, with the prompts that people gave for them and the
    masks that they rejected: a data set does not change while a model learns from it. Embeddings
    are under the keys of the server's cache, so that no image is encoded twice.
    """

    def __init__(self, files: LessonFiles, lessons: Iterable[tuple[LessonImage, Lesson]]) -> None:
        """Take images and what is to be learned from each; see `finished_lessons`."""
        pairs = list(lessons)
        self.files = files
        self.images = [image for image, _ in pairs]
        self._lessons = [lesson for _, lesson in pairs]

    @property
    def num_masks(self) -> int:
        """Number of masks of all images."""
        return sum(len(lesson.rles) for lesson in self._lessons)

    @property
    def groups(self) -> list[str]:
        """File of each image by its checksum: images of one are alike."""
        return [image.group for image in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        return self.images[index].key

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            ImageError, StoreError, VideoError: it cannot be read, or has changed since it was
                added.
        """
        image, lesson = self.images[index], self._lessons[index]
        return Sample(
            key=image.key,
            image=image.read(self.files),
            rles=lesson.rles,
            given=lesson.given,
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
            {**image.content(), **lesson._asdict()}
            for image, lesson in zip(self.images, self._lessons, strict=True)
        ]


class Split(NamedTuple):
    """Finished images to learn from, and those held back."""

    learned: FinishedImages
    held_out: FinishedImages


def finished_lessons(files: LessonFiles, project_id: int) -> Split:
    """Split what a project's decoder may learn from: finished images, frames of finished videos.

    Of images too large to be seen whole, it learns from the regions that people saw.

    Raises:
        StoreError: no such project.
    """
    lessons: list[tuple[LessonImage, Lesson]] = []
    for image in _finished(files, project_id):
        if math.prod(image.size_hw) > files.max_pixels:
            lessons += region_lessons(files.store, image)
        else:
            lessons += _of_image(files.store, image)
    return split_by_file(files, [*lessons, *_of_videos(files, project_id)])


def finished_images(files: LessonFiles, project_id: int) -> Split:
    """Split a project's finished images, on which people have masked all that they want.

    Images too large to be seen whole are left out.

    Raises:
        StoreError: no such project.
    """
    images = (
        one for one in _finished(files, project_id) if math.prod(one.size_hw) <= files.max_pixels
    )
    return split_by_file(
        files, (lesson for image in images for lesson in _of_image(files.store, image))
    )


def finished_large_images(files: LessonFiles, project_id: int) -> list[StoredImage]:
    """Finished images that are too large to be seen whole.

    Raises:
        StoreError: no such project.
    """
    found = _finished(files, project_id)
    return [one for one in found if math.prod(one.size_hw) > files.max_pixels]


def split_by_file(files: LessonFiles, lessons: Iterable[tuple[LessonImage, Lesson]]) -> Split:
    """Split images as the contents of their files decide: those of one file stay together."""
    sides: tuple[list[tuple[LessonImage, Lesson]], list[tuple[LessonImage, Lesson]]] = ([], [])
    for image, lesson in lessons:
        sides[is_held_out(image.group)].append((image, lesson))
    learned, held_out = (FinishedImages(files, side) for side in sides)
    return Split(learned, held_out)


def remembered_images(
    files: LessonFiles, content: Sequence[Mapping[str, Any]]
) -> FinishedImages | None:
    """The images that a training began with, and their masks then, however they are now.

    Args:
        content: of `FinishedImages.content`.

    Returns:
        None if an image is not there any more, or has other pixels.
    """
    lessons: list[tuple[LessonImage, Lesson]] = []
    for one in content:
        image = remembered_image(files.store, one)
        if image is None:
            return None
        lessons.append((image, Lesson.of(one)))
    return FinishedImages(files, lessons)


def is_held_out(checksum: str) -> bool:
    """Whether a file judges models and no model learns from it: its content decides."""
    return int(checksum[:8], 16) < HELD_OUT_SHARE * 2**32


def _finished(files: LessonFiles, project_id: int) -> Iterator[StoredImage]:
    return all_items(
        lambda after: list_images(
            files.store, project_id, after=after, limit=IMAGES_AT_ONCE, review=FINISHED
        )
    )


def _of_image(store: Store, image: StoredImage) -> Iterator[tuple[LessonImage, Lesson]]:
    """Yield the lesson of an image, unless it has no masks."""
    masks = list_annotations(store, image.id)
    if masks:
        given = given_prompts(store, image.id)
        lesson = Lesson(
            tuple(one.rle for one in masks),
            tuple(given.get(one.id, GivenPrompts()) for one in masks),
            rejected_masks(store, image.id),
        )
        yield FullImage(image), lesson


def _of_videos(files: LessonFiles, project_id: int) -> Iterator[tuple[LessonImage, Lesson]]:
    """Yield the lessons of frames that people verified in finished videos.

    They have no rejected masks: people mask some objects of a video and not all, so that a mask
    which drifted may have found another object, which is worth a click.
    """
    for one in verified_frames(files.store, project_id):
        if math.prod(one.video.size_hw) <= files.max_pixels:
            lesson = Lesson(
                tuple(mask.rle for mask in one.masks),
                tuple(read_prompts(mask.prompts or {}) for mask in one.masks),
                (),
            )
            yield VideoFrame(one.video, one.frame), lesson
