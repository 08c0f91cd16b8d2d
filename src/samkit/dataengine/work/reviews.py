"""Reviews: accepting submitted images, returning them, and choosing among people's masks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, distinct, func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, can_work, check_member, role_of
from samkit.dataengine.rows import find, find_locked, to_annotation, to_image
from samkit.dataengine.schema import (
    AnnotationRow,
    ImageRow,
    ReviewRow,
    SubmissionRow,
    UserRow,
    VideoRow,
)
from samkit.dataengine.team_schema import MaskVerdictRow
from samkit.dataengine.values import (
    MADE_BY_PEOPLE,
    MASK_VERDICTS,
    Annotation,
    MaskVerdict,
    NewEvent,
    StoredImage,
    check_choice,
)
from samkit.dataengine.work.annotations import delete_row, restore_state
from samkit.dataengine.work.leases import check_unheld, release
from samkit.dataengine.work.queue import settle
from samkit.dataengine.work.submissions import (
    MAX_COMMENT,
    forget_set_aside,
    submissions,
    submitted_versions,
)
from samkit.dataengine.work.webhooks import tell_of_image
from samkit.errors import ConflictError, RoleError, StoreError


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What somebody decided on an image: accepted, returned, skipped, unusable or reopened."""

    user_id: int
    verdict: str
    comment: str
    at: datetime


def accept_image(
    store: Store, image_id: int, user_id: int, *, version: int, masks: Sequence[int] | None = None
) -> StoredImage:
    """Accept an image's masks at the given version of the image.

    To correct masks, a reviewer takes the image, changes them, and then accepts it.

    Args:
        masks: ids of the annotations to accept; the others are deleted. None accepts all. Needed
            where several people have annotated the image independently, and the masks of more
            than one of them are there.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer, or has annotated the image.
        StoreError: the image is not up for review, an id is not among its masks, a mask was
            rejected, or the masks of several people are there and none were named.
    """
    with store.write() as session:
        row = _to_review(session, store, image_id, user_id, version)
        _check_verdicts(session, row, masks)
        if masks is not None:
            _leave_out_others(session, store, row, user_id, set(masks))
        elif num_independent(session, row) > 1:
            raise StoreError(
                f"{row.path} has the masks of several people: take those of one of them, or name"
                " the masks to accept"
            )
        row.review, row.comment = "accepted", ""
        row.version += 1
        release(row)
        _note(session, store, row, user_id)
        tell_of_image(session, store, row, "image.accepted", user_id)
        return to_image(row)


def judge_mask(
    store: Store, annotation_id: int, user_id: int, *, version: int, verdict: MaskVerdict | None
) -> Annotation:
    """Accept or reject one mask of an image that is up for review.

    It holds for this version of the mask. An image with rejected masks is not accepted.

    Args:
        version: the version of the mask that was looked at.
        verdict: None takes an earlier one back.

    Raises:
        ConflictError: the mask has a newer version, or somebody else holds the image.
        MissingError: no such mask or user.
        RoleError: the user is not a reviewer, or has annotated the image.
        StoreError: the image is not up for review, or the mask is deleted.
    """
    if verdict is not None:
        check_choice("a verdict", verdict, MASK_VERDICTS)
    with store.write() as session:
        image_id = find(session, AnnotationRow, annotation_id, "annotation").image_id
        image = _reviewable(session, store, image_id, user_id)
        row = find_locked(session, AnnotationRow, annotation_id, "annotation")
        if row.version != version:
            raise ConflictError(
                f"annotation {annotation_id} is at version {row.version} now; the verdict is on"
                f" {version}: reload it"
            )
        if row.deleted:
            raise StoreError(f"annotation {annotation_id} is deleted")
        if row.verdict != verdict:
            row.verdict = verdict
            note = {"annotation_id": annotation_id, "version": version, "user_id": user_id}
            session.add(MaskVerdictRow(**note, verdict=verdict, at=store.clock()))
        return to_annotation(row, (image.height, image.width))


def return_image(
    store: Store,
    image_id: int,
    user_id: int,
    *,
    version: int,
    comment: str,
    to: Sequence[int] | None = None,
) -> StoredImage:
    """Return an image to its annotators, with a comment; each of them may work on it again.

    What somebody submitted who has left the project is rejected as well, and anybody may do it
    anew.

    Args:
        to: ids of people who have submitted it; None for all whose masks are there, or all who
            have submitted it if no mask is of a person who still works on the project.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer, or has annotated the image; or somebody in `to` has
            left the project.
        StoreError: the image is not up for review, the comment is empty or too long, or somebody
            in `to` has not submitted the image.
    """
    if not comment.strip() or len(comment) > MAX_COMMENT:
        raise StoreError(f"a comment must have 1 to {MAX_COMMENT} characters; got {len(comment)}")
    with store.write() as session:
        row = _to_review(session, store, image_id, user_id, version)
        asked = _to_return(session, row, to)
        for submission in asked:
            submission.returned = True
        row.review, row.comment, row.open = "returned", comment, True
        row.version += 1
        release(row)
        _note(session, store, row, user_id)
        names = [find(session, UserRow, one.user_id, "user").name for one in asked]
        tell_of_image(session, store, row, "image.returned", user_id, to=names)
        return to_image(row)


