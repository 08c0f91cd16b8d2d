"""Queue of images to annotate, with leases: an image has one holder at a time.

An expired lease still belongs to its holder until somebody else takes the image, so that an
annotator who comes back late has usually lost nothing.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, can_work, check_member, role_of
from samkit.dataengine.rows import check_limit, find, find_locked, to_image
from samkit.dataengine.schema import (
    ImageRow,
    NextImageRow,
    ProjectRow,
    QualityAuditImageRow,
    SubmissionRow,
    UserRow,
)
from samkit.dataengine.team_schema import AssignmentRow, HoneyPotRow
from samkit.dataengine.values import PRIORITIES, Lease, StoredImage
from samkit.dataengine.work.assignments import is_for
from samkit.dataengine.work.leases import LEASE_S, check_unheld, hold
from samkit.errors import ConflictError, RoleError, StoreError

NORMAL = PRIORITIES.index("normal")
IDS_PER_QUERY = 500  # databases limit the number of parameters


def take_next(
    store: Store, project_id: int, user_id: int, *, lease_s: float = LEASE_S
) -> Lease | None:
    """Take the next image to annotate; None if there is nothing to do.

    The order is: the image that the user already holds, images returned to them, then open images
    that they have neither submitted nor skipped before, and that are not assigned to others: those
    of quality audits first, then those assigned to them, then, if the project has images chosen,
    urgent ones, of high priority, and those of `set_next_images`, then the others. Each kind is
    ordered by priority. Now and then an annotator gets a honey pot instead of a new image.

    Raises:
        StoreError: no such project or user.
    """
    with store.write() as session:
        project = find(session, ProjectRow, project_id, "project")
        user = acting_user(session, user_id)
        check_member(session, user, project_id)
        now = store.clock()
        mine = and_(ImageRow.lease_user_id == user_id, ImageRow.lease_expires_at > now)
        free = or_(ImageRow.lease_user_id.is_(None), ImageRow.lease_expires_at <= now)
        own = or_(free, ImageRow.lease_user_id == user_id)
        new = and_(_is_new_to(user_id, project_id), own)
        for query in (
            _in_order(project_id, mine),
            _in_order(project_id, and_(_is_returned_to(user_id), ImageRow.open, own)),
            *_honey_pots(session, project, user, new),
            *_new_in_order(project, new, user_id),
        ):
            # Simultaneous callers get different rows: on SQLite one waits, on PostgreSQL rows
            # locked by others are skipped.
            free_row = query.limit(1).with_for_update(skip_locked=True, of=ImageRow)
            row = session.scalar(free_row)
            if row is not None:
                return grant_lease(store, row, user_id, lease_s)
        return None


def upcoming_images(
    store: Store, project_id: int, user_id: int, *, limit: int = 4
) -> tuple[StoredImage, ...]:
    """List the images that `take_next` will likely return, to compute embeddings ahead."""
    now = store.clock()
    free = or_(ImageRow.lease_user_id.is_(None), ImageRow.lease_expires_at <= now)
    returned = and_(_is_returned_to(user_id), ImageRow.open, free)
    new = and_(_is_new_to(user_id, project_id), free)
    with store.read() as session:
        project = find(session, ProjectRow, project_id, "project")
        user = acting_user(session, user_id)
        queries = [
            _in_order(project_id, returned),
            *_honey_pots(session, project, user, new, limit=1),
            *_new_in_order(project, new, user_id),
        ]
        return _first_of(session, queries, limit=check_limit(limit) - 1)


def offered_images(store: Store, project_id: int, *, limit: int) -> tuple[StoredImage, ...]:
    """List the images that the queue offers to anybody, in its order, to compute embeddings ahead.

    Raises:
        StoreError: no such project.
    """
    opened = and_(ImageRow.open)
    returned = and_(ImageRow.review == "returned", opened)
    with store.read() as session:
        project = find(session, ProjectRow, project_id, "project")
        queries = [
            _in_order(project_id, returned),
            *_new_in_order(project, ImageRow.open.is_(True)),
        ]
        return _first_of(session, queries, limit=limit)


def set_next_images(store: Store, project_id: int, image_ids: Sequence[int]) -> None:
    """Set which images the queue offers next in a project that has images chosen.

    Args:
        image_ids: images of the project, the first one comes first; others follow these. Those of
            before are replaced.

    Raises:
        StoreError: no such project, or an image is none of its, or is twice among them.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        session.execute(delete(NextImageRow).where(NextImageRow.project_id == project_id))
        for start in range(0, len(image_ids), IDS_PER_QUERY):
            part = image_ids[start : start + IDS_PER_QUERY]
            own = select(ImageRow.id).where(
                ImageRow.project_id == project_id, ImageRow.id.in_(part)
            )
            if foreign := set(part) - set(session.scalars(own)):
                raise StoreError(f"image {min(foreign)} is not of project {project_id}")
            rows = [
                {"image_id": one, "project_id": project_id, "rank": rank}
                for rank, one in enumerate(part, start=start)
            ]
            session.execute(insert(NextImageRow), rows)


