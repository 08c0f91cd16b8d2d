"""Honey pots: images with known answers, mixed into the queue to measure annotators.

An accepted image becomes a honey pot: its masks are put aside, and annotators are offered it as one
that nobody has annotated. Each works independently. When it ends, the masks are there again, and
those that annotators made are deleted; exports have the known answer all the time, and nothing
else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, check_member
from samkit.dataengine.rows import find, find_locked, to_image
from samkit.dataengine.schema import (
    AnnotationRow,
    ImageRow,
    ProjectRow,
    RevisionRow,
    SubmissionRow,
)
from samkit.dataengine.team_schema import AssignmentRow, HoneyPotMaskRow, HoneyPotRow
from samkit.dataengine.values import NewEvent, StoredImage
from samkit.dataengine.work.annotations import delete_row, restore_state
from samkit.dataengine.work.disagreement import match_masks, submitted_masks
from samkit.dataengine.work.leases import check_unheld, release
from samkit.dataengine.work.tags import record_tags
from samkit.errors import StoreError
from samkit.geometry import Rle

FOUND_IOU = 0.5  # from which on a mask of the answer counts as found


@dataclass(frozen=True, kw_only=True)
class HoneyPot:
    """An image with a known answer.

    Attributes:
        num_masks: of the answer.
        ended_at: None while annotators are offered it.
    """

    image_id: int
    path: str
    num_masks: int
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class HoneyScore:
    """What a person made of a honey pot, compared with its answer.

    Attributes:
        mean_iou: over masks that match one to one, those without a match counting as 0; 1 if there
            are none on both sides.
        num_found: masks of the answer with an IoU of at least 0.5.
        num_missed: the other masks of the answer.
        num_extra: masks of the person that are none of those found.
    """

    image_id: int
    user_id: int
    mean_iou: float
    num_found: int
    num_missed: int
    num_extra: int
    at: datetime


def start_honey_pots(
    store: Store, project_id: int, image_ids: Sequence[int], *, user_id: int
) -> tuple[StoredImage, ...]:
    """Make accepted images honey pots, all or none of them.

    They are offered to annotators who have not annotated them, one in every `honey_pot_every`
    images, and are assigned to nobody in particular.

    Raises:
        ConflictError: somebody else holds one of them.
        MissingError: no such project, image or user.
        RoleError: the user is not a reviewer.
        StoreError: an image is of another project, not accepted, or has no masks.
    """
    with store.write() as session:
        rows = _rows(session, store, project_id, image_ids, user_id)
        for row in rows:
            if row.review != "accepted" or row.num_masks == 0:
                raise StoreError(f"{row.path} is no accepted image with masks: it has no answer")
            _start(session, store, row, user_id)
        return tuple(to_image(row) for row in rows)


def end_honey_pots(
    store: Store, project_id: int, image_ids: Sequence[int], *, user_id: int
) -> tuple[StoredImage, ...]:
    """Make honey pots accepted images again, all or none of them, with the masks of the answer.

    The masks that annotators made are deleted; their scores stay.

    Raises:
        ConflictError: somebody else holds one of them.
        MissingError: no such project, image or user.
        RoleError: the user is not a reviewer.
        StoreError: an image is of another project, or no honey pot.
    """
    with store.write() as session:
        rows = _rows(session, store, project_id, image_ids, user_id)
        for row in rows:
            if not row.honey_pot:
                raise StoreError(f"{row.path} is no honey pot")
            _end(session, store, row, user_id)
        return tuple(to_image(row) for row in rows)


def set_honey_pot_every(store: Store, project_id: int, every: int, *, user_id: int) -> None:
    """Offer each annotator one honey pot in this many images, at a place that they cannot guess.

    Raises:
        MissingError: no such project or user.
        RoleError: the user is not a reviewer.
        StoreError: the number is not from 2 to 1000.
    """
    if not 2 <= every <= 1000:
        raise StoreError(f"honey pots come once in 2 to 1000 images; got {every}")
    with store.write() as session:
        user = acting_user(session, user_id, REVIEWERS)
        row = find_locked(session, ProjectRow, project_id, "project")
        check_member(session, user, project_id)
        row.honey_pot_every = every


def honey_pot_every(store: Store, project_id: int) -> int:
    """Return in how many images each annotator is offered one honey pot.

    Raises:
        MissingError: no such project.
    """
    with store.read() as session:
        return find(session, ProjectRow, project_id, "project").honey_pot_every


def list_honey_pots(store: Store, project_id: int) -> tuple[HoneyPot, ...]:
    """List a project's honey pots, those that have ended among them, by image."""
    query = (
        select(HoneyPotRow, ImageRow.path)
        .join(ImageRow, ImageRow.id == HoneyPotRow.image_id)
        .where(HoneyPotRow.project_id == project_id)
        .order_by(HoneyPotRow.image_id)
    )
    with store.read() as session:
        return tuple(
            HoneyPot(
                image_id=row.image_id,
                path=path,
                num_masks=len(answer_versions(session, row.image_id)),
                created_at=row.created_at,
                ended_at=row.ended_at,
            )
            for row, path in session.execute(query)
        )


