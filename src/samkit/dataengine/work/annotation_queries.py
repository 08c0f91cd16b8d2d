"""Masks, their states and the prompts that led to them, and who may see them.

Where several people annotate an image, each on their own, annotators do not see what the others
have made by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find, to_annotation, to_event, to_revision
from samkit.dataengine.schema import AnnotationRow, EventRow, ImageRow, RevisionRow, UserRow
from samkit.dataengine.values import Annotation, Event, Revision
from samkit.errors import RoleError


def list_annotations(
    store: Store, image_id: int, *, user_id: int | None = None, deleted: bool = False
) -> tuple[Annotation, ...]:
    """Annotations of an image in the order in which they were made.

    Args:
        store: where.
        image_id: of the image.
        user_id: only those that this user made.
        deleted: also those that are deleted.

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
    """The annotations of an image that a user may see.

    Raises:
        MissingError: no such image or user.
    """
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        user = acting_user(session, user_id)
        rows = _rows(session, image_id, deleted=deleted)
        size_hw = (image.height, image.width)
        return tuple(
            to_annotation(row, size_hw) for row in rows if not is_anothers(row, image, user)
        )


def annotation_history(
    store: Store, annotation_id: int, *, user_id: int | None = None
) -> tuple[Revision, ...]:
    """All states of an annotation, the first one first.

    Args:
        store: where.
        annotation_id: of the annotation.
        user_id: who wants to see them; by default nobody in particular, who may see all.

    Raises:
        MissingError: no such annotation.
        RoleError: the user may not see it.
    """
    with store.read() as session:
        image, row = _to_see(session, annotation_id, user_id)
        size_hw = (image.height, image.width)
        return tuple(to_revision(one, size_hw) for one in revisions(session, row.id))


def annotation_events(
    store: Store, annotation_id: int, *, user_id: int | None = None
) -> tuple[Event, ...]:
    """All prompts and corrections of an annotation, in their order.

    Args and errors are those of `annotation_history`.
    """
    query = select(EventRow).where(EventRow.annotation_id == annotation_id).order_by(EventRow.id)
    with store.read() as session:
        _to_see(session, annotation_id, user_id)
        return tuple(to_event(row) for row in session.scalars(query))


def is_anothers(row: AnnotationRow, image: ImageRow, user: UserRow) -> bool:
    """Whether a mask is of another annotator, who works on the image on their own."""
    alone = image.num_annotators > 1 and row.stage == "assisted-manual"
    return alone and row.user_id != user.id and user.role not in REVIEWERS


def revisions(session: Session, annotation_id: int) -> Sequence[RevisionRow]:
    """The rows of an annotation's states, the first one first."""
    query = select(RevisionRow).where(RevisionRow.annotation_id == annotation_id)
    return session.scalars(query.order_by(RevisionRow.version)).all()


def _rows(session: Session, image_id: int, *, deleted: bool) -> Sequence[AnnotationRow]:
    query = select(AnnotationRow).where(AnnotationRow.image_id == image_id)
    if not deleted:
        query = query.where(~AnnotationRow.deleted)
    return session.scalars(query.order_by(AnnotationRow.id)).all()


def _to_see(
    session: Session, annotation_id: int, user_id: int | None
) -> tuple[ImageRow, AnnotationRow]:
    """The rows of an annotation that a user may see, and of its image."""
    row = find(session, AnnotationRow, annotation_id, "annotation")
    image = find(session, ImageRow, row.image_id, "image")
    if user_id is not None and is_anothers(row, image, acting_user(session, user_id)):
        raise RoleError(f"annotation {annotation_id} is of another annotator of this image")
    return image, row