def count_next_images(store: Store, project_id: int) -> int:
    """Number of images that were chosen to come next and that nobody has finished."""
    query = (
        select(func.count())
        .select_from(NextImageRow)
        .join(ImageRow, ImageRow.id == NextImageRow.image_id)
        .where(NextImageRow.project_id == project_id, ImageRow.open, ImageRow.review == "none")
    )
    with store.read() as session:
        return session.scalar(query) or 0


def take_image(store: Store, image_id: int, user_id: int, *, lease_s: float = LEASE_S) -> Lease:
    """Take a given image: annotators an open one, reviewers any.

    Raises:
        ConflictError: somebody else holds it.
        MissingError: no such image or user.
        RoleError: it is not open for this user, who is not a reviewer, or no member.
    """
    with store.write() as session:
        user = acting_user(session, user_id)
        row = find_locked(session, ImageRow, image_id, "image")
        check_member(session, user, row.project_id)
        check_unheld(row, store, but_by=user_id)
        if role_of(user) not in REVIEWERS:
            if not row.open:
                raise RoleError(f"{row.path} is {row.review}: only a reviewer may change it")
            if _has_submitted(session, image_id, user_id):
                raise RoleError(f"{row.path} is waiting for another annotator")
            if not _is_for(session, row, user_id):
                raise RoleError(f"{row.path} is assigned to somebody else")
        return grant_lease(store, row, user_id, lease_s)


def renew_lease(store: Store, image_id: int, user_id: int, *, lease_s: float = LEASE_S) -> Lease:
    """Renew the lease of an image.

    Raises:
        ConflictError: the user does not hold it, or somebody else has taken it.
    """
    with store.write() as session:
        return grant_lease(store, held_image(session, image_id, user_id), user_id, lease_s)


def lease_of(store: Store, image_id: int) -> Lease | None:
    """Who holds an image now; None if nobody does.

    Raises:
        MissingError: no such image.
    """
    with store.read() as session:
        row = find(session, ImageRow, image_id, "image")
        user_id, expires_at = row.lease_user_id, row.lease_expires_at
        if user_id is None or expires_at is None or expires_at <= store.clock():
            return None
        return Lease(image=to_image(row), user_id=user_id, expires_at=expires_at, is_new=False)


def list_holders(store: Store, project_id: int) -> tuple[Lease, ...]:
    """List the images of a project that people hold now, the lease that ends first at first."""
    query = select(ImageRow).where(
        ImageRow.project_id == project_id,
        ImageRow.lease_user_id.is_not(None),
        ImageRow.lease_expires_at > store.clock(),
    )
    with store.read() as session:
        rows = session.scalars(query.order_by(ImageRow.lease_expires_at, ImageRow.id))
        return tuple(
            Lease(
                image=to_image(row),
                user_id=row.lease_user_id,
                expires_at=row.lease_expires_at,
                is_new=False,
            )
            for row in rows
            if row.lease_user_id is not None and row.lease_expires_at is not None
        )