def honey_scores(store: Store, project_id: int) -> tuple[HoneyScore, ...]:
    """Compare what people submitted of honey pots with the answers, by image and submission."""
    query = (
        select(SubmissionRow, ImageRow)
        .join(HoneyPotRow, HoneyPotRow.image_id == SubmissionRow.image_id)
        .join(ImageRow, ImageRow.id == SubmissionRow.image_id)
        .where(HoneyPotRow.project_id == project_id, _is_attempt())
        .order_by(SubmissionRow.image_id, SubmissionRow.id)
    )
    with store.read() as session:
        scores = []
        answers: dict[int, list[Rle]] = {}
        for submission, image in session.execute(query):
            size = [image.height, image.width]
            if image.id not in answers:
                answers[image.id] = _answer(session, image.id, size)
            given = submitted_masks(session, submission.id, size)
            scores.append(_score(submission, answers[image.id], given))
        return tuple(scores)


def _is_attempt() -> ColumnElement[bool]:
    """Select submissions of honey pots by people who did not know the answer; joins HoneyPotRow."""
    return and_(
        SubmissionRow.outcome == "annotated",
        ~SubmissionRow.returned,
        SubmissionRow.id > HoneyPotRow.after_submission_id,
        or_(HoneyPotRow.ended_at.is_(None), SubmissionRow.at <= HoneyPotRow.ended_at),
    )


def answer_versions(session: Session, image_id: int) -> dict[int, int]:
    """Return the versions of the masks of a honey pot's answer, by annotation."""
    query = select(HoneyPotMaskRow.annotation_id, HoneyPotMaskRow.version)
    rows = session.execute(query.where(HoneyPotMaskRow.image_id == image_id))
    return {row.annotation_id: row.version for row in rows}


def delete_honey_pots(session: Session, project_id: int) -> None:
    """Delete what is known of a project's honey pots; masks and images stay."""
    pots = select(HoneyPotRow.image_id).where(HoneyPotRow.project_id == project_id)
    session.execute(delete(HoneyPotMaskRow).where(HoneyPotMaskRow.image_id.in_(pots)))
    session.execute(delete(HoneyPotRow).where(HoneyPotRow.project_id == project_id))


def _rows(
    session: Session, store: Store, project_id: int, image_ids: Sequence[int], user_id: int
) -> list[ImageRow]:
    """Return the locked rows of images that a reviewer may change now."""
    user = acting_user(session, user_id, REVIEWERS)
    find(session, ProjectRow, project_id, "project")
    check_member(session, user, project_id)
    rows = [find_locked(session, ImageRow, one, "image") for one in sorted(set(image_ids))]
    for row in rows:
        if row.project_id != project_id:
            raise StoreError(f"image {row.id} is not of project {project_id}")
        check_unheld(row, store, but_by=user_id)
    return rows


