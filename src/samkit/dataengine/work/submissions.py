"""Submissions: people submit an image, skip it, or report that it cannot be used.

A submission holds the masks that the person could see, each at the version it had then, so that
agreement and a reviewer's choice rest on what was submitted, whatever happens later.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, delete, func, insert, literal, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find, find_locked, to_image
from samkit.dataengine.schema import (
    AnnotationRow,
    ImageRow,
    QualityAuditImageRow,
    ReviewRow,
    SubmissionMaskRow,
    SubmissionRow,
)
from samkit.dataengine.values import (
    DAY_MS,
    MADE_BY_PEOPLE,
    Lease,
    Outcome,
    StoredImage,
    Submission,
)
from samkit.dataengine.work.annotations import stage_of_work
from samkit.dataengine.work.audits import REQUEST
from samkit.dataengine.work.labelling import labelling_of
from samkit.dataengine.work.leases import check_unheld, release
from samkit.dataengine.work.queue import grant_lease, held_image, settle
from samkit.dataengine.work.webhooks import WebhookEvent, tell_of_image
from samkit.errors import ConflictError, StoreError

MAX_COMMENT = 2000  # characters
SET_ASIDE = ("skipped", "unusable")  # states whose comment is the reason


def submit_image(store: Store, image_id: int, user_id: int, *, duration_ms: int = 0) -> StoredImage:
    """Submit an image that the user holds, and release it.

    It is up for review once the required number of annotators have submitted it, and those whom it
    was returned to have submitted it again.

    Args:
        duration_ms: time since the last event, such as for looking at prefilled masks that are
            right; it counts as work of the image's stage.

    Raises:
        ConflictError: the user does not hold the image.
        StoreError: the duration is negative or longer than a day, or a mask has no class in a
            project that requires one.
    """
    if not 0 <= duration_ms <= DAY_MS:
        raise StoreError(f"duration_ms must be from 0 to a day; got {duration_ms}")
    with store.write() as session:
        acting_user(session, user_id)
        row = held_image(session, image_id, user_id)
        if labelling_of(session, row.project_id).class_required:
            _check_classes(session, row, user_id)
        if row.review == "unusable":  # only a reviewer can hold it, and has annotated it after all
            forget_set_aside(session, row)
        # Why it was set aside, or what a quality audit asks for; a reviewer's comment stays.
        is_done_with = row.review in (*SET_ASIDE, "none")
        _record(session, store, row, user_id, duration_ms=duration_ms)
        settle(session, row)
        if is_done_with and row.review not in SET_ASIDE:
            row.comment = ""
        image = _finish(row)
        if row.review == "submitted":
            tell_of_image(session, store, row, "image.submitted", user_id)
        return image


def skip_image(store: Store, image_id: int, user_id: int, *, reason: str) -> StoredImage:
    """Skip an image that the user holds: it is not offered to them again, but to others.

    Raises:
        ConflictError: the user does not hold the image.
        StoreError: the reason is empty or too long, or the image does not wait for annotators.
    """
    _check_reason(reason)
    with store.write() as session:
        acting_user(session, user_id)
        row = held_image(session, image_id, user_id)
        if not row.open:
            raise StoreError(f"{row.path} is {row.review}: there is nothing to skip")
        return _set_aside(session, store, row, user_id, outcome="skipped", reason=reason)


def report_unusable(store: Store, image_id: int, user_id: int, *, reason: str) -> StoredImage:
    """Report that an image which the user holds cannot be annotated: nobody is offered it.

    Raises:
        ConflictError: the user does not hold the image.
        StoreError: the reason is empty or too long.
    """
    _check_reason(reason)
    with store.write() as session:
        acting_user(session, user_id)
        row = held_image(session, image_id, user_id)
        return _set_aside(session, store, row, user_id, outcome="unusable", reason=reason)


def take_back(store: Store, image_id: int, user_id: int) -> Lease:
    """Take back what the user has made of an image, while no review has begun, and take the image.

    All is as before: an image that had been returned to them is returned to them again.

    Raises:
        ConflictError: somebody else holds the image, or somebody has judged it since.
        MissingError: no such image or user.
        StoreError: the user has not submitted, skipped or reported it.
    """
    with store.write() as session:
        acting_user(session, user_id)
        row = find_locked(session, ImageRow, image_id, "image")
        own = _submission_of(session, image_id, user_id)
        if own is None or own.returned:
            raise StoreError(f"there is nothing to take back: {row.path} was not submitted by you")
        check_unheld(row, store, but_by=user_id)
        if _is_judged_since(session, image_id, own.at):
            raise ConflictError(f"{row.path} has been reviewed since")
        if own.resubmitted:
            own.outcome, own.reason, own.returned = "annotated", "", True
        else:
            held = SubmissionMaskRow.submission_id == own.id
            session.execute(delete(SubmissionMaskRow).where(held))
            session.delete(own)
        settle(session, row, stays_open=True)
        if not row.open:
            raise ConflictError(f"{row.path} is {row.review}, by somebody else")
        row.comment = _comment_of(session, row)
        note = {"image_id": image_id, "user_id": user_id, "at": store.clock()}
        session.add(ReviewRow(verdict="taken back", comment="", **note))
        row.version += 1
        return grant_lease(store, row, user_id)


def list_submissions(store: Store, image_id: int) -> tuple[Submission, ...]:
    """List what each person has made of an image, in the order in which they finished it first.

    Raises:
        MissingError: no such image.
    """
    with store.read() as session:
        find(session, ImageRow, image_id, "image")
        rows = submissions(session, image_id)
        versions = {row.id: submitted_versions(session, row.id) for row in rows}
        return tuple(
            Submission(
                user_id=row.user_id,
                outcome=cast("Outcome", row.outcome),
                reason=row.reason,
                returned=row.returned,
                annotation_ids=tuple(sorted(versions[row.id])),
                at=row.at,
            )
            for row in rows
        )


def _submission_of(session: Session, image_id: int, user_id: int) -> SubmissionRow | None:
    query = select(SubmissionRow).where(
        SubmissionRow.image_id == image_id, SubmissionRow.user_id == user_id
    )
    return session.scalar(query)


def _is_judged_since(session: Session, image_id: int, at: datetime) -> bool:
    query = select(ReviewRow.id).where(
        ReviewRow.image_id == image_id,
        ReviewRow.verdict.in_(("accepted", "returned")),
        ReviewRow.at > at,
    )
    return session.scalar(query.limit(1)) is not None


def _comment_of(session: Session, row: ImageRow) -> str:
    """The comment of the latest verdict that led to an image's state, or what an audit asks for."""
    if row.review == "none":
        return REQUEST if session.get(QualityAuditImageRow, row.id) else ""
    query = select(ReviewRow.comment).where(
        ReviewRow.image_id == row.id, ReviewRow.verdict == row.review
    )
    return session.scalar(query.order_by(ReviewRow.id.desc()).limit(1)) or ""