def give_back(store: Store, image_id: int, user_id: int) -> None:
    """Release an image without submitting it; does nothing if the user does not hold it."""
    query = update(ImageRow).where(ImageRow.id == image_id, ImageRow.lease_user_id == user_id)
    with store.write() as session:
        session.execute(query.values(lease_user_id=None, lease_expires_at=None))


def set_num_annotators(
    store: Store, image_id: int, num_annotators: int, *, user_id: int
) -> StoredImage:
    """Set how many people should annotate an image independently, to measure agreement.

    Raises:
        StoreError: less than 1, no such image, or the user is not a reviewer.
    """
    if num_annotators < 1:
        raise StoreError(f"num_annotators must be at least 1; got {num_annotators}")
    with store.write() as session:
        user = acting_user(session, user_id, REVIEWERS)
        row = find_locked(session, ImageRow, image_id, "image")
        check_member(session, user, row.project_id)
        if num_annotators == row.num_annotators:
            return to_image(row)
        grows = num_annotators > row.num_annotators
        row.num_annotators = num_annotators
        before = row.review
        made_here = exists().where(SubmissionRow.image_id == image_id)
        # An imported state rests on no submissions: it holds until more people are wanted.
        counts = session.scalar(select(made_here)) or (grows and not row.open)
        if counts and before not in ("returned", "unusable"):
            settle(session, row)
            if before == "accepted" and not row.open:
                row.review = before
        row.version += 1
        return to_image(row)


def held_image(session: Session, image_id: int, user_id: int) -> ImageRow:
    """Return the row of an image that the user holds, locked until the transaction ends.

    Raises:
        ConflictError: the user does not hold it.
    """
    row = find_locked(session, ImageRow, image_id, "image")
    check_holder(row, user_id)
    return row


def check_holder(row: ImageRow, user_id: int) -> None:
    """Check that the user holds an image.

    Raises:
        ConflictError: the user does not hold it.
    """
    if row.lease_user_id != user_id:
        holder = "nobody" if row.lease_user_id is None else "somebody else"
        raise ConflictError(f"{row.path} is held by {holder}: take it first")


def is_open(review: str) -> bool:
    """Whether an image in this review state waits for annotators."""
    return review not in ("submitted", "accepted", "unusable")


def settle(session: Session, row: ImageRow, *, stays_open: bool = False) -> None:
    """Set an image's state from what people have made of it.

    Args:
        stays_open: nothing was submitted now, so that an open image cannot be finished by it, even
            if as many submissions are there as are needed: it was returned.
    """
    query = select(SubmissionRow.outcome, SubmissionRow.returned)
    found = session.execute(query.where(SubmissionRow.image_id == row.id)).all()
    outcomes = [outcome for outcome, _ in found]
    num_done = sum(outcome == "annotated" and not returned for outcome, returned in found)
    if "unusable" in outcomes:
        row.review = "unusable"
    elif num_done >= row.num_annotators and not stays_open and not row.honey_pot:
        row.review = "submitted"
    elif any(returned for _, returned in found):
        row.review = "returned"
    else:
        row.review = "skipped" if "skipped" in outcomes else "none"
    row.open = is_open(row.review)


def grant_lease(store: Store, row: ImageRow, user_id: int, lease_s: float = LEASE_S) -> Lease:
    """Let a user hold an image whose row is locked.

    Raises:
        StoreError: lease_s is not above 0 and at most a day.
    """
    is_new = row.lease_user_id != user_id
    hold(store, row, user_id, lease_s)
    assert row.lease_expires_at is not None
    return Lease(
        image=to_image(row), user_id=user_id, expires_at=row.lease_expires_at, is_new=is_new
    )


def _in_order(project_id: int, where: ColumnElement[bool]) -> Select[ImageRow]:
    query = select(ImageRow).where(ImageRow.project_id == project_id, where)
    return query.order_by(ImageRow.priority, ImageRow.id)


def _first_of(
    session: Session, queries: Sequence[Select[ImageRow]], *, limit: int
) -> tuple[StoredImage, ...]:
    """The first images of several queries, one after another, each image once."""
    found: dict[int, StoredImage] = {}
    for query in queries:
        for row in session.scalars(query.limit(limit)):
            if len(found) < limit:
                found.setdefault(row.id, to_image(row))
    return tuple(found.values())


