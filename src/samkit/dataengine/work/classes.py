"""Classes of a project: add, change, order, merge and remove them.

A class that was merged or removed stays in the database, so that its id never means another class:
pages that were offline may still send it, and earlier states of masks name it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find, find_locked, to_class
from samkit.dataengine.schema import (
    AnnotationRow,
    ClassRow,
    ImageRow,
    ProjectRow,
    RevisionRow,
    TrackRow,
    VideoRow,
)
from samkit.dataengine.values import LabelClass, check_label
from samkit.drawing import mask_color
from samkit.errors import MissingError, StoreError

COLOR = re.compile(r"#[0-9a-f]{6}", re.ASCII)
MAX_NAME = 200  # characters
MAX_KEY = 20


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How often a class occurs in a project; `class_id` is None for masks without a class."""

    class_id: int | None
    num_images: int
    num_masks: int


def add_class(store: Store, project_id: int, name: str, *, color: str | None = None) -> LabelClass:
    """Return the class of this name; add it, as the last one, if the project has none.

    Args:
        color: colour of a new class as #rrggbb; None chooses one that differs from the others.

    Raises:
        StoreError: no such project, or an invalid name or colour.
    """
    check_label("a class's name", name, MAX_NAME)
    _check_color(color)
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        ever = list(session.scalars(select(ClassRow).where(ClassRow.project_id == project_id)))
        row = next((one for one in ever if one.name == name and not one.removed), None)
        if row is None:
            red, green, blue = (int(value) for value in mask_color(len(ever)))
            default = f"#{red:02x}{green:02x}{blue:02x}"
            rank = max((one.rank for one in ever), default=0)  # equal ranks are in order of ids
            row = ClassRow(
                project_id=project_id,
                name=name,
                color=color or default,
                rank=rank,
                removed=False,
                key="",
            )
            session.add(row)
            _flush(session, name)
        return to_class(row)


def list_classes(
    store: Store, project_id: int, *, with_removed: bool = False
) -> tuple[LabelClass, ...]:
    """List all classes of a project in their order.

    Args:
        with_removed: also those that only earlier states of masks have.
    """
    query = select(ClassRow).where(ClassRow.project_id == project_id)
    if not with_removed:
        query = query.where(~ClassRow.removed)
    with store.read() as session:
        rows = session.scalars(query.order_by(ClassRow.rank, ClassRow.id))
        return tuple(to_class(row) for row in rows)


def change_class(
    store: Store,
    class_id: int,
    *,
    name: str | None = None,
    color: str | None = None,
    key: str | None = None,
) -> LabelClass:
    """Change a class's name, colour or key; None leaves it as it is.

    Args:
        key: the page's name of the key, such as "a" or "Alt+x"; empty for none.

    Raises:
        MissingError: no such class.
        StoreError: one of them is not valid, or another class has the name or the key.
    """
    if name is not None:
        check_label("a class's name", name, MAX_NAME)
    _check_color(color)
    with store.write() as session:
        row = _present(session, class_id)
        row.name, row.color = name or row.name, color or row.color
        if key is not None:
            _check_key(session, row, key)
            row.key = key
        _flush(session, row.name)
        return to_class(row)


