"""Export of a project's edit history as JSON lines, to learn from."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.exchange.records import IMAGES_AT_ONCE
from samkit.dataengine.schema import (
    AnnotationRow,
    EventRow,
    ModelVersionRow,
    RevisionRow,
    UserRow,
)
from samkit.dataengine.values import REVIEWS, Review, StoredImage
from samkit.dataengine.work import get_project, is_honey_attempt, list_classes, list_images
from samkit.files import replacing

Row = TypeVar("Row", EventRow, RevisionRow)


def export_history(
    store: Store,
    project_id: int,
    path: str | os.PathLike[str],
    *,
    states: Sequence[Review] = REVIEWS,
    on_image: Callable[[int], None] | None = None,
) -> int:
    """Write one line of JSON for each mask, including deleted ones, but not those on honey pots.

    A line has the image (`file_name`, `sha256`, `height`, `width`, `tags`), the mask
    (`annotation_id`, `user`, `class`, `attributes`, `stage`, `score`, `deleted`), and `revisions`:
    each state with its `version`, `change`, `user`, `at`, `class`, `attributes`, `deleted`, `rle`,
    and the `events` that led to it: `kind`, `data`, `duration_ms`, `model`, `user`, `at`.
    Coordinates are pixels of the upright image.
    Pages have their names in the project, `stack.tif#page=2`; exports of masks call the same page
    `stack_page2.png`.

    Args:
        path: output file; an existing one is replaced.
        states: only masks of images in these states of review.
        on_image: called with the number of images done.

    Returns:
        the number of lines written.

    Raises:
        StoreError: no such project or state.
        OutputError: the file cannot be written.
    """
    get_project(store, project_id)
    classes = {one.id: one.name for one in list_classes(store, project_id, with_removed=True)}
    after: int | None = 0
    num_lines = num_images = 0
    with replacing(path) as temporary, Path(temporary).open("w", encoding="utf-8") as file:
        while after is not None:
            page = list_images(store, project_id, after=after, limit=IMAGES_AT_ONCE, review=states)
            with store.read() as session:
                for line in _lines(session, page.items, classes):
                    file.write(json.dumps(line) + "\n")
                    num_lines += 1
            num_images += len(page.items)
            if on_image is not None:
                on_image(num_images)
            after = page.next_after
    return num_lines


def _lines(
    session: Session, images: Sequence[StoredImage], classes: dict[int, str]
) -> list[dict[str, Any]]:
    """Build the lines of several images by three queries."""
    by_id = {image.id: image for image in images}
    of_images = AnnotationRow.image_id.in_(list(by_id))
    query = select(AnnotationRow).where(of_images, ~is_honey_attempt())
    masks = session.scalars(query.order_by(AnnotationRow.image_id, AnnotationRow.id)).all()
    keys = select(AnnotationRow.id).where(of_images)
    states = select(RevisionRow).where(RevisionRow.annotation_id.in_(keys))
    revisions = _grouped(session.scalars(states.order_by(RevisionRow.version)).all())
    causes = select(EventRow).where(EventRow.annotation_id.in_(keys))
    events = _grouped(session.scalars(causes.order_by(EventRow.id)).all())
    people = {row.id: row.name for row in session.scalars(select(UserRow))}
    models = {row.id: row.name for row in session.scalars(select(ModelVersionRow))}

    def event(row: EventRow) -> dict[str, Any]:
        return {
            "kind": row.kind,
            "data": row.data,
            "duration_ms": row.duration_ms,
            "model": models.get(row.model_version_id or 0),
            "user": people[row.user_id],
            "at": row.at.isoformat(),
        }

    def revision(row: RevisionRow, image: StoredImage) -> dict[str, Any]:
        return {
            "version": row.version,
            "change": row.change,
            "user": people[row.user_id],
            "at": row.at.isoformat(),
            "class": classes.get(row.class_id or 0),
            "attributes": row.attributes,
            "deleted": row.deleted,
            "rle": {"size": list(image.size_hw), "counts": row.counts},
            "events": [
                event(one) for one in events[row.annotation_id] if one.version == row.version
            ],
        }

    return [
        {
            "file_name": image.path,
            "sha256": image.sha256,
            "height": image.size_hw[0],
            "width": image.size_hw[1],
            "tags": list(image.tags),
            "annotation_id": mask.id,
            "user": people[mask.user_id],
            "class": classes.get(mask.class_id or 0),
            "attributes": mask.attributes,
            "stage": mask.stage,
            "score": mask.score,
            "deleted": mask.deleted,
            "revisions": [revision(row, image) for row in revisions[mask.id]],
        }
        for mask in masks
        for image in (by_id[mask.image_id],)
    ]


def _grouped(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.annotation_id].append(row)
    return found
