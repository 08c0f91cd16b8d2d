"""Queue of images to annotate, with leases: an image has one holder at a time.

An expired lease still belongs to its holder until somebody else takes the image, so that an
annotator who comes back late has usually lost nothing.
"""

from collections.abc import Sequence
from datetime import timedelta

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
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import check_limit, find, find_locked, to_image
from samkit.dataengine.schema import (
    ImageRow,
    NextImageRow,
    ProjectRow,
    QualityAuditImageRow,
    SubmissionRow,
    UserRow,
)
from samkit.dataengine.values import Lease, StoredImage
from samkit.errors import ConflictError, RoleError, StoreError

# Pages renew their lease every minute; a quarter of an hour survives a break.
LEASE_S = 900.0
IDS_PER_QUERY = 500  # databases limit the number of parameters


def take_next(
    store: Store, project_id: int, user_id: int, *, lease_s: float = LEASE_S
) -> Lease | None:
    """Take the next image to annotate; None if there is nothing to do.

    The order is: the image that the user already holds, images returned to them, then open images
    that they have neither submitted nor skipped before: those of quality audits first, then, if the
    project has images chosen, those of `set_next_images`, then the others.

    Raises:
        StoreError: no such project or user.
    """
    with store.write() as session:
        project = find(session, ProjectRow, project_id, "project")
        acting_user(session, user_id)
        now = store.clock()
        mine = and_(ImageRow.lease_user_id == user_id, ImageRow.lease_expires_at > now)
        free = or_(ImageRow.lease_user_id.is_(None), ImageRow.lease_expires_at <= now)
        own = or_(free, ImageRow.lease_user_id == user_id)
        new = and_(_is_new_to(user_id), own)
        for query in (
            _in_order(project_id, mine),
            _in_order(project_id, and_(_is_returned_to(user_id), ImageRow.open, own)),
            *_new_in_order(project, new),
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
    new = and_(_is_new_to(user_id), free)
    with store.read() as session:
        project = find(session, ProjectRow, project_id, "project")
        queries = [_in_order(project_id, returned), *_new_in_order(project, new)]
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
        RoleError: it is not open for this user, who is not a reviewer.
    """
    with store.write() as session:
        user = acting_user(session, user_id)
        row = find_locked(session, ImageRow, image_id, "image")
        if is_held(row, store, but_by=user_id):
            raise ConflictError(f"{row.path} is held by somebody else")
        if user.role not in REVIEWERS:
            if not row.open:
                raise RoleError(f"{row.path} is {row.review}: only a reviewer may change it")
            if _has_submitted(session, image_id, user_id):
                raise RoleError(f"{row.path} is waiting for another annotator")
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
        acting_user(session, user_id, REVIEWERS)
        row = find_locked(session, ImageRow, image_id, "image")
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
    elif num_done >= row.num_annotators and not stays_open:
        row.review = "submitted"
    elif any(returned for _, returned in found):
        row.review = "returned"
    else:
        row.review = "skipped" if "skipped" in outcomes else "none"
    row.open = is_open(row.review)


def release(row: ImageRow) -> None:
    """End the lease of an image."""
    row.lease_user_id = row.lease_expires_at = None


def is_held(row: ImageRow, store: Store, *, but_by: int) -> bool:
    """Whether somebody other than `but_by` holds an image."""
    runs = row.lease_expires_at is not None and row.lease_expires_at > store.clock()
    return runs and row.lease_user_id not in (None, but_by)


def grant_lease(store: Store, row: ImageRow, user_id: int, lease_s: float = LEASE_S) -> Lease:
    """Let a user hold an image whose row is locked.

    Raises:
        StoreError: lease_s is not above 0 and at most a day.
    """
    if not 0 < lease_s <= timedelta(days=1).total_seconds():
        raise StoreError(f"lease_s must be above 0 and at most a day; got {lease_s:g}")
    expires_at = store.clock() + timedelta(seconds=lease_s)
    is_new = row.lease_user_id != user_id
    row.lease_user_id, row.lease_expires_at = user_id, expires_at
    return Lease(image=to_image(row), user_id=user_id, expires_at=expires_at, is_new=is_new)


def _in_order(project_id: int, where: ColumnElement[bool]) -> Select[ImageRow]:
    return select(ImageRow).where(ImageRow.project_id == project_id, where).order_by(ImageRow.id)


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


def _new_in_order(project: ProjectRow, new: ColumnElement[bool]) -> list[Select[ImageRow]]:
    """Select new images in the queue's order, one query after another."""
    queries = [_in_order(project.id, and_(_is_audited(project.id), new))]
    if project.learning.get("choose_next", False):
        chosen = select(ImageRow).join(NextImageRow, NextImageRow.image_id == ImageRow.id)
        queries.append(
            chosen.where(NextImageRow.project_id == project.id, new).order_by(NextImageRow.rank)
        )
    return [*queries, _in_order(project.id, new)]


def _is_new_to(user_id: int) -> ColumnElement[bool]:
    """Select open images that the user has not finished, and that were not returned to others.

    Those who have left do not count as others.
    """
    other = aliased(SubmissionRow)
    # By the person of each submission, of whom there are few an image, not by all active people.
    is_active = exists().where(UserRow.id == other.user_id, UserRow.active).correlate(other)
    theirs = or_(other.user_id == user_id, and_(other.returned, is_active))
    return and_(ImageRow.open, ~exists().where(other.image_id == ImageRow.id, theirs))


def _is_returned_to(user_id: int) -> ColumnElement[bool]:
    """Select images that were returned to the user."""
    own = and_(SubmissionRow.user_id == user_id, SubmissionRow.returned)
    return and_(SubmissionRow.image_id == ImageRow.id, own)


def _is_audited(project_id: int) -> ColumnElement[bool]:
    """Select images of the project's quality audits."""
    own = QualityAuditImageRow.project_id == project_id
    return and_(own, QualityAuditImageRow.image_id == ImageRow.id)


def _has_submitted(session: Session, image_id: int, user_id: int) -> bool:
    query = select(SubmissionRow.id).where(
        SubmissionRow.image_id == image_id,
        SubmissionRow.user_id == user_id,
        SubmissionRow.outcome == "annotated",
        ~SubmissionRow.returned,
    )
    return session.scalar(query) is not None
