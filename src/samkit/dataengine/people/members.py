"""Members of projects: who may see a project and work on it.

A project is for everybody, or for its members only. Admins may see and work on all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, delete, exists, insert, or_, select, update
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people.users import ADMINS, acting_user
from samkit.dataengine.rows import find, find_locked, to_user
from samkit.dataengine.schema import (
    AnnotationRow,
    ClassRow,
    ImageRow,
    JobRow,
    ProjectRow,
    TrackRow,
    UserRow,
    VideoRow,
)
from samkit.dataengine.team_schema import CommentRow, MemberRow
from samkit.dataengine.values import User
from samkit.errors import RoleError, StoreError

# What belongs to a project.
Belonging = Literal["project", "image", "annotation", "class", "job", "comment", "video", "track"]
Owned: TypeAlias = (
    type[ImageRow]
    | type[AnnotationRow]
    | type[ClassRow]
    | type[JobRow]
    | type[CommentRow]
    | type[VideoRow]
)
TABLES: dict[str, Owned] = {
    "image": ImageRow,
    "annotation": AnnotationRow,
    "class": ClassRow,
    "job": JobRow,
    "comment": CommentRow,
    "video": VideoRow,
}


@dataclass(frozen=True, kw_only=True)
class Members:
    """Who may work on a project.

    Attributes:
        everybody: whether it is for everybody, and not for members only.
        people: all active people who may work on it, admins included.
        user_ids: its members, whether active or not; none if it is for everybody.
    """

    everybody: bool
    people: tuple[User, ...]
    user_ids: tuple[int, ...]


def get_members(store: Store, project_id: int) -> Members:
    """Return who may work on a project.

    Raises:
        MissingError: no such project.
    """
    with store.read() as session:
        return _members(session, find(session, ProjectRow, project_id, "project"))


def set_members(
    store: Store, project_id: int, members: Sequence[int] | None, *, user_id: int
) -> Members:
    """Set who may work on a project: its members, or everybody.

    Whoever is no longer among them gives back the images and videos that they hold; what was
    returned to them goes to anybody.

    Args:
        members: ids of users; None for everybody.
        user_id: an admin, who sets it.

    Raises:
        MissingError: no such project or user.
        RoleError: user_id is no admin.
        StoreError: a member is named twice.
    """
    chosen = list(members or ())
    if len(set(chosen)) < len(chosen):
        raise StoreError("a member is named twice")
    with store.write() as session:
        acting_user(session, user_id, ADMINS)
        row = find_locked(session, ProjectRow, project_id, "project")
        row.members_only = members is not None
        session.execute(delete(MemberRow).where(MemberRow.project_id == project_id))
        for one in chosen:
            find(session, UserRow, one, "user")
        if chosen:
            rows = [{"project_id": project_id, "user_id": one} for one in chosen]
            session.execute(insert(MemberRow), rows)
        session.flush()
        workers = select(UserRow.id).where(can_work(project_id))
        for held in (ImageRow, VideoRow):
            theirs = update(held).where(
                held.project_id == project_id, held.lease_user_id.not_in(workers)
            )
            session.execute(theirs.values(lease_user_id=None, lease_expires_at=None))
        return _members(session, row)


def may_see(store: Store, user: User, what: Belonging, key: int) -> bool:
    """Whether a user may see a project, or something that belongs to one.

    What does not exist hides nothing.
    """
    if user.role in ADMINS:
        return True
    is_member = exists().where(MemberRow.project_id == ProjectRow.id, MemberRow.user_id == user.id)
    query = select(ProjectRow.id).where(ProjectRow.members_only, ~is_member)
    if what == "project":
        query = query.where(ProjectRow.id == key)
    elif what == "track":
        videos = query.join(VideoRow, VideoRow.project_id == ProjectRow.id)
        query = videos.join(TrackRow, TrackRow.video_id == VideoRow.id).where(TrackRow.id == key)
    else:
        table = TABLES[what]
        query = query.join(table, table.project_id == ProjectRow.id).where(table.id == key)
    with store.read() as session:
        return session.scalar(query) is None


def can_work(project_id: int) -> ColumnElement[bool]:
    """Select the users who may work on a project: active, and members or admins."""
    is_open = exists().where(ProjectRow.id == project_id, ~ProjectRow.members_only)
    is_member = exists().where(MemberRow.project_id == project_id, MemberRow.user_id == UserRow.id)
    return UserRow.active & or_(UserRow.role.in_(ADMINS), is_open, is_member)


def check_member(session: Session, user: UserRow, project_id: int) -> None:
    """Check that an active user may work on a project.

    Raises:
        RoleError: they are not a member.
    """
    query = select(UserRow.id).where(UserRow.id == user.id, can_work(project_id))
    if session.scalar(query) is None:
        name = find(session, ProjectRow, project_id, "project").name
        raise RoleError(f"{user.name!r:.40} is not a member of project {name!r:.60}")


def _members(session: Session, row: ProjectRow) -> Members:
    people = session.scalars(select(UserRow).where(can_work(row.id)).order_by(UserRow.id))
    members = select(MemberRow.user_id).where(MemberRow.project_id == row.id)
    return Members(
        everybody=not row.members_only,
        people=tuple(to_user(one) for one in people),
        user_ids=tuple(session.scalars(members.order_by(MemberRow.user_id))),
    )
