"""Reviews of videos: submitted whole, then accepted, or returned with a comment, as images are.

States and rules are those of images: whoever has submitted a video does not review it, unless they
are an admin, and reviewers correct what they take. A returned video is for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import REVIEWERS, acting_user
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import TrackRow, VideoReviewRow, VideoRow
from samkit.dataengine.video.following import check_not_followed
from samkit.dataengine.video.rows import add_work, held_video, to_video
from samkit.dataengine.video.values import StoredVideo, VideoLease
from samkit.dataengine.video.verified import count_verified
from samkit.dataengine.video.videos import grant_lease
from samkit.dataengine.work import (
    LEASE_S,
    Verdict,
    check_reviewer,
    check_unheld,
    check_version,
    release,
)
from samkit.dataengine.work.labelling import labelling_of
from samkit.dataengine.work.submissions import MAX_COMMENT
from samkit.dataengine.work.webhooks import WebhookEvent, tell
from samkit.errors import ConflictError, StoreError


def submit_video(store: Store, video_id: int, user_id: int, *, duration_ms: int = 0) -> StoredVideo:
    """Submit a video that the user holds for review, and release it.

    Args:
        duration_ms: time since the last prompt or stroke, such as for looking at what was followed.

    Raises:
        ConflictError: the user does not hold the video, or its tracks are being followed.
        StoreError: the duration is negative or longer than a day, or a track has no class in a
            project that requires one.
    """
    with store.write() as session:
        row = held_video(session, video_id, user_id)
        check_not_followed(session, row)
        if labelling_of(session, row.project_id).class_required:
            _check_classes(session, row)
        row.review = "submitted"  # a reviewer's comment stays
        add_work(row, duration_ms=duration_ms)
        return _finish(session, store, row, user_id, "video.submitted")


def take_video_back(store: Store, video_id: int, user_id: int) -> VideoLease:
    """Take back one's submission of a video, while nobody has judged it, and take the video.

    Raises:
        ConflictError: somebody else holds the video, or somebody has judged it since.
        MissingError: no such video or user.
        StoreError: the user has not submitted it.
    """
    with store.write() as session:
        acting_user(session, user_id)
        row = _unheld(session, store, video_id, user_id)
        history = _history(session, video_id)
        if not any(one.verdict == "submitted" and one.user_id == user_id for one in history):
            raise StoreError(f"there is nothing to take back: {row.path} was not submitted by you")
        last = history[-1]
        if row.review != "submitted" or (last.verdict, last.user_id) != ("submitted", user_id):
            raise ConflictError(f"{row.path} has been reviewed since")
        before = [one.verdict for one in history if one.verdict in ("accepted", "returned")]
        row.review = "returned" if before[-1:] == ["returned"] else "none"
        row.version += 1
        _note(session, store, row, user_id, verdict="taken back")
        return grant_lease(session, store, row, user_id, LEASE_S)


def accept_video(store: Store, video_id: int, user_id: int, *, version: int) -> StoredVideo:
    """Accept a video's tracks at the given version of the video.

    To correct them, a reviewer takes the video, changes them, and then accepts it.

    Raises:
        ConflictError: the video has a newer version, somebody else holds it, or its tracks are
            being followed.
        RoleError: the user is not a reviewer, or has submitted the video.
        StoreError: the video is not up for review.
    """
    with store.write() as session:
        row = _to_review(session, store, video_id, user_id, version)
        row.review, row.comment = "accepted", ""
        return _finish(session, store, row, user_id, "video.accepted")


def return_video(
    store: Store, video_id: int, user_id: int, *, version: int, comment: str
) -> StoredVideo:
    """Return a video to be worked on again, with a comment.

    Raises:
        ConflictError: the video has a newer version, somebody else holds it, or its tracks are
            being followed.
        RoleError: the user is not a reviewer, or has submitted the video.
        StoreError: the video is not up for review, or the comment is empty or too long.
    """
    if not comment.strip() or len(comment) > MAX_COMMENT:
        raise StoreError(f"a comment must have 1 to {MAX_COMMENT} characters; got {len(comment)}")
    with store.write() as session:
        row = _to_review(session, store, video_id, user_id, version)
        row.review, row.comment = "returned", comment
        return _finish(session, store, row, user_id, "video.returned")


def video_reviews(store: Store, video_id: int) -> tuple[Verdict, ...]:
    """List when a video was submitted, and the verdicts on it, oldest first.

    Raises:
        MissingError: no such video.
    """
    with store.read() as session:
        find(session, VideoRow, video_id, "video")
        return tuple(
            Verdict(user_id=row.user_id, verdict=row.verdict, comment=row.comment, at=row.at)
            for row in _history(session, video_id)
        )


def _history(session: Session, video_id: int) -> Sequence[VideoReviewRow]:
    query = select(VideoReviewRow).where(VideoReviewRow.video_id == video_id)
    return session.scalars(query.order_by(VideoReviewRow.id)).all()


def _to_review(
    session: Session, store: Store, video_id: int, user_id: int, version: int
) -> VideoRow:
    """Return the locked row of a video that the user may review."""
    user = acting_user(session, user_id, REVIEWERS)
    row = _unheld(session, store, video_id, user_id)
    annotators = {one.user_id for one in _history(session, video_id) if one.verdict == "submitted"}
    check_reviewer(session, user, row, annotators)
    check_version(row, version)
    check_not_followed(session, row)
    return row


def _unheld(session: Session, store: Store, video_id: int, user_id: int) -> VideoRow:
    row = find_locked(session, VideoRow, video_id, "video")
    check_unheld(row, store, but_by=user_id)
    return row


def _check_classes(session: Session, row: VideoRow) -> None:
    query = select(func.count()).where(
        TrackRow.video_id == row.id, ~TrackRow.deleted, TrackRow.class_id.is_(None)
    )
    if count := session.scalar(query):
        tracks = "1 track has" if count == 1 else f"{count} tracks have"
        raise StoreError(
            f"{row.path}: {tracks} no class, which the project requires: choose one for each"
        )


def _finish(
    session: Session, store: Store, row: VideoRow, user_id: int, event: WebhookEvent
) -> StoredVideo:
    """Note what has become of a video, release it, and tell webhooks."""
    row.version += 1
    row.num_verified = count_verified(session, row.id)
    release(row)
    comment = "" if row.review == "submitted" else row.comment
    _note(session, store, row, user_id, verdict=row.review, comment=comment)
    video = to_video(session, row)
    facts = {
        "video_id": row.id,
        "path": row.path,
        "review": row.review,
        "num_tracks": video.num_tracks,
        "version": row.version,
        "comment": row.comment,
    }
    tell(session, store, row.project_id, event, facts, user_id=user_id)
    return video


def _note(
    session: Session, store: Store, row: VideoRow, user_id: int, *, verdict: str, comment: str = ""
) -> None:
    note = {"video_id": row.id, "user_id": user_id, "at": store.clock()}
    session.add(VideoReviewRow(verdict=verdict, comment=comment, **note))