def restore_submissions(
    store: Store, image_id: int, user_id: int, *, version: int, of: Sequence[int]
) -> StoredImage:
    """Make an image's masks those that these people submitted; all others are deleted.

    Each change is a new state of its mask, so that nothing is lost, and others' submissions can be
    restored as well. Where two submissions hold the same mask, the later one counts.

    Args:
        of: ids of people who have annotated the image.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer, or has annotated the image.
        StoreError: the image is not up for review, or somebody in `of` has not submitted it.
    """
    with store.write() as session:
        row = _to_review(session, store, image_id, user_id, version)
        wanted: dict[int, int] = {}
        for submission in sorted(_of_people(session, row, of), key=lambda one: one.at):
            wanted |= submitted_versions(session, submission.id)
        query = select(AnnotationRow).where(AnnotationRow.image_id == image_id)
        for mask in session.scalars(query.order_by(AnnotationRow.id).with_for_update()).all():
            if mask.id in wanted:
                restore_state(session, store, row, mask, wanted[mask.id], user_id=user_id)
            elif not mask.deleted:
                _leave_out(session, store, row, mask, user_id)
        return to_image(row)


def reopen_image(store: Store, image_id: int, user_id: int, *, version: int) -> StoredImage:
    """Offer an image again that people have skipped or reported as unusable.

    Raises:
        ConflictError: the image has a newer version, or somebody else holds it.
        RoleError: the user is not a reviewer.
        StoreError: the image is neither skipped nor unusable.
    """
    with store.write() as session:
        user = acting_user(session, user_id, REVIEWERS)
        row = _unheld(session, store, image_id, user_id)
        check_version(row, version)
        check_member(session, user, row.project_id)
        if row.review not in ("skipped", "unusable"):
            raise StoreError(f"{row.path} is neither skipped nor unusable")
        forget_set_aside(session, row)
        row.comment = ""
        settle(session, row, stays_open=row.open)
        row.version += 1
        release(row)
        _note(session, store, row, user_id, verdict="reopened")
        tell_of_image(session, store, row, "image.reopened", user_id)
        return to_image(row)


def review_history(
    store: Store, image_id: int, *, user_id: int | None = None
) -> tuple[Verdict, ...]:
    """List the verdicts on an image, oldest first.

    Args:
        user_id: the user who asks; an annotator sees only their own of a honey pot, as if nobody
            else had worked on it. None for all.

    Raises:
        MissingError: no such user.
    """
    query = select(ReviewRow).where(ReviewRow.image_id == image_id).order_by(ReviewRow.id)
    with store.read() as session:
        if user_id is not None:
            image = find(session, ImageRow, image_id, "image")
            if image.honey_pot and role_of(acting_user(session, user_id)) not in REVIEWERS:
                query = query.where(ReviewRow.user_id == user_id)
        return tuple(
            Verdict(user_id=row.user_id, verdict=row.verdict, comment=row.comment, at=row.at)
            for row in session.scalars(query)
        )


def num_independent(session: Session, row: ImageRow) -> int:
    """Count the people who annotated an image independently, and whose masks are there."""
    if row.num_annotators == 1:
        return 1
    query = select(func.count(distinct(AnnotationRow.user_id))).where(
        AnnotationRow.image_id == row.id,
        AnnotationRow.stage.in_(MADE_BY_PEOPLE),
        ~AnnotationRow.deleted,
        AnnotationRow.user_id.in_(_annotators(row.id)),
    )
    return int(session.scalar(query) or 0)


def _annotators(image_id: int) -> Select[int]:
    """Select the ids of the people who have submitted an image as annotated."""
    return select(SubmissionRow.user_id).where(
        SubmissionRow.image_id == image_id, SubmissionRow.outcome == "annotated"
    )


def _leave_out_others(
    session: Session, store: Store, row: ImageRow, user_id: int, chosen: set[int]
) -> None:
    query = select(AnnotationRow).where(AnnotationRow.image_id == row.id, ~AnnotationRow.deleted)
    present = session.scalars(query.order_by(AnnotationRow.id).with_for_update()).all()
    unknown = chosen - {mask.id for mask in present}
    if unknown:
        raise StoreError(f"{row.path} has no mask {min(unknown)}")
    for mask in present:
        if mask.id not in chosen:
            _leave_out(session, store, row, mask, user_id)


