"""Reviews: submitting images, and accepting or returning them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find_locked, to_image
from samkit.dataengine.schema import ImageRow, ReviewRow, SubmissionRow, UserRow
from samkit.dataengine.values import StoredImage
from samkit.dataengine.work.queue import held_image, is_held, num_submissions, release
from samkit.errors import ConflictError, RoleError, StoreError

MAX_COMMENT = 2000  # characters


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A reviewer's verdict: accepted, or returned with a comment."""

    user_id: int
    verdict: str
    comment: str
    at: datetime


def submit_image(store: Store, image_id: int, user_id: int) -> StoredImage:
    """Submit an image that the user holds, and release it.

    It is up for review once the required number of annotators have submitted it.

    Raises:
        ConflictError: the user does not hold the image.
    """
    with store.write() as session:
        acting_user(session, user_id)
        row = held_image(session, image_id, user_id)
        own = select(SubmissionRow.id).where(
            SubmissionRow.image_id == image_id, SubmissionRow.user_id == user_id
        )
        if session.scalar(own) is None:
            session.add(
                SubmissionRow(
                    project_id=row.project_id,
                    image_id=image_id,
                    user_id=user_id,
                    at=store.clock(),
                )
            )
            session.flush()
        row.open = num_submissions(session, image_id) < row.num_annotators
        row.returned_to = None
        row.review = "none" if row.open else "submitted"
        row.version += 1
        release(row)
        return to_image(row)


def accept_image(store: Store, image_id: int, user_id: int, *, version: int) -> StoredImage:
    """Accept an image's masks at the given version of the image.

    To correct masks, a reviewer takes the image, changes them, and then accepts it.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer, or has annotated the image.
        StoreError: the image is not up for review.
    """
    with store.write() as session:
        row = _to_review(session, store, image_id, user_id, version)
        row.review, row.comment = "accepted", ""
        row.version += 1
        release(row)
        _note(session, store, row, user_id)
        return to_image(row)


def return_image(
    store: Store, image_id: int, user_id: int, *, version: int, comment: str
) -> StoredImage:
    """Return an image to the person who submitted it last, with a comment.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer, or has annotated the image.
        StoreError: the image is not up for review, or the comment is empty or too long.
    """
    if not comment.strip() or len(comment) > MAX_COMMENT:
        raise StoreError(f"a comment must have 1 to {MAX_COMMENT} characters; got {len(comment)}")
    with store.write() as session:
        row = _to_review(session, store, image_id, user_id, version)
        last = select(SubmissionRow.user_id).where(SubmissionRow.image_id == image_id)
        last = last.join(UserRow, UserRow.id == SubmissionRow.user_id).where(UserRow.active)
        row.returned_to = session.scalar(last.order_by(SubmissionRow.id.desc()).limit(1))
        row.review, row.comment, row.open = "returned", comment, True
        row.version += 1
        release(row)
        _note(session, store, row, user_id)
        return to_image(row)


def review_history(store: Store, image_id: int) -> tuple[Verdict, ...]:
    """List all verdicts on an image, oldest first."""
    query = select(ReviewRow).where(ReviewRow.image_id == image_id).order_by(ReviewRow.id)
    with store.read() as session:
        return tuple(
            Verdict(user_id=row.user_id, verdict=row.verdict, comment=row.comment, at=row.at)
            for row in session.scalars(query)
        )


def _to_review(
    session: Session, store: Store, image_id: int, user_id: int, version: int
) -> ImageRow:
    """Return the locked row of an image that the user may review."""
    user = acting_user(session, user_id, REVIEWERS)
    row = find_locked(session, ImageRow, image_id, "image")
    if is_held(row, store, but_by=user_id):
        raise ConflictError(f"{row.path} is held by somebody else")
    if row.version != version:
        raise ConflictError(
            f"{row.path} is at version {row.version} now; the review is of {version}: reload it"
        )
    if row.open or row.review not in ("submitted", "accepted"):
        raise StoreError(f"{row.path} is not up for review")
    if not _may_judge(session, user, image_id):
        raise RoleError(f"{user.name!r:.40} annotated {row.path}: another person must review it")
    return row


def _may_judge(session: Session, user: UserRow, image_id: int) -> bool:
    """Whether a user may review an image: annotators of it may not, unless they are admins."""
    if user.role == "admin":
        return True
    query = select(SubmissionRow.user_id).where(SubmissionRow.image_id == image_id)
    return user.id not in session.scalars(query).all()


def _note(session: Session, store: Store, row: ImageRow, user_id: int) -> None:
    session.add(
        ReviewRow(
            image_id=row.id,
            user_id=user_id,
            verdict=row.review,
            comment=row.comment,
            at=store.clock(),
        )
    )
