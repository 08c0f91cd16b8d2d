"""Annotations: save, replace, delete, undo and redo. Each function is one transaction.

All states of an annotation are kept. Undo and redo add states with the content of earlier ones, and
deletion is a state too, so that nothing is ever lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find, find_locked, to_annotation
from samkit.dataengine.schema import (
    AnnotationRow,
    EventRow,
    ImageRow,
    RevisionRow,
    TagRevisionRow,
)
from samkit.dataengine.values import (
    CLICK_KINDS,
    STAGES,
    Annotation,
    NewEvent,
    Stage,
    check_choice,
)
from samkit.dataengine.work.annotation_queries import is_hidden_from, revisions
from samkit.dataengine.work.classes import resolve_class
from samkit.dataengine.work.labelling import AttributeValue, labelling_of
from samkit.dataengine.work.masks import CheckedMask, check_event_data, check_mask, check_score
from samkit.dataengine.work.queue import check_holder, held_image
from samkit.errors import ConflictError, RoleError, StoreError
from samkit.geometry import Rle

BEFORE_FIRST = 0  # version before the first state; undoing the first state leads there


def save_annotation(
    store: Store,
    *,
    image_id: int,
    user_id: int,
    rle: Rle,
    class_id: int | None = None,
    attributes: Mapping[str, object] | None = None,
    events: Sequence[NewEvent] = (),
    stage: Stage | None = None,
    score: float | None = None,
    stability: float | None = None,
    request_id: str | None = None,
) -> Annotation:
    """Add a mask to an image that the user holds.

    Args:
        class_id: a class of the image's project.
        attributes: values by name; see `Labelling`.
        events: the prompts and corrections that led to the mask.
        stage: None for that of a person's mask: "semi-automatic" if the image was prelabelled, else
            "assisted-manual".
        score: the model's predicted IoU.
        stability: stability score of the mask.
        request_id: idempotency key of any text: a repeated request for the image returns the mask
            that the first one added.

    Raises:
        ConflictError: the user does not hold the image, or somebody else used the request_id.
        StoreError: the mask, its class or an attribute does not fit the image.
    """
    if stage is not None:
        check_choice("stage", stage, STAGES)
    score, stability = check_score("score", score), check_score("stability", stability)
    with store.write() as session:
        acting_user(session, user_id)
        image = find_locked(session, ImageRow, image_id, "image")
        size_hw = (image.height, image.width)
        # Before the lease is checked: it may have expired since the mask was added.
        if request_id is not None and (row := _find_request(session, image_id, request_id)):
            if row.user_id != user_id:
                raise ConflictError(f"somebody else used the request_id {request_id!r:.40}")
            return to_annotation(row, size_hw)
        check_holder(image, user_id)
        mask = check_mask(rle, size_hw)
        class_id = resolve_class(session, class_id, image.project_id)
        values = labelling_of(session, image.project_id).check(attributes or {})
        row = insert_annotation(
            session,
            store,
            image,
            mask,
            user_id=user_id,
            request_id=request_id,
            class_id=class_id,
            attributes=values,
            stage=stage_of_work(session, image) if stage is None else stage,
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
    attributes: Mapping[str, object] | None = None,
    events: Sequence[NewEvent] = (),
    score: float | None = None,
    stability: float | None = None,
) -> Annotation:
    """Replace an annotation's mask, class and attributes; this restores a deleted annotation.

    Args:
        user_id: who changes it; they must hold its image.
        version: the version that the change is based on.
        attributes: values by name; None leaves them as they are.
        events: the corrections that led to the new mask.
        score: the model's predicted IoU of the new mask; None if it was changed by hand. If the
            mask is the same as before, its score and stability remain.
        stability: stability score of the new mask.

    Raises:
        ConflictError: the annotation has a newer version, or the user does not hold the image.
        StoreError: the mask, its class or an attribute does not fit the image.
    """
    score, stability = check_score("score", score), check_score("stability", stability)
    with store.write() as session:
        image, row = _rows_to_change(session, annotation_id, user_id=user_id, version=version)
        mask = check_mask(rle, (image.height, image.width))
        class_id = resolve_class(session, class_id, image.project_id)
        if attributes is not None:
            labelling = labelling_of(session, image.project_id)
            row.attributes = labelling.check(attributes, present=row.attributes)
        if mask.counts != row.counts:
            row.score, row.stability = score, stability
        _write_row(image, row, mask, class_id=class_id, deleted=False)
        record_revision(session, store, image, row, user_id=user_id, change="edit", events=events)
        return to_annotation(row, (image.height, image.width))


def delete_annotation(
    store: Store, annotation_id: int, *, user_id: int, version: int, duration_ms: int = 0
) -> Annotation:
    """Delete an annotation; `undo_annotation` brings it back.

    Raises:
        ConflictError: the annotation has a newer version, or the user does not hold the image.
        StoreError: the annotation is deleted already.
    """
    with store.write() as session:
        image, row = _rows_to_change(session, annotation_id, user_id=user_id, version=version)
        if row.deleted:
            raise StoreError(f"annotation {annotation_id} is deleted already")
        event = NewEvent(kind="delete", data={}, duration_ms=duration_ms)
        delete_row(session, store, image, row, user_id=user_id, event=event)
        return to_annotation(row, (image.height, image.width))


def undo_annotation(store: Store, annotation_id: int, *, user_id: int, version: int) -> Annotation:
    """Undo an annotation's last change; undoing the first one deletes it.

    Raises:
        ConflictError: the annotation has a newer version, or the user does not hold the image.
        StoreError: there is nothing to undo.
    """
    return _step_history(store, annotation_id, user_id=user_id, version=version, change="undo")


def redo_annotation(store: Store, annotation_id: int, *, user_id: int, version: int) -> Annotation:
    """Redo the change that was undone last.

    Raises:
        ConflictError: the annotation has a newer version, or the user does not hold the image.
        StoreError: there is nothing to redo.
    """
    return _step_history(store, annotation_id, user_id=user_id, version=version, change="redo")


def delete_row(
    session: Session,
    store: Store,
    image: ImageRow,
    row: AnnotationRow,
    *,
    user_id: int,
    event: NewEvent,
) -> None:
    """Delete an annotation; its row and its image's row are locked."""
    _write_row(image, row, None, class_id=row.class_id, deleted=True)
    record_revision(session, store, image, row, user_id=user_id, change="edit", events=[event])