def _leave_out(
    session: Session, store: Store, row: ImageRow, mask: AnnotationRow, user_id: int
) -> None:
    event = NewEvent(kind="review", data={})
    delete_row(session, store, row, mask, user_id=user_id, event=event)


def _to_return(
    session: Session, row: ImageRow, to: Sequence[int] | None
) -> Sequence[SubmissionRow]:
    """Return the submissions that are rejected when an image is returned to these people."""
    if to is not None:
        found = _of_people(session, row, to)
        for one in found:
            check_member(session, acting_user(session, one.user_id), row.project_id)
        return found
    everyone = _of_people(session, row, None)
    masks = select(AnnotationRow.user_id).where(
        AnnotationRow.image_id == row.id, ~AnnotationRow.deleted
    )
    makers = set(session.scalars(masks))
    chosen = [one for one in everyone if one.user_id in makers]
    can = select(UserRow.id).where(
        UserRow.id.in_([one.user_id for one in chosen]), can_work(row.project_id)
    )
    return chosen if session.scalar(can.limit(1)) is not None else everyone


def _of_people(
    session: Session, row: ImageRow, people: Sequence[int] | None
) -> Sequence[SubmissionRow]:
    """Return the submissions of these people, or of all, who have annotated an image."""
    found = [one for one in submissions(session, row.id) if one.outcome == "annotated"]
    if people is None:
        return found
    missing = set(people) - {one.user_id for one in found}
    if missing or not people:
        raise StoreError(
            f"{row.path} was not submitted by user {min(missing)}"
            if missing
            else "name at least one person"
        )
    return [one for one in found if one.user_id in people]


def _to_review(
    session: Session, store: Store, image_id: int, user_id: int, version: int
) -> ImageRow:
    """Return the locked row of an image that the user may review."""
    row = _reviewable(session, store, image_id, user_id)
    check_version(row, version)
    return row


def _reviewable(session: Session, store: Store, image_id: int, user_id: int) -> ImageRow:
    """Return the locked row of an image that the user may review, whatever its version."""
    user = acting_user(session, user_id, REVIEWERS)
    row = _unheld(session, store, image_id, user_id)
    annotators = session.scalars(_annotators(image_id)).all()
    check_reviewer(session, user, row, annotators, is_open=row.open)
    return row


def _unheld(session: Session, store: Store, image_id: int, user_id: int) -> ImageRow:
    """Return the locked row of an image that nobody else holds."""
    row = find_locked(session, ImageRow, image_id, "image")
    check_unheld(row, store, but_by=user_id)
    return row


def check_reviewer(
    session: Session,
    user: UserRow,
    row: ImageRow | VideoRow,
    annotators: Collection[int],
    *,
    is_open: bool = False,
) -> None:
    """Check that somebody may review an image or a video, and that it is up for review.

    Args:
        annotators: ids of those who have submitted it.
        is_open: whether more people are going to annotate it.

    Raises:
        RoleError: they are not a member, or one of its annotators and no admin.
        StoreError: it is not up for review.
    """
    check_member(session, user, row.project_id)
    if is_open or row.review not in ("submitted", "accepted"):
        raise StoreError(f"{row.path} is not up for review")
    if role_of(user) != "admin" and user.id in annotators:
        raise RoleError(f"{user.name!r:.40} annotated {row.path}: another person must review it")


def check_version(row: ImageRow | VideoRow, version: int) -> None:
    """Check that what a review is of is still as the reviewer saw it.

    Raises:
        ConflictError: it has changed since.
    """
    if row.version != version:
        raise ConflictError(
            f"{row.path} is at version {row.version} now; the review is of {version}: reload it"
        )


def _check_verdicts(session: Session, row: ImageRow, masks: Sequence[int] | None) -> None:
    """Refuse to accept masks that were rejected."""
    query = select(AnnotationRow.id).where(
        AnnotationRow.image_id == row.id,
        ~AnnotationRow.deleted,
        AnnotationRow.verdict == "rejected",
    )
    found = set(session.scalars(query))
    if count := len(found if masks is None else found & set(masks)):
        raise StoreError(
            f"{row.path}: {count} of its masks {'is' if count == 1 else 'are'} rejected: return"
            " the image, correct them, or leave them out"
        )


def _note(
    session: Session, store: Store, row: ImageRow, user_id: int, verdict: str | None = None
) -> None:
    session.add(
        ReviewRow(
            image_id=row.id,
            user_id=user_id,
            verdict=verdict or row.review,
            comment=row.comment,
            at=store.clock(),
        )
    )
