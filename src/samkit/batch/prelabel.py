"""Automatic masks of a project's images, added to the data engine's store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from samkit.batch.executor import Executor, InProcess, Postponed
from samkit.batch.retries import run_with_retries

if TYPE_CHECKING:  # the data engine is optional
    from samkit.dataengine import (
        Generate,
        Prelabelling,
        PrelabelReport,
        Store,
        StoredImage,
    )
    from samkit.errors import SamkitError
    from samkit.types import Masks


class PrelabelWork:
    """Pre-labelling of a project as `Work`."""

    def __init__(self, steps: Prelabelling) -> None:
        self._steps = steps

    def claim(self, image_id: int) -> StoredImage | Postponed | None:
        claimed = self._steps.claim(image_id)
        return Postponed() if claimed == "theirs" else claimed

    @property
    def generate(self) -> Callable[[StoredImage], Masks]:
        return self._steps.generate

    def commit(self, image: StoredImage, masks: Masks) -> int | None:
        return self._steps.commit(image, masks)

    def is_fault(self, error: SamkitError) -> bool:
        return self._steps.is_fault(error)


def prelabel_images(
    store: Store,
    project_id: int,
    generate: Generate,
    *,
    user_id: int,
    only_empty: bool = True,
    again: bool = False,
    max_pixels: int | None = None,
    on_image: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> PrelabelReport:
    """Add automatic masks to the images of a project that nobody has started.

    Masks get the stage "fully-automatic", and their phrase as class; a class that the project does
    not have yet is added. Images that are held, submitted or reviewed, or that have ever had masks,
    are left alone, and so are images on which an earlier run found nothing. An image gets all of
    its masks or none, so that an interrupted run can be resumed. Several runs, on any machines,
    share the images of a project; what a dead one has left is done by another.

    Args:
        generate: generates the masks of an image uint8 RGB (H, W, 3), such as
            `AutoMasker.generate` or `ClassMasker.generate`. An image for which it raises an
            ImageError is tried three times, and then reported as a fault; any other error ends the
            run. For an executor with other processes it must be picklable.
        user_id: a reviewer or admin, to be recorded as the masks' author.
        only_empty: leave out images that have, or had, any masks. If false, such images get masks
            of objects that have none yet, once.
        again: retry images on which an earlier run found nothing, for example with other classes,
            and those during which three runs have ended.
        max_pixels: larger images are faults and are not decoded; by default
            `samkit.formats.MAX_PIXELS`.
        on_image: called with the number of images done, at first 0, and their total.
        executor: runs the work; by default in this process.

    Raises:
        StoreError: no such project, its root does not exist, or the user is not a reviewer.
    """
    from samkit.dataengine import ImageGenerator, Prelabelling
    from samkit.formats import MAX_PIXELS

    steps = Prelabelling(
        store,
        project_id,
        ImageGenerator.of(
            store,
            project_id,
            generate,
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        ),
        user_id=user_id,
        only_empty=only_empty,
        again=again,
    )
    return run_prelabelling(steps, steps.image_ids(), on_image=on_image, executor=executor)


def run_prelabelling(
    steps: Prelabelling,
    image_ids: Sequence[int],
    *,
    on_image: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> PrelabelReport:
    """Pre-label these images; arguments are those of `prelabel_images`."""
    report = on_image or (lambda done, total: None)  # noqa: ARG005
    report(0, len(image_ids))
    with steps.running():
        outcomes = run_with_retries(executor or InProcess(), PrelabelWork(steps), image_ids)
        for done, outcome in enumerate(outcomes, start=1):
            if outcome.error is not None:
                steps.add_fault(outcome.claim, outcome.item, outcome.error)
            report(done, len(image_ids))
    return steps.report()
