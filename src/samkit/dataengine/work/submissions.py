"""Submissions: people submit an image, skip it, or report that it cannot be used.

A submission holds the masks that the person could see, each at the version it had then, so that
agreement and a reviewer's choice rest on what was submitted, whatever happens later.
"""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import ColumnElement, delete, insert, literal, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find, to_image
from samkit.dataengine.schema import (
    AnnotationRow,
    ImageRow,
    ReviewRow,
    SubmissionMaskRow,
    SubmissionRow,
)
from samkit.dataengine.values import DAY_MS, MADE_BY_PEOPLE, Outcome, StoredImage, Submission
from samkit.dataengine.work.annotations import stage_of_work
from samkit.dataengine.work.queue import held_image, release, settle
from samkit.errors import StoreError

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
        StoreError: the duration is negative or longer than a day.
    """
    if not 0 <= duration_ms <= DAY_MS:
        raise StoreError(f"duration_ms must be from 0 to a day; got {duration_ms}")
    with store.write() as session:
        acting_user(session, user_id)
        row = held_image(session, image_id, user_id)
        if row.review == "unusable":  # only a reviewer can hold it, and has annotated it after all
            forget_set_aside(session, row)
        # Why it was set aside, or what a quality audit asks for; a reviewer's comment stays.
        is_done_with = row.review in (*SET_ASIDE, "none")
        _record(session, store, row, user_id, duration_ms=duration_ms)
        settle(session, row)
        if is_done_with and row.review not in SET_ASIDE:
            row.comment = ""
        return _finish(row)


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
    own = select(SubmissionRow).where(
        SubmissionRow.image_id == row.id, SubmissionRow.user_id == user_id
    )
    found, stage = session.scalar(own), stage_of_work(session, row)
    if found is None:
        found = SubmissionRow(
            project_id=row.project_id, image_id=row.id, user_id=user_id, duration_ms=0
        )
        session.add(found)
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


def _are_of(row: ImageRow, user_id: int) -> ColumnElement[bool]:
    """Select the masks that a person's submission holds: their own, and those that all share."""
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
    return _finish(row)


def _finish(row: ImageRow) -> StoredImage:
    row.version += 1
    release(row)
    return to_image(row)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_COMMENT:
        raise StoreError(f"a reason must have 1 to {MAX_COMMENT} characters; got {len(reason)}")
