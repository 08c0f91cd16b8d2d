"""Assignments: which images are for whom, in which batch, and how urgent they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, can_work, check_member
from samkit.dataengine.rows import find, to_image
from samkit.dataengine.schema import ImageRow, ProjectRow, SubmissionRow, UserRow
from samkit.dataengine.team_schema import AssignmentRow
from samkit.dataengine.values import (
    PRIORITIES,
    Priority,
    StoredImage,
    check_choice,
    check_label,
)
from samkit.errors import StoreError

IDS_PER_QUERY = 500  # databases limit the number of parameters
MAX_BATCH = 100  # characters of a batch's name


@dataclass(frozen=True, kw_only=True)
class BatchCount:
    """What has become of the images of one batch; `batch` is empty for images of none.

    Attributes:
        num_open: images that wait for annotators, those that were returned among them.
    """

    batch: str
    num_images: int
    num_open: int
    num_submitted: int
    num_accepted: int


@dataclass(frozen=True, kw_only=True)
class OwnWork:
    """What waits for a person in one project.

    Attributes:
        num_returned: images that were returned to them.
        num_assigned: other images that are assigned to them, and that they have not finished.
    """

    project_id: int
    project_name: str
    num_returned: int
    num_assigned: int


def assign_images(
    store: Store,
    project_id: int,
    image_ids: Sequence[int],
    *,
    user_id: int,
    people: Sequence[int] | None = None,
    deal: bool = False,
    priority: Priority | None = None,
    batch: str | None = None,
) -> tuple[StoredImage, ...]:
    """Assign images to people, and set their priority and their batch.

    The queue offers an image to those whom it is assigned to and to nobody else, as long as one of
    them may work on the project. None leaves a setting as it is.

    Args:
        image_ids: images of the project.
        user_id: a reviewer, who assigns them.
        people: ids of users; none for images that are for everybody.
        deal: each image goes to one of the people, in turn, instead of to all of them.
        batch: a name; empty for no batch.

    Returns:
        The images as they are now, by id.

    Raises:
        MissingError: no such project or user.
        RoleError: the user is not a reviewer, or one of the people may not work on the project.
        StoreError: an image is not of the project; the priority or the batch is not valid.
    """
    if priority is not None:
        check_choice("a priority", priority, PRIORITIES)
    if batch:
        check_label("a batch", batch, MAX_BATCH)
    wanted = sorted(set(image_ids))
    with store.write() as session:
        user = acting_user(session, user_id, REVIEWERS)
        find(session, ProjectRow, project_id, "project")
        check_member(session, user, project_id)
        for one in people or ():
            check_member(session, acting_user(session, one), project_id)
        rows = _locked(session, project_id, wanted)
        for number, row in enumerate(rows):
            if priority is not None:
                row.priority = PRIORITIES.index(priority)
            if batch is not None:
                row.batch = batch
            if people is not None:
                own = [people[number % len(people)]] if deal and people else people
                _assign(session, row, own)
        return tuple(to_image(row) for row in rows)


def assignees(store: Store, image_id: int) -> tuple[int, ...]:
    """Return the ids of the people whom an image is assigned to.

    Raises:
        MissingError: no such image.
    """
    query = select(AssignmentRow.user_id).where(AssignmentRow.image_id == image_id)
    with store.read() as session:
        find(session, ImageRow, image_id, "image")
        return tuple(session.scalars(query.order_by(AssignmentRow.user_id)))


def count_batches(store: Store, project_id: int) -> tuple[BatchCount, ...]:
    """Count what has become of the images of each batch, by name; those of no batch come first."""

    def number(which: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((which, 1), else_=0))

    query = (
        select(
            ImageRow.batch,
            func.count(),
            number(ImageRow.open.is_(True)),
            number(ImageRow.review == "submitted"),
            number(ImageRow.review == "accepted"),
        )
        .where(ImageRow.project_id == project_id)
        .group_by(ImageRow.batch)
        .order_by(ImageRow.batch)
    )
    with store.read() as session:
        return tuple(
            BatchCount(
                batch=name,
                num_images=count,
                num_open=int(opened),
                num_submitted=int(submitted),
                num_accepted=int(accepted),
            )
            for name, count, opened, submitted, accepted in session.execute(query)
        )


def count_assigned(session: Session, project_id: int) -> dict[int, int]:
    """Count the images that are assigned to each person, and that they have not finished."""
    query = (
        select(AssignmentRow.user_id, func.count())
        .join(ImageRow, ImageRow.id == AssignmentRow.image_id)
        .where(AssignmentRow.project_id == project_id, ImageRow.open, ~_is_finished())
        .group_by(AssignmentRow.user_id)
    )
    return dict(session.execute(query).all())


def own_work(store: Store, user_id: int) -> tuple[OwnWork, ...]:
    """Return what waits for a person in each project that they may work on.

    Raises:
        MissingError: no such user.
    """
    returned = (
        select(ImageRow.project_id, func.count())
        .join(SubmissionRow, SubmissionRow.image_id == ImageRow.id)
        .where(SubmissionRow.user_id == user_id, SubmissionRow.returned, ImageRow.open)
        .group_by(ImageRow.project_id)
    )
    assigned = (
        select(ImageRow.project_id, func.count())
        .join(AssignmentRow, AssignmentRow.image_id == ImageRow.id)
        .where(AssignmentRow.user_id == user_id, ImageRow.open)
        .where(~_is_finished(), ~_is_returned())
        .group_by(ImageRow.project_id)
    )
    with store.read() as session:
        acting_user(session, user_id)
        num_returned = dict(session.execute(returned).all())
        num_assigned = dict(session.execute(assigned).all())
        found = []
        for project_id in sorted({*num_returned, *num_assigned}):
            may = select(UserRow.id).where(UserRow.id == user_id, can_work(project_id))
            if session.scalar(may) is not None:
                found.append(
                    OwnWork(
                        project_id=project_id,
                        project_name=find(session, ProjectRow, project_id, "project").name,
                        num_returned=num_returned.get(project_id, 0),
                        num_assigned=num_assigned.get(project_id, 0),
                    )
                )
        return tuple(found)


def is_assigned_to(user_id: int) -> ColumnElement[bool]:
    """Select images that are assigned to a user."""
    own = aliased(AssignmentRow)  # of its own, whatever else a query has of assignments
    return exists().where(own.image_id == ImageRow.id, own.user_id == user_id)


def is_for(user_id: int, project_id: int) -> ColumnElement[bool]:
    """Select images that are assigned to a user, or to nobody who may work on the project."""
    any_of = aliased(AssignmentRow)
    others = exists().where(
        any_of.image_id == ImageRow.id, UserRow.id == any_of.user_id, can_work(project_id)
    )
    return or_(~others.correlate(ImageRow), is_assigned_to(user_id))


def _is_finished() -> ColumnElement[bool]:
    """Select images that the person whom they are assigned to has finished."""
    return exists().where(
        SubmissionRow.image_id == AssignmentRow.image_id,
        SubmissionRow.user_id == AssignmentRow.user_id,
        ~SubmissionRow.returned,
    )


def _is_returned() -> ColumnElement[bool]:
    return exists().where(
        SubmissionRow.image_id == AssignmentRow.image_id,
        SubmissionRow.user_id == AssignmentRow.user_id,
        SubmissionRow.returned,
    )


def _locked(session: Session, project_id: int, image_ids: Sequence[int]) -> list[ImageRow]:
    """Return the rows of images of a project, locked in the order of their ids."""
    rows: list[ImageRow] = []
    for start in range(0, len(image_ids), IDS_PER_QUERY):
        part = image_ids[start : start + IDS_PER_QUERY]
        query = select(ImageRow).where(
            and_(ImageRow.project_id == project_id, ImageRow.id.in_(part))
        )
        found = session.scalars(query.order_by(ImageRow.id).with_for_update(key_share=True)).all()
        if missing := set(part) - {row.id for row in found}:
            raise StoreError(f"image {min(missing)} is not of project {project_id}")
        rows += found
    return rows


def _assign(session: Session, row: ImageRow, people: Sequence[int]) -> None:
    """Assign an image to these people, in place of those before."""
    session.execute(delete(AssignmentRow).where(AssignmentRow.image_id == row.id))
    assigned = [
        {"image_id": row.id, "user_id": one, "project_id": row.project_id}
        for one in dict.fromkeys(people)
    ]
    if assigned:
        session.execute(insert(AssignmentRow), assigned)
