"""Queries of annotations, their revisions and events, limited to what a user may see.

Where several people annotate an image independently, annotators do not see what others drew.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, role_of
from samkit.dataengine.rows import find, to_annotation, to_event, to_revision
from samkit.dataengine.schema import (
    AnnotationRow,
    EventRow,
    ImageRow,
    RevisionRow,
    TagRevisionRow,
    UserRow,
)
from samkit.dataengine.values import MADE_BY_PEOPLE, Annotation, Change, Event, Revision
from samkit.dataengine.work.prompt_history import after_event, are_numbers
from samkit.errors import RoleError
from samkit.geometry import Rle
from samkit.types import GivenPrompts

XYXY = 4
PROMPT_KINDS = ("point", "box", "move", "remove")
SEEN_KINDS = ("point", "box", "choose")  # events that name what was in view


def list_annotations(
    store: Store, image_id: int, *, user_id: int | None = None, deleted: bool = False
) -> tuple[Annotation, ...]:
    """List the annotations of an image in the order they were made.

    Args:
        user_id: only annotations of this user.
        deleted: include deleted annotations.

    Raises:
        StoreError: no such image.
    """
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        rows = _rows(session, image_id, deleted=deleted)
        size_hw = (image.height, image.width)
        return tuple(to_annotation(row, size_hw) for row in rows if user_id in (None, row.user_id))


def visible_annotations(
    store: Store, image_id: int, *, user_id: int, deleted: bool = False
) -> tuple[Annotation, ...]:
    """List the annotations of an image that a user may see.

    Raises:
        MissingError: no such image or user.
    """
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        user = acting_user(session, user_id)
        rows = _rows(session, image_id, deleted=deleted)
        size_hw = (image.height, image.width)
        return tuple(
            to_annotation(row, size_hw) for row in rows if not is_hidden_from(row, image, user)
        )


def annotation_history(
    store: Store, annotation_id: int, *, user_id: int | None = None
) -> tuple[Revision, ...]:
    """List all states of an annotation, oldest first.

    Args:
        user_id: the user who asks; None for access to all annotations.

    Raises:
        MissingError: no such annotation.
        RoleError: the user may not see it.
    """
    with store.read() as session:
        image, row = _visible_rows(session, annotation_id, user_id)
        size_hw = (image.height, image.width)
        return tuple(to_revision(one, size_hw) for one in revisions(session, row.id))


def image_changes(store: Store, image_id: int, *, user_id: int) -> tuple[Change, ...]:
    """List all changes of an image's tags and of its masks that a user may see, oldest first.

    Raises:
        MissingError: no such image or user.
    """
    query = (
        select(RevisionRow, AnnotationRow)
        .join(AnnotationRow, AnnotationRow.id == RevisionRow.annotation_id)
        .where(AnnotationRow.image_id == image_id)
        .order_by(RevisionRow.at, RevisionRow.annotation_id, RevisionRow.version)
    )
    tags = select(TagRevisionRow).where(TagRevisionRow.image_id == image_id)
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        user = acting_user(session, user_id)
        changes = [
            _to_change(row, row.annotation_id)
            for row, mask in session.execute(query)
            if not is_hidden_from(mask, image, user)
        ]
        tagged = session.scalars(tags.order_by(TagRevisionRow.version))
        changes += [_to_change(row, None) for row in tagged]
        return tuple(sorted(changes, key=lambda one: one.at))  # stable


def _to_change(row: RevisionRow | TagRevisionRow, annotation_id: int | None) -> Change:
    return Change(
        annotation_id=annotation_id,
        version=row.version,
        change=row.change,
        user_id=row.user_id,
        at=row.at,
    )


def annotation_events(
    store: Store, annotation_id: int, *, user_id: int | None = None
) -> tuple[Event, ...]:
    """List all prompts and corrections of an annotation, oldest first.

    Arguments and errors are those of `annotation_history`.
    """
    query = select(EventRow).where(EventRow.annotation_id == annotation_id).order_by(EventRow.id)
    with store.read() as session:
        _visible_rows(session, annotation_id, user_id)
        return tuple(to_event(row) for row in session.scalars(query))


def given_prompts(store: Store, image_id: int) -> dict[int, GivenPrompts]:
    """Clicks and boxes that people gave for each mask of an image, as they left them."""
    query = (
        select(EventRow)
        .join(AnnotationRow, AnnotationRow.id == EventRow.annotation_id)
        .where(AnnotationRow.image_id == image_id, EventRow.kind.in_(PROMPT_KINDS))
        .order_by(EventRow.id)
    )
    with store.read() as session:
        found: dict[int, GivenPrompts] = {}
        for row in session.scalars(query):
            before = found.get(row.annotation_id, GivenPrompts())
            found[row.annotation_id] = after_event(before, row.kind, row.data)
        return found


def prompted_views(store: Store, image_id: int) -> dict[int, tuple[float, float, float, float]]:
    """What the model saw of an image by tiles when it was last asked, for each mask; xyxy.

    Only of masks whose history says it.
    """
    query = (
        select(EventRow)
        .join(AnnotationRow, AnnotationRow.id == EventRow.annotation_id)
        .where(AnnotationRow.image_id == image_id, EventRow.kind.in_(SEEN_KINDS))
        .order_by(EventRow.id)
    )
    with store.read() as session:
        found = {}
        for row in session.scalars(query):  # the latest last
            view = row.data.get("view")
            if are_numbers(view, XYXY):
                x0, y0, x1, y1 = map(float, view)
                found[row.annotation_id] = (x0, y0, x1, y1)
        return found


def rejected_masks(store: Store, image_id: int) -> tuple[Rle, ...]:
    """Masks of an image that a model answered and that people deleted or changed, each once.

    Automatic masks are among them; imported ones, which no model of ours made, are not.
    """
    query = (
        select(RevisionRow.counts)
        .join(AnnotationRow, AnnotationRow.id == RevisionRow.annotation_id)
        .where(
            AnnotationRow.image_id == image_id,
            AnnotationRow.stage != "imported",
            RevisionRow.score.is_not(None),
            or_(AnnotationRow.deleted, AnnotationRow.counts != RevisionRow.counts),
        )
        .order_by(RevisionRow.annotation_id, RevisionRow.version)
    )
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        present = {row.counts for row in _rows(session, image_id, deleted=False)}
        found = dict.fromkeys(session.scalars(query))
        size = [image.height, image.width]
        return tuple({"size": size, "counts": one} for one in found if one not in present)


def is_hidden_from(row: AnnotationRow, image: ImageRow, user: UserRow) -> bool:
    """Whether a mask belongs to another annotator, who works independently of this user."""
    shared = image.num_annotators == 1 or row.stage not in MADE_BY_PEOPLE
    independent = image.honey_pot or not shared
    return independent and row.user_id != user.id and role_of(user) not in REVIEWERS


def revisions(session: Session, annotation_id: int) -> Sequence[RevisionRow]:
    """Return the rows of an annotation's states, oldest first."""
    query = select(RevisionRow).where(RevisionRow.annotation_id == annotation_id)
    return session.scalars(query.order_by(RevisionRow.version)).all()


def _rows(session: Session, image_id: int, *, deleted: bool) -> Sequence[AnnotationRow]:
    query = select(AnnotationRow).where(AnnotationRow.image_id == image_id)
    if not deleted:
        query = query.where(~AnnotationRow.deleted)
    return session.scalars(query.order_by(AnnotationRow.id)).all()


def _visible_rows(
    session: Session, annotation_id: int, user_id: int | None
) -> tuple[ImageRow, AnnotationRow]:
    """Return the rows of an annotation that the user may see, and of its image."""
    row = find(session, AnnotationRow, annotation_id, "annotation")
    image = find(session, ImageRow, row.image_id, "image")
    if user_id is not None and is_hidden_from(row, image, acting_user(session, user_id)):
        raise RoleError(f"annotation {annotation_id} belongs to another annotator of this image")
    return image, row