def restore_state(
    session: Session,
    store: Store,
    image: ImageRow,
    row: AnnotationRow,
    version: int,
    *,
    user_id: int,
) -> None:
    """Give an annotation the content that a reviewer chose, unless it has it now."""
    state = find(session, RevisionRow, (row.id, version), "state")
    present = (row.deleted, row.class_id, row.counts, row.attributes)
    if present == (False, state.class_id, state.counts, state.attributes):
        return
    # Without an event of its own, the prompts of later states would seem to lead to this one.
    events = [NewEvent(kind="review", data={"version": version})]
    if row.counts == state.counts:
        events = []
    _write_state(session, image, row, state)
    record_revision(session, store, image, row, user_id=user_id, change="edit", events=events)


def _write_state(session: Session, image: ImageRow, row: AnnotationRow, state: RevisionRow) -> None:
    size_hw = (image.height, image.width)
    mask = check_mask({"size": list(size_hw), "counts": state.counts}, size_hw)
    row.score, row.stability = state.score, state.stability
    row.attributes = state.attributes
    class_id = resolve_class(session, state.class_id, image.project_id)
    _write_row(image, row, mask, class_id=class_id, deleted=state.deleted)


def _find_request(session: Session, image_id: int, request_id: str) -> AnnotationRow | None:
    query = select(AnnotationRow).where(
        AnnotationRow.image_id == image_id, AnnotationRow.request_id == request_id
    )
    return session.scalar(query)


def stage_of_work(session: Session, image: ImageRow) -> Stage:
    """Return the stage of masks that people add to an image now, as in the paper.

    Source: arXiv:2304.02643, section 4.
    """
    automatic = select(AnnotationRow.id).where(
        AnnotationRow.image_id == image.id, AnnotationRow.stage == "fully-automatic"
    )
    # Deleted ones count; an image on which none was found has the stage.
    is_prelabelled = image.stage in ("fully-automatic", "semi-automatic")
    if is_prelabelled or session.scalar(automatic.limit(1)) is not None:
        return "semi-automatic"
    return "assisted-manual"


def _rows_to_change(
    session: Session, annotation_id: int, *, user_id: int, version: int
) -> tuple[ImageRow, AnnotationRow]:
    """Return the locked rows of an annotation that may be changed, and of its image."""
    user = acting_user(session, user_id)
    image_id = find(session, AnnotationRow, annotation_id, "annotation").image_id
    # Always lock the image first: locking in different orders could deadlock.
    image = held_image(session, image_id, user_id)
    row = find_locked(session, AnnotationRow, annotation_id, "annotation")
    if row.version != version:
        raise ConflictError(
            f"annotation {annotation_id} is at version {row.version} now; the change is based on"
            f" {version}: reload it"
        )
    if is_hidden_from(row, image, user):
        raise RoleError(f"annotation {annotation_id} belongs to another annotator of this image")
    return image, row


def _write_row(
    image: ImageRow,
    row: AnnotationRow,
    mask: CheckedMask | None,
    *,
    class_id: int | None,
    deleted: bool,
) -> None:
    """Update an annotation's content and version; None leaves the mask unchanged."""
    image.num_masks += int(row.deleted) - int(deleted)
    if mask is not None:
        row.counts, row.area_px = mask.counts, mask.area_px
        row.x0, row.y0, row.x1, row.y1 = mask.box_xyxy
    row.class_id, row.deleted = class_id, deleted
    row.verdict = None  # it was on the state before
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
    attributes: Mapping[str, AttributeValue],
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
        attributes=dict(attributes),
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
    """Store the current state of an annotation, and the events that led to it."""
    now = store.clock()
    for event in events:
        check_event_data(event.data)
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
            score=row.score,
            stability=row.stability,
            attributes=row.attributes,
        )
    )
    note_change(image)


def note_change(image: ImageRow) -> None:
    """An image has changed, so that what was accepted of it is no longer what is there."""
    image.version += 1
    if image.review == "accepted":
        image.review = "submitted"


def _step_history(
    store: Store, annotation_id: int, *, user_id: int, version: int, change: str
) -> Annotation:
    """Undo or redo an annotation's last change."""
    with store.write() as session:
        image, row = _rows_to_change(session, annotation_id, user_id=user_id, version=version)
        size_hw = (image.height, image.width)
        states = {state.version: state for state in revisions(session, annotation_id)}
        past, future = history_stacks(list(states.values()))
        stack = past if change == "undo" else future
        if not stack:
            raise StoreError(f"annotation {annotation_id} has nothing to {change}")
        target = stack[-1]
        if target == BEFORE_FIRST:
            _write_row(image, row, None, class_id=row.class_id, deleted=True)
        else:
            _write_state(session, image, row, states[target])
        events = [NewEvent(kind=change, data={"version": target})]
        record_revision(session, store, image, row, user_id=user_id, change=change, events=events)
        return to_annotation(row, size_hw)


def history_stacks(
    states: Sequence[RevisionRow] | Sequence[TagRevisionRow],
) -> tuple[list[int], list[int]]:
    """Return the versions that undo and redo lead to, the next one last."""
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