def submissions(session: Session, image_id: int) -> Sequence[SubmissionRow]:
    """Return the rows of an image's submissions, oldest first."""
    query = select(SubmissionRow).where(SubmissionRow.image_id == image_id)
    return session.scalars(query.order_by(SubmissionRow.id)).all()


def submitted_versions(session: Session, submission_id: int) -> dict[int, int]:
    """Return the versions of the masks that a submission holds, by annotation."""
    query = select(SubmissionMaskRow.annotation_id, SubmissionMaskRow.version)
    rows = session.execute(query.where(SubmissionMaskRow.submission_id == submission_id))
    return {row.annotation_id: row.version for row in rows}


def forget_set_aside(session: Session, row: ImageRow) -> None:
    """Delete the submissions by which people skipped or reported an image."""
    session.execute(
        delete(SubmissionRow).where(
            SubmissionRow.image_id == row.id, SubmissionRow.outcome != "annotated"
        )
    )


def _record(
    session: Session,
    store: Store,
    row: ImageRow,
    user_id: int,
    *,
    outcome: Outcome = "annotated",
    reason: str = "",
    duration_ms: int = 0,
) -> None:
    """Write what a person has made of an image, in place of what they made of it before."""
    found, stage = _submission_of(session, row.id, user_id), stage_of_work(session, row)
    if found is None:
        found = SubmissionRow(
            project_id=row.project_id,
            image_id=row.id,
            user_id=user_id,
            duration_ms=0,
            returned=False,
            resubmitted=False,
        )
        session.add(found)
    found.resubmitted = found.resubmitted or found.returned
    found.outcome, found.reason, found.returned, found.at = outcome, reason, False, store.clock()
    found.stage, found.duration_ms = stage, found.duration_ms + duration_ms
    session.flush()
    held = SubmissionMaskRow.submission_id == found.id
    session.execute(delete(SubmissionMaskRow).where(held))
    if outcome == "annotated":
        masks = select(literal(found.id), AnnotationRow.id, AnnotationRow.version).where(
            AnnotationRow.image_id == row.id, ~AnnotationRow.deleted, _are_of(row, user_id)
        )
        names = ["submission_id", "annotation_id", "version"]
        session.execute(insert(SubmissionMaskRow).from_select(names, masks))


def _check_classes(session: Session, row: ImageRow, user_id: int) -> None:
    query = select(func.count()).where(
        AnnotationRow.image_id == row.id,
        ~AnnotationRow.deleted,
        AnnotationRow.class_id.is_(None),
        _are_of(row, user_id),
    )
    if count := session.scalar(query):
        masks = "1 mask has" if count == 1 else f"{count} masks have"
        raise StoreError(
            f"{row.path}: {masks} no class, which the project requires: choose one for each"
        )


def _are_of(row: ImageRow, user_id: int) -> ColumnElement[bool]:
    """Select the masks that a person's submission holds: their own, and those that all share."""
    if row.honey_pot:
        return AnnotationRow.user_id == user_id
    if row.num_annotators == 1:
        return AnnotationRow.image_id == row.id
    return or_(AnnotationRow.user_id == user_id, AnnotationRow.stage.not_in(MADE_BY_PEOPLE))


def _set_aside(
    session: Session,
    store: Store,
    row: ImageRow,
    user_id: int,
    *,
    outcome: Outcome,
    reason: str,
) -> StoredImage:
    _record(session, store, row, user_id, outcome=outcome, reason=reason)
    row.comment = reason
    session.add(
        ReviewRow(
            image_id=row.id, user_id=user_id, verdict=outcome, comment=reason, at=store.clock()
        )
    )
    settle(session, row, stays_open=row.open)
    image = _finish(row)
    event: WebhookEvent = "image.skipped" if outcome == "skipped" else "image.unusable"
    tell_of_image(session, store, row, event, user_id)
    return image


def _finish(row: ImageRow) -> StoredImage:
    row.version += 1
    release(row)
    return to_image(row)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_COMMENT:
        raise StoreError(f"a reason must have 1 to {MAX_COMMENT} characters; got {len(reason)}")
