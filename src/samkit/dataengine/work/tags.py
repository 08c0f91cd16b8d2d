"""Tags of images: set, undo and redo. All states are stored, as those of masks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find
from samkit.dataengine.schema import ImageRow, TagRevisionRow
from samkit.dataengine.values import TagRevision
from samkit.dataengine.work.annotations import BEFORE_FIRST, history_stacks, note_change
from samkit.dataengine.work.labelling import check_tags, labelling_of
from samkit.dataengine.work.queue import held_image
from samkit.errors import ConflictError, StoreError


@dataclass(frozen=True, kw_only=True)
class ImageTags:
    """Tags of an image, in the order of the project's; `version` counts their changes from 0."""

    image_id: int
    tags: tuple[str, ...]
    version: int


def image_tags(store: Store, image_id: int) -> ImageTags:
    """Return an image's tags.

    Raises:
        MissingError: no such image.
    """
    with store.read() as session:
        return _to_tags(session, find(session, ImageRow, image_id, "image"))


def set_tags(
    store: Store, image_id: int, *, user_id: int, version: int, tags: Sequence[str]
) -> ImageTags:
    """Set the tags of an image that the user holds.

    Args:
        version: the version that the change is based on.
        tags: of those that the project offers, or that the image has.

    Raises:
        ConflictError: the tags have a newer version, or the user does not hold the image.
        StoreError: a tag is not the project's.
    """
    with store.write() as session:
        image = _image_to_change(session, image_id, user_id=user_id, version=version)
        offered = labelling_of(session, image.project_id).tags
        if unknown := sorted({*tags}.difference(offered, image.tags)):
            raise StoreError(f"the project has no tag {unknown[0]!r:.40}")
        record_tags(session, store, image, tags, user_id=user_id)
        return _to_tags(session, image)


def undo_tags(store: Store, image_id: int, *, user_id: int, version: int) -> ImageTags:
    """Undo the last change of an image's tags.

    Raises:
        ConflictError: the tags have a newer version, or the user does not hold the image.
        StoreError: there is nothing to undo.
    """
    return _step(store, image_id, user_id=user_id, version=version, change="undo")


def redo_tags(store: Store, image_id: int, *, user_id: int, version: int) -> ImageTags:
    """Redo the change that was undone last.

    Raises:
        ConflictError: the tags have a newer version, or the user does not hold the image.
        StoreError: there is nothing to redo.
    """
    return _step(store, image_id, user_id=user_id, version=version, change="redo")


def tag_history(store: Store, image_id: int) -> tuple[TagRevision, ...]:
    """List all states of an image's tags, oldest first.

    Raises:
        MissingError: no such image.
    """
    with store.read() as session:
        find(session, ImageRow, image_id, "image")
        return tuple(
            TagRevision(
                version=row.version,
                change=row.change,
                tags=tuple(row.tags),
                user_id=row.user_id,
                at=row.at,
            )
            for row in _states(session, image_id)
        )


def record_tags(
    session: Session,
    store: Store,
    image: ImageRow,
    tags: Sequence[str],
    *,
    user_id: int,
    change: str = "edit",
) -> None:
    """Set the tags of an image whose row is locked, with a state for their history.

    Raises:
        StoreError: one is not a name.
    """
    order = {tag: place for place, tag in enumerate(labelling_of(session, image.project_id).tags)}
    found = sorted({*tags}, key=lambda tag: (order.get(tag, len(order)), tag))
    check_tags(tuple(found))
    image.tags = found
    session.add(
        TagRevisionRow(
            image_id=image.id,
            version=_version(session, image.id) + 1,
            change=change,
            tags=found,
            user_id=user_id,
            at=store.clock(),
        )
    )
    session.flush()
    note_change(image)


def _step(store: Store, image_id: int, *, user_id: int, version: int, change: str) -> ImageTags:
    with store.write() as session:
        image = _image_to_change(session, image_id, user_id=user_id, version=version)
        states = {state.version: state for state in _states(session, image_id)}
        past, future = history_stacks(list(states.values()))
        stack = past if change == "undo" else future
        if not stack:
            raise StoreError(f"the tags of {image.path} have nothing to {change}")
        tags = [] if stack[-1] == BEFORE_FIRST else states[stack[-1]].tags
        record_tags(session, store, image, tags, user_id=user_id, change=change)
        return _to_tags(session, image)


def _image_to_change(session: Session, image_id: int, *, user_id: int, version: int) -> ImageRow:
    """Return the locked row of an image whose tags may be changed."""
    acting_user(session, user_id)
    image = held_image(session, image_id, user_id)
    present = _version(session, image_id)
    if present != version:
        raise ConflictError(
            f"the tags of {image.path} are at version {present} now; the change is based on"
            f" {version}: reload them"
        )
    return image


def _states(session: Session, image_id: int) -> Sequence[TagRevisionRow]:
    query = select(TagRevisionRow).where(TagRevisionRow.image_id == image_id)
    return session.scalars(query.order_by(TagRevisionRow.version)).all()


def _version(session: Session, image_id: int) -> int:
    query = select(func.max(TagRevisionRow.version)).where(TagRevisionRow.image_id == image_id)
    return session.scalar(query) or 0


def _to_tags(session: Session, image: ImageRow) -> ImageTags:
    return ImageTags(image_id=image.id, tags=tuple(image.tags), version=_version(session, image.id))
