"""Comments on images: threads that are pinned to a place, a mask or the image as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, check_member, role_of
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import AnnotationRow, ImageRow, UserRow
from samkit.dataengine.team_schema import CommentRow
from samkit.dataengine.work.annotation_queries import is_hidden_from
from samkit.dataengine.work.webhooks import tell_of_image
from samkit.errors import RoleError, StoreError

MAX_COMMENT = 2000  # characters


@dataclass(frozen=True, kw_only=True)
class Comment:
    """What one person has written in a thread."""

    id: int
    user_id: int
    text: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A comment with the answers to it.

    Attributes:
        id: that of its first comment.
        annotation_id: the mask that it is about; None for a place, or the whole image.
        xy: where it is pinned, in pixels of the image; None for the mask, or the whole image.
        comments: oldest first.
    """

    id: int
    image_id: int
    annotation_id: int | None
    xy: tuple[float, float] | None
    resolved: bool
    comments: tuple[Comment, ...]


def add_comment(
    store: Store,
    image_id: int,
    user_id: int,
    text: str,
    *,
    xy: Sequence[float] | None = None,
    annotation_id: int | None = None,
) -> Thread:
    """Begin a thread on an image; nobody has to hold it.

    Args:
        xy: a place in pixels of the image.
        annotation_id: a mask of the image.

    Raises:
        MissingError: no such image, mask or user.
        RoleError: the user may not work on the project, or not see the mask.
        StoreError: the text is empty or too long, the place is outside, or the mask is of another
            image.
    """
    _check_text(text)
    with store.write() as session:
        user = acting_user(session, user_id)
        image = find_locked(session, ImageRow, image_id, "image")
        check_member(session, user, image.project_id)
        x, y = (None, None) if xy is None else (float(xy[0]), float(xy[1]))
        if x is not None and y is not None:
            is_inside = 0 <= x <= image.width and 0 <= y <= image.height
            if not is_inside:
                raise StoreError(
                    f"a comment's place must be within {image.width} x {image.height} pixels;"
                    f" got {x:g}, {y:g}"
                )
        if annotation_id is not None:
            mask = find(session, AnnotationRow, annotation_id, "annotation")
            if mask.image_id != image_id:
                raise StoreError(f"annotation {annotation_id} is not on {image.path}")
            if is_hidden_from(mask, image, user):
                raise RoleError(f"annotation {annotation_id} belongs to another annotator")
        row = CommentRow(
            project_id=image.project_id,
            image_id=image_id,
            annotation_id=annotation_id,
            user_id=user_id,
            text=text,
            x=x,
            y=y,
            resolved=False,
            at=store.clock(),
        )
        session.add(row)
        session.flush()
        image.num_open_comments += 1
        _tell(session, store, image, row)
        return _to_thread(row, [row])


def answer_comment(store: Store, thread_id: int, user_id: int, text: str) -> Thread:
    """Add to a thread, which stays resolved if it is.

    Raises:
        MissingError: no such thread or user.
        RoleError: the user may not work on the project, or not see the thread.
        StoreError: the text is empty or too long.
    """
    _check_text(text)
    with store.write() as session:
        root, image = _visible(session, thread_id, user_id)
        row = CommentRow(
            project_id=image.project_id,
            image_id=image.id,
            parent_id=root.id,
            user_id=user_id,
            text=text,
            resolved=False,
            at=store.clock(),
        )
        session.add(row)
        session.flush()
        _tell(session, store, image, row)
        return _to_thread(root, _thread(session, root))


def resolve_comment(store: Store, thread_id: int, user_id: int, *, resolved: bool = True) -> Thread:
    """Resolve a thread, or open it again; anybody who sees it may.

    Raises:
        MissingError: no such thread or user.
        RoleError: the user may not work on the project, or not see the thread.
    """
    with store.write() as session:
        root, image = _visible(session, thread_id, user_id)
        image.num_open_comments += int(root.resolved) - int(resolved)
        root.resolved = resolved
        return _to_thread(root, _thread(session, root))


def list_comments(store: Store, image_id: int, *, user_id: int) -> tuple[Thread, ...]:
    """List the threads on an image that a user may see, in the order in which they began.

    Where several people annotate an image independently, annotators see the threads that they or
    reviewers began, but not each other's; on a honey pot, only their own.

    Raises:
        MissingError: no such image or user.
    """
    with store.read() as session:
        image = find(session, ImageRow, image_id, "image")
        user = acting_user(session, user_id)
        query = select(CommentRow).where(CommentRow.image_id == image_id).order_by(CommentRow.id)
        threads: dict[int, list[CommentRow]] = {}
        for row in session.scalars(query):
            threads.setdefault(row.parent_id or row.id, []).append(row)
        return tuple(
            _to_thread(rows[0], rows)
            for rows in threads.values()
            if not _is_hidden(session, rows[0], image, user)
        )


def _tell(session: Session, store: Store, image: ImageRow, row: CommentRow) -> None:
    facts = {"thread_id": row.parent_id or row.id, "annotation_id": row.annotation_id}
    tell_of_image(session, store, image, "comment.added", row.user_id, **facts, text=row.text)


def _visible(session: Session, thread_id: int, user_id: int) -> tuple[CommentRow, ImageRow]:
    """Return the first row of a thread that a user may add to, and its image's row, locked."""
    user = acting_user(session, user_id)
    root = find(session, CommentRow, thread_id, "comment")
    image = find_locked(session, ImageRow, root.image_id, "image")
    session.refresh(root)
    check_member(session, user, image.project_id)
    if root.parent_id is not None:
        raise StoreError(f"comment {thread_id} is an answer: name the one that it answers")
    if _is_hidden(session, root, image, user):
        raise RoleError(f"comment {thread_id} belongs to another annotator of this image")
    return root, image


def _is_hidden(session: Session, root: CommentRow, image: ImageRow, user: UserRow) -> bool:
    independent = image.num_annotators > 1 or image.honey_pot
    if not independent or root.user_id == user.id or role_of(user) in REVIEWERS:
        return False
    author = find(session, UserRow, root.user_id, "user")
    if image.honey_pot or author.role not in REVIEWERS:
        return True
    if root.annotation_id is None:
        return False
    mask = find(session, AnnotationRow, root.annotation_id, "annotation")
    return is_hidden_from(mask, image, user)


def _thread(session: Session, root: CommentRow) -> Sequence[CommentRow]:
    query = select(CommentRow).where(
        or_(CommentRow.id == root.id, CommentRow.parent_id == root.id),
        CommentRow.image_id == root.image_id,
    )
    return session.scalars(query.order_by(CommentRow.id)).all()


def _to_thread(root: CommentRow, rows: Sequence[CommentRow]) -> Thread:
    return Thread(
        id=root.id,
        image_id=root.image_id,
        annotation_id=root.annotation_id,
        xy=None if root.x is None or root.y is None else (root.x, root.y),
        resolved=root.resolved,
        comments=tuple(
            Comment(id=row.id, user_id=row.user_id, text=row.text, at=row.at) for row in rows
        ),
    )


def _check_text(text: str) -> None:
    if not text.strip() or len(text) > MAX_COMMENT:
        raise StoreError(f"a comment must have 1 to {MAX_COMMENT} characters; got {len(text)}")
