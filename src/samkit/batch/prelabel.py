"""Automatic masks of a project's images, added to the data engine's store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from samkit.batch.executor import Executor, InProcess

if TYPE_CHECKING:  # the data engine is optional
    from samkit.dataengine import Generate, PrelabelReport, Store


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
    its masks or none, so that an interrupted run can be resumed.

    Args:
        generate: generates the masks of an image uint8 RGB (H, W, 3), such as
            `AutoMasker.generate` or `ClassMasker.generate`. An ImageError that it raises is
            reported as a fault of its image; any other error ends the run.
        user_id: a reviewer or admin, to be recorded as the masks' author.
        only_empty: leave out images that have, or had, any masks. If false, such images get masks
            of objects that have none yet, once.
        again: retry images on which an earlier run found nothing, for example with other classes.
        max_pixels: larger images are faults and are not decoded; by default
            `samkit.formats.MAX_PIXELS`.
        on_image: called with the number of images done, at first 0, and their total.
        executor: runs the work; by default in this process.

    Raises:
        StoreError: no such project, its root does not exist, or the user is not a reviewer.
    """
    from samkit.dataengine import Prelabelling
    from samkit.formats import MAX_PIXELS

    work = Prelabelling(
        store,
        project_id,
        generate,
        user_id=user_id,
        only_empty=only_empty,
        again=again,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
    )
    image_ids = work.image_ids()
    report = on_image or (lambda done, total: None)  # noqa: ARG005
    report(0, len(image_ids))
    outcomes = (executor or InProcess()).run(work, image_ids)
    for done, outcome in enumerate(outcomes, start=1):
        if outcome.error is not None:
            work.add_fault(outcome.claim, outcome.item, outcome.error)
        report(done, len(image_ids))
    return work.report()