def order_classes(store: Store, project_id: int, class_ids: Sequence[int]) -> None:
    """Set the order of a project's classes, in lists, by keys, and in exports.

    Raises:
        StoreError: no such project, or `class_ids` are not all of its classes, each once.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        query = select(ClassRow).where(ClassRow.project_id == project_id, ~ClassRow.removed)
        rows = {row.id: row for row in session.scalars(query)}
        if sorted(class_ids) != sorted(rows):
            raise StoreError(
                f"an order must name each class of the project once: {sorted(rows)}; got"
                f" {sorted(class_ids)}"
            )
        for rank, class_id in enumerate(class_ids):
            rows[class_id].rank = rank


def merge_classes(store: Store, class_id: int, *, into: int) -> LabelClass:
    """Make one class of two: all masks of the first, in all their states, get the other one.

    Returns:
        the class that is left.

    Raises:
        MissingError: no such class.
        StoreError: the classes are the same, or of different projects.
    """
    with store.write() as session:
        row, other = _present(session, class_id), _present(session, into)
        if row.id == other.id or row.project_id != other.project_id:
            raise StoreError(f"{row.name!r:.40} cannot be merged into {other.name!r:.40}")
        _hold_images(session, row.project_id)
        for kind in (AnnotationRow, RevisionRow, TrackRow):
            masks = update(kind).where(kind.class_id == row.id)
            session.execute(masks.values(class_id=other.id))
        earlier = update(ClassRow).where(ClassRow.merged_into == row.id)
        session.execute(earlier.values(merged_into=other.id))
        row.merged_into = other.id
        _remove(session, row)
        return to_class(other)


def delete_class(store: Store, class_id: int) -> None:
    """Delete a class that no mask and no track has.

    Raises:
        MissingError: no such class.
        StoreError: masks or tracks have it.
    """
    with store.write() as session:
        row = _present(session, class_id)
        _hold_images(session, row.project_id)
        query = select(func.count()).where(
            AnnotationRow.project_id == row.project_id,
            AnnotationRow.class_id == row.id,
            ~AnnotationRow.deleted,
        )
        num_masks = session.scalar(query) or 0
        if num_masks:
            raise StoreError(
                f"{num_masks} {'mask has' if num_masks == 1 else 'masks have'} the class"
                f" {row.name!r:.40}: merge it into another one"
            )
        tracks = select(func.count()).where(TrackRow.class_id == row.id, ~TrackRow.deleted)
        if num_tracks := session.scalar(tracks):
            raise StoreError(
                f"{num_tracks} {'track has' if num_tracks == 1 else 'tracks have'} the class"
                f" {row.name!r:.40}: merge it into another one"
            )
        _remove(session, row)


def count_class_masks(store: Store, project_id: int) -> tuple[ClassCount, ...]:
    """Count the images and masks of each class that masks of a project have."""
    counts = (func.count(AnnotationRow.image_id.distinct()), func.count())
    query = (
        select(AnnotationRow.class_id, *counts)
        .where(AnnotationRow.project_id == project_id, ~AnnotationRow.deleted)
        .group_by(AnnotationRow.class_id)
        .order_by(AnnotationRow.class_id)
    )
    with store.read() as session:
        return tuple(
            ClassCount(class_id=class_id, num_images=num_images, num_masks=num_masks)
            for class_id, num_images, num_masks in session.execute(query)
        )


def resolve_class(session: Session, class_id: int | None, project_id: int) -> int | None:
    """The class that a mask gets: that of this id, the one it was merged into, or none.

    Raises:
        StoreError: there is no such class in the project.
    """
    if class_id is None:
        return None
    row = session.get(ClassRow, class_id, populate_existing=True)
    if row is None:
        raise StoreError(f"there is no class {class_id}")
    if row.project_id != project_id:
        raise StoreError(f"class {row.name!r:.40} belongs to another project")
    return row.merged_into if row.removed else row.id


def _present(session: Session, class_id: int) -> ClassRow:
    """Return the row of a class that is not removed; its project is locked."""
    project_id = find(session, ClassRow, class_id, "class").project_id
    find_locked(session, ProjectRow, project_id, "project")
    row = find_locked(session, ClassRow, class_id, "class")
    if row.removed:
        raise MissingError(f"there is no class {class_id}")
    return row


def _hold_images(session: Session, project_id: int) -> None:
    """Lock all images and videos: who gives something a class holds one, and reads it then."""
    for kind in (ImageRow, VideoRow):
        own = select(kind.id).where(kind.project_id == project_id).order_by(kind.id)
        session.execute(own.with_for_update())


def _remove(session: Session, row: ClassRow) -> None:
    row.removed, row.key = True, ""
    # The name is free again.
    mark = f" (removed {row.id})"
    row.name = row.name[: MAX_NAME - len(mark)] + mark
    _flush(session, row.name)


def _check_color(color: str | None) -> None:
    if color is not None and not COLOR.fullmatch(color):
        raise StoreError(f"a colour must be #rrggbb; got {color!r:.40}")


def _check_key(session: Session, row: ClassRow, key: str) -> None:
    if not key:
        return
    check_label("a key", key, MAX_KEY)
    query = select(ClassRow.name).where(
        ClassRow.project_id == row.project_id,
        ClassRow.key == key,
        ClassRow.id != row.id,
        ~ClassRow.removed,
    )
    if (other := session.scalar(query.limit(1))) is not None:
        raise StoreError(f"the key {key} is that of {other!r:.40}: choose another")


def _flush(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise StoreError(f"there is a class {name!r:.40} already") from error
