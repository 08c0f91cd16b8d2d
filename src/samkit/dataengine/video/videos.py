"""Videos of a project: added, listed, and held by one person at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user, check_member, role_of
from samkit.dataengine.rows import check_limit, find, find_locked
from samkit.dataengine.schema import ProjectRow, VideoRow
from samkit.dataengine.values import FINISHED, Page, Review
from samkit.dataengine.video.files import (
    find_videos,
    fingerprint_of,
    paths_below,
    resolve_below,
    size_and_time,
    video_folder,
)
from samkit.dataengine.video.rows import held_video, to_video
from samkit.dataengine.video.values import StoredVideo, VideoLease
from samkit.dataengine.work import LEASE_S, check_unheld, get_project, hold, release
from samkit.errors import ConflictError, ImageError, RoleError, StoreError, VideoError
from samkit.video import StackFrames, VideoFile, open_path


@dataclass(frozen=True, kw_only=True)
class AddVideosReport:
    """Result of looking for videos below a project's root.

    Attributes:
        num_added: new videos.
        num_known: videos that the project had already.
        faults: one line for each that cannot be added.
    """

    num_added: int
    num_known: int
    faults: tuple[str, ...]


def add_videos(
    store: Store,
    project_id: int,
    paths: Iterable[str] | None = None,
    *,
    on_video: Callable[[int, int], None] | None = None,
) -> AddVideosReport:
    """Add videos below a project's root.

    Args:
        paths: files, stacks or folders of frames; None for all video files that are found.
        on_video: called after each with the number that is done and the total.

    Raises:
        StoreError: no such project, or its root is no folder.
    """
    folder = video_folder(store, project_id)
    found = list(find_videos(folder) if paths is None else paths)
    with store.read() as session:
        known = set(session.scalars(select(VideoRow.path).where(VideoRow.project_id == project_id)))
    num_added, faults = 0, []
    for number, path in enumerate(found, start=1):
        if path not in known:
            try:
                add_video(store, project_id, path)
                num_added += 1
            except (StoreError, VideoError, ImageError) as error:
                faults.append(str(error))
        if on_video is not None:
            on_video(number, len(found))
    num_known = len(found) - num_added - len(faults)
    return AddVideosReport(num_added=num_added, num_known=num_known, faults=tuple(faults))


def add_video(store: Store, project_id: int, path: str) -> StoredVideo:
    """Add a file, a stack or a folder of frames below a project's root; a known one is returned.

    All frames are counted, for which a file is read once; none but the first is decoded.

    Raises:
        StoreError: no such project, or nothing there.
        VideoError: it is no video.
        ConflictError: the project has a video at this path whose content was another one.
    """
    project = get_project(store, project_id)
    folder = video_folder(store, project_id)
    real = resolve_below(folder, path)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{path!r:.100}: the name is not valid UTF-8") from error
    with paths_below(folder):
        new = _read(real, path, project_id, project.value_range)
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project")
        own = VideoRow.project_id == project_id
        row = session.scalar(select(VideoRow).where(own, VideoRow.path == path))
        if row is None:
            new.added_at = store.clock()
            session.add(new)
            session.flush()
            row = new
        elif row.fingerprint != new.fingerprint:
            raise ConflictError(
                f"{path} has changed since it was added: give the new video another name"
            )
        return to_video(session, row)


def _read(real: Path, path: str, project_id: int, value_range: str) -> VideoRow:
    num_bytes, modified_ns = size_and_time(real)
    source = open_path(real, value_range=value_range)
    try:
        height, width = source.read(0).shape[:2]
        return VideoRow(
            project_id=project_id,
            path=path,
            fingerprint=fingerprint_of(real),
            num_bytes=num_bytes,
            modified_ns=modified_ns,
            height=height,
            width=width,
            num_frames=source.count or 0,
            rate=source.rate,
            value_range=str(source.value_range) if isinstance(source, StackFrames) else "full",
            times=source.times.to_bytes() if isinstance(source, VideoFile) else None,
            version=1,
        )
    finally:
        source.close()


def get_video(store: Store, video_id: int) -> StoredVideo:
    """Return a video.

    Raises:
        MissingError: no such video.
    """
    with store.read() as session:
        return to_video(session, find(session, VideoRow, video_id, "video"))


def list_videos(
    store: Store,
    project_id: int,
    *,
    review: Review | None = None,
    after: int = 0,
    limit: int = 100,
) -> Page[StoredVideo]:
    """List the videos of a project, or those in a review state, in the order of being added."""
    query = select(VideoRow).where(VideoRow.project_id == project_id, VideoRow.id > after)
    if review is not None:
        query = query.where(VideoRow.review == review)
    with store.read() as session:
        find(session, ProjectRow, project_id, "project")
        rows = session.scalars(query.order_by(VideoRow.id).limit(check_limit(limit)))
        items = [to_video(session, row) for row in rows]
    more = len(items) > limit
    return Page(items=tuple(items[:limit]), next_after=items[limit - 1].id if more else None)


def take_video(
    store: Store, video_id: int, user_id: int, *, lease_s: float = LEASE_S
) -> VideoLease:
    """Take a video, or renew its lease: reviewers any, others one that is not up for review.

    Raises:
        ConflictError: somebody else holds it.
        MissingError: no such video or user.
        RoleError: it is submitted or accepted, and the user is no reviewer; or no member.
        StoreError: lease_s is not above 0 and at most a day.
    """
    with store.write() as session:
        user = acting_user(session, user_id)
        row = find_locked(session, VideoRow, video_id, "video")
        check_member(session, user, row.project_id)
        check_unheld(row, store, but_by=user_id)
        if row.review in FINISHED and role_of(user) not in REVIEWERS:
            raise RoleError(f"{row.path} is {row.review}: only a reviewer may change it")
        return grant_lease(session, store, row, user_id, lease_s)


def grant_lease(
    session: Session, store: Store, row: VideoRow, user_id: int, lease_s: float
) -> VideoLease:
    """Let a user hold a video, whose row is locked."""
    expired = row.lease_expires_at is None or row.lease_expires_at <= store.clock()
    is_new = expired or row.lease_user_id != user_id
    hold(store, row, user_id, lease_s)
    return _lease(session, row, is_new=is_new)


def video_lease_of(store: Store, video_id: int) -> VideoLease | None:
    """Who holds a video now; None if nobody does.

    Raises:
        MissingError: no such video.
    """
    with store.read() as session:
        row = find(session, VideoRow, video_id, "video")
        if row.lease_expires_at is None or row.lease_expires_at <= store.clock():
            return None
        return _lease(session, row, is_new=False)


def give_video_back(store: Store, video_id: int, user_id: int) -> None:
    """Release a video; does nothing if the user does not hold it."""
    with store.write() as session:
        row = find_locked(session, VideoRow, video_id, "video")
        if row.lease_user_id == user_id:
            release(row)


def check_video_holder(store: Store, video_id: int, user_id: int) -> None:
    """Check that a user holds a video, before work whose result only a holder may store.

    Raises:
        ConflictError: the user does not hold it.
    """
    with store.write() as session:
        held_video(session, video_id, user_id, to_change=False)


def _lease(session: Session, row: VideoRow, *, is_new: bool) -> VideoLease:
    assert row.lease_user_id is not None
    assert row.lease_expires_at is not None
    return VideoLease(
        video=to_video(session, row),
        user_id=row.lease_user_id,
        expires_at=row.lease_expires_at,
        is_new=is_new,
    )