def _start(session: Session, store: Store, row: ImageRow, user_id: int) -> None:
    pot = session.get(HoneyPotRow, row.id)
    if pot is None:
        pot = HoneyPotRow(
            image_id=row.id,
            project_id=row.project_id,
            created_at=store.clock(),
            after_submission_id=_latest(session, SubmissionRow, row.id),
            after_annotation_id=_latest(session, AnnotationRow, row.id),
        )
        session.add(pot)
    pot.user_id, pot.tags = user_id, list(row.tags)
    pot.ended_at = pot.until_annotation_id = None
    session.flush()
    session.execute(delete(HoneyPotMaskRow).where(HoneyPotMaskRow.image_id == row.id))
    masks = _masks(session, row, deleted=False)
    answer = [
        {"annotation_id": one.id, "image_id": row.id, "version": one.version} for one in masks
    ]
    session.execute(insert(HoneyPotMaskRow), answer)
    session.execute(delete(AssignmentRow).where(AssignmentRow.image_id == row.id))
    for mask in masks:
        _delete(session, store, row, mask, user_id)
    row.honey_pot, row.review, row.open, row.comment = True, "none", True, ""
    row.version += 1
    release(row)


def _end(session: Session, store: Store, row: ImageRow, user_id: int) -> None:
    pot = find(session, HoneyPotRow, row.id, "honey pot")
    answer = answer_versions(session, row.id)
    for mask in _masks(session, row, deleted=True):
        if mask.id in answer:
            restore_state(session, store, row, mask, answer[mask.id], user_id=user_id)
        elif not mask.deleted:
            _delete(session, store, row, mask, user_id)
    if list(row.tags) != pot.tags:
        record_tags(session, store, row, pot.tags, user_id=user_id)
    pot.ended_at = store.clock()
    pot.until_annotation_id = _latest(session, AnnotationRow, row.id)
    row.honey_pot, row.review, row.open, row.comment = False, "accepted", False, ""
    row.version += 1
    release(row)


def _latest(
    session: Session, kind: type[SubmissionRow] | type[AnnotationRow], image_id: int
) -> int:
    """Highest number of a submission or a mask of an image; 0 without any."""
    return session.scalar(select(func.max(kind.id)).where(kind.image_id == image_id)) or 0


def _masks(session: Session, row: ImageRow, *, deleted: bool) -> Sequence[AnnotationRow]:
    query = select(AnnotationRow).where(AnnotationRow.image_id == row.id)
    if not deleted:
        query = query.where(~AnnotationRow.deleted)
    return session.scalars(query.order_by(AnnotationRow.id).with_for_update()).all()


def _delete(
    session: Session, store: Store, row: ImageRow, mask: AnnotationRow, user_id: int
) -> None:
    event = NewEvent(kind="review", data={})
    delete_row(session, store, row, mask, user_id=user_id, event=event)


def _answer(session: Session, image_id: int, size: list[int]) -> list[Rle]:
    at_version = and_(
        RevisionRow.annotation_id == HoneyPotMaskRow.annotation_id,
        RevisionRow.version == HoneyPotMaskRow.version,
    )
    query = select(RevisionRow.counts).join(HoneyPotMaskRow, at_version)
    rows = session.scalars(query.where(HoneyPotMaskRow.image_id == image_id))
    return [{"size": size, "counts": counts} for counts in rows]


def _score(submission: SubmissionRow, answer: Sequence[Rle], given: Sequence[Rle]) -> HoneyScore:
    ious = [iou for *_, iou in match_masks(answer, given)]
    found = sum(iou >= FOUND_IOU for iou in ious)
    count = len(answer) + len(given) - len(ious)
    return HoneyScore(
        image_id=submission.image_id,
        user_id=submission.user_id,
        mean_iou=sum(ious) / count if count else 1.0,
        num_found=found,
        num_missed=len(answer) - found,
        num_extra=len(given) - found,
        at=submission.at,
    )


def is_honey_attempt() -> ColumnElement[bool]:
    """Select masks that annotators made of honey pots while they were ones."""
    answers = exists().where(HoneyPotMaskRow.annotation_id == AnnotationRow.id)
    return ~answers & exists().where(
        HoneyPotRow.image_id == AnnotationRow.image_id,
        AnnotationRow.id > HoneyPotRow.after_annotation_id,
        or_(
            HoneyPotRow.until_annotation_id.is_(None),
            AnnotationRow.id <= HoneyPotRow.until_annotation_id,
        ),
    )