def _new_in_order(
    project: ProjectRow, new: ColumnElement[bool], user_id: int | None = None
) -> list[Select[ImageRow]]:
    """Select new images in the queue's order for a user, or anybody, one query after another."""
    new = and_(new, ~ImageRow.honey_pot)
    queries = [_in_order(project.id, and_(_is_audited(project.id), new))]
    if user_id is not None:
        assigned = _in_order(project.id, new).join(
            AssignmentRow, AssignmentRow.image_id == ImageRow.id
        )
        own = and_(AssignmentRow.user_id == user_id, AssignmentRow.project_id == project.id)
        queries.append(assigned.where(own))
    if project.learning.get("choose_next", False):
        queries.append(_in_order(project.id, and_(ImageRow.priority < NORMAL, new)))
        chosen = select(ImageRow).join(NextImageRow, NextImageRow.image_id == ImageRow.id)
        queries.append(
            chosen.where(NextImageRow.project_id == project.id, new).order_by(NextImageRow.rank)
        )
    return [*queries, _in_order(project.id, new)]


def _honey_pots(
    session: Session,
    project: ProjectRow,
    user: UserRow,
    new: ColumnElement[bool],
    *,
    limit: int | None = None,
) -> list[Select[ImageRow]]:
    """Select honey pots, in an order that tells nothing, if it is time for one."""
    if role_of(user) in REVIEWERS:  # who know the answers
        return []
    own = and_(SubmissionRow.project_id == project.id, SubmissionRow.user_id == user.id)
    number = session.scalar(select(func.count()).select_from(SubmissionRow).where(own)) or 0
    block, place = divmod(number, project.honey_pot_every)
    digest = hashlib.sha256(f"{project.id} {user.id} {block}".encode()).digest()
    if int.from_bytes(digest[:8], "big") % project.honey_pot_every != place:
        return []
    pots = (
        select(ImageRow)
        .join(HoneyPotRow, HoneyPotRow.image_id == ImageRow.id)
        .where(HoneyPotRow.project_id == project.id, ImageRow.honey_pot, new)
    )
    return [pots.order_by(ImageRow.sha256).limit(limit)]


def _is_new_to(user_id: int, project_id: int) -> ColumnElement[bool]:
    """Select open images that the user has not finished, and that are not others' to do.

    They are others' if they were returned or assigned to them.

    Those who have left the project do not count as others.
    """
    other = aliased(SubmissionRow)
    # By the person of each submission, of whom there are few an image, not by all active people.
    may_work = exists().where(UserRow.id == other.user_id, can_work(project_id)).correlate(other)
    theirs = or_(other.user_id == user_id, and_(other.returned, may_work))
    is_free = ~exists().where(other.image_id == ImageRow.id, theirs)
    return and_(ImageRow.open, is_free, is_for(user_id, project_id))


def _is_returned_to(user_id: int) -> ColumnElement[bool]:
    """Select images that were returned to the user."""
    own = and_(SubmissionRow.user_id == user_id, SubmissionRow.returned)
    return and_(SubmissionRow.image_id == ImageRow.id, own)


def _is_audited(project_id: int) -> ColumnElement[bool]:
    """Select images of the project's quality audits."""
    own = QualityAuditImageRow.project_id == project_id
    return and_(own, QualityAuditImageRow.image_id == ImageRow.id)


def _is_for(session: Session, row: ImageRow, user_id: int) -> bool:
    query = select(ImageRow.id).where(ImageRow.id == row.id, is_for(user_id, row.project_id))
    return session.scalar(query) is not None


def _has_submitted(session: Session, image_id: int, user_id: int) -> bool:
    query = select(SubmissionRow.id).where(
        SubmissionRow.image_id == image_id,
        SubmissionRow.user_id == user_id,
        SubmissionRow.outcome == "annotated",
        ~SubmissionRow.returned,
    )
    return session.scalar(query) is not None
