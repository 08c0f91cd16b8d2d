"""What annotators do with masks. Each function is one action, and one transaction.

An annotation keeps all its states. Undoing and redoing make new states with the content of earlier
ones, so that nothing is ever lost; deleting is a state too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find, find_locked, to_annotation
from samkit.dataengine.schema import AnnotationRow, ClassRow, EventRow, ImageRow, RevisionRow
from samkit.dataengine.values import (
    CLICK_KINDS,
    STAGES,
    Annotation,
    NewEvent,
    Stage,
    check_choice,
)
from samkit.dataengine.work.annotation_queries import is_anothers, revisions
from samkit.dataengine.work.masks import CheckedMask, check_mask, check_score
from samkit.dataengine.work.queue import check_holder, held_image
from samkit.errors import ConflictError, RoleError, StoreError
from samkit.geometry import Rle

BEFORE_FIRST = 0  # the version before the first: undoing the first state leads there


def save_annotation(
    store: Store,
    *,
    image_id: int,
    user_id: int,
    rle: Rle,
    class_id: int | None = None,
    events: Sequence[NewEvent] = (),
    stage: Stage = "assisted-manual",
    score: float | None = None,
    stability: float | None = None,
    request_id: str | None = None,
) -> Annotation:
    """Add a mask to an image that the user holds.

    Args:
        store: where.
        image_id: of the image.
        user_id: who made it.
        rle: the mask.
        class_id: of the image's project.
        events: the prompts and corrections that led to the mask.
        stage: of the data engine.
        score: the model's predicted IoU.
        stability: how little the mask depends on the threshold.
        request_id: any text; when the same comes again for the image, the mask that it made is
            given, and none is added.

    Raises:
        ConflictError: the user does not hold the image, or somebody else has used the request_id.
        StoreError: the mask or its class does not fit the image.
    """
    check_choice("stage", stage, STAGES)
    check_score("score", score)
    check_score("stability", stability)
    with store.write() as session:
        acting_user(session, user_id)
        image = find_locked(session, ImageRow, image_id, "image")
        size_hw = (image.height, image.width)
        # Before the lease is looked at: it may have ended since the mask was made.
        if request_id is not None and (row := _of_request(session, image_id, request_id)):
            if row.user_id != user_id:
                raise ConflictError(f"somebody else has used the request_id {request_id!r:.40}")
            return to_annotation(row, size_hw)
        check_holder(image, user_id)
        mask = check_mask(rle, size_hw)
        _check_class(session, class_id, image.project_id)
        row = insert_annotation(
            session,
            store,
            image,
            mask,
            user_id=user_id,
            request_id=request_id,
            class_id=class_id,
            stage=stage,
            score=score,
            stability=stability,
            events=events,
        )
        return to_annotation(row, size_hw)


def replace_annotation(
    store: Store,
    annotation_id: int,
    *,
    user_id: int,
    version: int,
    rle: Rle,
    class_id: int | None,
    events: Sequence[NewEvent] = (),
) -> Annotation:
    """Give an annotation another mask and class; one that was deleted is there again.

    Args:
        store: where.
        annotation_id: of the annotation.
        user_id: who changes it; they must hold its image.
        version: that the change is based on.
        rle: the new mask.
        class_id: the new class.
        events: the corrections that led to it.

    Raises:
        ConflictError: it has another version by now, or the user does not hold the image.
        StoreError: the mask or its class does not fit the image.
    """
    with store.write() as session:
        image, row = _to_change(session, annotation_id, user_id=user_id, version=version)
        mask = check_mask(rle, (image.height, image.width))
        _check_class(session, class_id, image.project_id)
        _write_row(image, row, mask, class_id=class_id, deleted=False)
        record_revision(session, store, image, row, user_id=user_id, change="edit", events=events)
        return to_annotation(row, (image.height, image.width))


def delete_annotation(
    store: Store, annotation_id: int, *, user_id: int, version: int, duration_ms: int = 0
) -> Annotation:
    """Take an annotation out; `undo_annotation` brings it back.

    Raises:
        ConflictError: it has another version by now, or the user does not hold the image.
        StoreError: it is deleted already.
    """
    events = [NewEvent(kind="delete", data={}, duration_ms=duration_ms)]
    with store.write() as session:
        image, row = _to_change(session, annotation_id, user_id=user_id, version=version)
        if row.deleted:
            raise StoreError(f"annotation {annotation_id} is deleted already")
        _write_row(image, row, None, class_id=row.class_id, deleted=True)
        record_revision(session, store, image, row, user_id=user_id, change="edit", events=events)
        return to_annotation(row, (image.height, image.width))


def undo_annotation(store: Store, annotation_id: int, *, user_id: int, version: int) -> Annotation:
    """Bring an annotation to the state before its last change; before the first it is deleted.

    Raises:
        ConflictError: it has another version by now, or the user does not hold the image.
        StoreError: there is nothing left to undo.
    """
    return _step_history(store, annotation_id, user_id=user_id, version=version, change="undo")


def redo_annotation(store: Store, annotation_id: int, *, user_id: int, version: int) -> Annotation:
    """Take the last undoing back.

    Raises:
        ConflictError: it has another version by now, or the user does not hold the image.
        StoreError: there is nothing to redo.
    """
    return _step_history(store, annotation_id, user_id=user_id, version=version, change="redo")


def _of_request(session: Session, image_id: int, request_id: str) -> AnnotationRow | None:
    query = select(AnnotationRow).where(
        AnnotationRow.image_id == image_id, AnnotationRow.request_id == request_id
    )
    return session.scalar(query)


def _check_class(session: Session, class_id: int | None, project_id: int) -> None:
    if class_id is not None:
        row = session.get(ClassRow, class_id)
        if row is None:
            raise StoreError(f"there is no class {class_id}")
        if row.project_id != project_id:
            raise StoreError(f"class {row.name!r:.40} belongs to another project")


def _to_change(
    session: Session, annotation_id: int, *, user_id: int, version: int
) -> tuple[ImageRow, AnnotationRow]:
    """The locked rows of an annotation that may be changed, and of its image."""
    user = acting_user(session, user_id)
    image_id = find(session, AnnotationRow, annotation_id, "annotation").image_id
    # Always the image first: two who lock in different orders would wait for each other.
    image = held_image(session, image_id, user_id)
    row = find_locked(session, AnnotationRow, annotation_id, "annotation")
    if row.version != version:
        raise ConflictError(
            f"annotation {annotation_id} has version {row.version} by now; the change is based on"
            f" {version}: load it again"
        )
    if is_anothers(row, image, user):
        raise RoleError(f"annotation {annotation_id} is of another annotator of this image")
    return image, row


def _write_row(
    image: ImageRow,
    row: AnnotationRow,
    mask: CheckedMask | None,
    *,
    class_id: int | None,
    deleted: bool,
) -> None:
    """Give an annotation a new content; the mask stays where none is given."""
    image.num_masks += int(row.deleted) - int(deleted)
    if mask is not None:
        row.counts, row.area_px = mask.counts, mask.area_px
        row.x0, row.y0, row.x1, row.y1 = mask.box_xyxy
    row.class_id, row.deleted = class_id, deleted
    row.version += 1


def insert_annotation(
    session: Session,
    store: Store,
    image: ImageRow,
    mask: CheckedMask,
    *,
    user_id: int,
    request_id: str | None,
    class_id: int | None,
    stage: Stage,
    score: float | None,
    stability: float | None,
    events: Sequence[NewEvent],
) -> AnnotationRow:
    """Add a mask to an image whose row is locked, with its first revision and its events."""
    x0, y0, x1, y1 = mask.box_xyxy
    row = AnnotationRow(
        project_id=image.project_id,
        image_id=image.id,
        user_id=user_id,
        request_id=request_id,
        class_id=class_id,
        counts=mask.counts,
        area_px=mask.area_px,
        x0=x0,
        y0=y0,
        x1=x1,
        y1=y1,
        stage=stage,
        score=score,
        stability=stability,
        version=1,
        deleted=False,
        num_clicks=0,
        duration_ms=0,
        created_at=store.clock(),
    )
    session.add(row)
    session.flush()
    image.stage = stage
    image.num_masks += 1
    record_revision(session, store, image, row, user_id=user_id, change="edit", events=events)
    return row


def record_revision(
    session: Session,
    store: Store,
    image: ImageRow,
    row: AnnotationRow,
    *,
    user_id: int,
    change: str,
    events: Sequence[NewEvent],
) -> None:
    """Keep the state that an annotation has now, and what led to it."""
    now = store.clock()
    for event in events:
        _check_json(event)
        row.num_clicks += event.kind in CLICK_KINDS
        row.duration_ms += event.duration_ms
        session.add(
            EventRow(
                annotation_id=row.id,
                version=row.version,
                kind=event.kind,
                data=dict(event.data),
                duration_ms=event.duration_ms,
                model_version_id=event.model_version_id,
                user_id=user_id,
                at=now,
            )
        )
    session.add(
        RevisionRow(
            annotation_id=row.id,
            version=row.version,
            change=change,
            counts=row.counts,
            class_id=row.class_id,
            deleted=row.deleted,
            user_id=user_id,
            at=now,
        )
    )
    image.version += 1
    if image.review == "accepted":  # what was accepted is not what there is now
        image.review = "submitted"


def _check_json(event: NewEvent) -> None:
    try:
        json.dumps(dict(event.data), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"an event's data must be JSON: {error}") from error


def _step_history(
    store: Store, annotation_id: int, *, user_id: int, version: int, change: str
) -> Annotation:
    """Undo or redo."""
    with store.write() as session:
        image, row = _to_change(session, annotation_id, user_id=user_id, version=version)
        size_hw = (image.height, image.width)
        states = {state.version: state for state in revisions(session, annotation_id)}
        past, future = _stacks(list(states.values()))
        stack = past if change == "undo" else future
        if not stack:
            raise StoreError(f"annotation {annotation_id} has nothing to {change}")
        target = stack[-1]
        if target == BEFORE_FIRST:
            _write_row(image, row, None, class_id=row.class_id, deleted=True)
        else:
            state = states[target]
            mask = check_mask({"size": list(size_hw), "counts": state.counts}, size_hw)
            _write_row(image, row, mask, class_id=state.class_id, deleted=state.deleted)
        events = [NewEvent(kind=change, data={"version": target})]
        record_revision(session, store, image, row, user_id=user_id, change=change, events=events)
        return to_annotation(row, size_hw)


def _stacks(states: Sequence[RevisionRow]) -> tuple[list[int], list[int]]:
    """Versions that undoing and redoing lead to, the next one last."""
    past: list[int] = []
    future: list[int] = []
    current = BEFORE_FIRST
    for state in states:
        if state.change == "undo":
            future.append(current)
            current = past.pop()
        elif state.change == "redo":
            past.append(current)
            current = future.pop()
        else:
            past.append(current)
            future.clear()
            current = state.version
    return past, future
