"""Conversion of the rows of videos to values, and look-up of rows that may be changed."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.people import acting_user
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import TrackFrameRow, TrackRow, VideoRow
from samkit.dataengine.values import DAY_MS, Review
from samkit.dataengine.video.values import FrameKind, Run, StoredVideo, Track, TrackFrame
from samkit.errors import ConflictError, StoreError
from samkit.geometry import Rle
from samkit.video import State


def to_video(session: Session, row: VideoRow) -> StoredVideo:
    """Convert a video's row."""
    tracks = select(func.count()).where(TrackRow.video_id == row.id, ~TrackRow.deleted)
    return StoredVideo(
        id=row.id,
        project_id=row.project_id,
        path=row.path,
        fingerprint=row.fingerprint,
        num_bytes=row.num_bytes,
        modified_ns=row.modified_ns,
        size_hw=(row.height, row.width),
        num_frames=row.num_frames,
        rate=row.rate,
        value_range=row.value_range,
        version=row.version,
        num_tracks=session.scalar(tracks) or 0,
        added_at=row.added_at,
        review=cast("Review", row.review),
        comment=row.comment,
        times=row.times,
    )


def to_track(row: TrackRow, runs: tuple[Run, ...]) -> Track:
    """Convert a track's row."""
    frames = sorted((int(frame), values) for frame, values in row.attributes.items())
    return Track(
        id=row.id,
        video_id=row.video_id,
        number=row.number,
        class_id=row.class_id,
        attributes=dict(frames),
        user_id=row.user_id,
        version=row.version,
        deleted=row.deleted,
        created_at=row.created_at,
        runs=runs,
    )


def to_track_frame(row: TrackFrameRow, size_hw: tuple[int, int]) -> TrackFrame:
    """Convert the row of a track in a frame."""
    return TrackFrame(
        track_id=row.track_id,
        frame=row.frame,
        kind=cast("FrameKind", row.kind),
        state=cast("State", row.state),
        rle={"size": list(size_hw), "counts": row.counts},
        area_px=row.area_px,
        score=row.score,
        source=row.source,
        prompts=row.prompts,
    )


def new_frame_row(
    store: Store,
    track_id: int,
    frame: int,
    *,
    kind: FrameKind,
    state: State,
    rle: Rle,
    area_px: int,
    score: float | None = None,
    source: int | None = None,
    prompts: Mapping[str, Any] | None = None,
) -> TrackFrameRow:
    """Make the row of a track in a frame."""
    return TrackFrameRow(
        track_id=track_id,
        frame=frame,
        kind=kind,
        state=state,
        counts=rle["counts"],
        area_px=area_px,
        score=score,
        source=source,
        prompts=None if prompts is None else dict(prompts),
        at=store.clock(),
    )


def held_video(
    session: Session, video_id: int, user_id: int, *, to_change: bool = True
) -> VideoRow:
    """Return the row of a video that an active user holds, locked until the transaction ends.

    Args:
        to_change: its tracks are going to be changed; an accepted one is up for review again then.

    Raises:
        ConflictError: the user does not hold it.
    """
    acting_user(session, user_id)
    row = find_locked(session, VideoRow, video_id, "video")
    if row.lease_user_id != user_id:
        holder = "nobody" if row.lease_user_id is None else "somebody else"
        raise ConflictError(f"{row.path} is held by {holder}: take it first")
    if to_change and row.review == "accepted":
        row.review = "submitted"
    return row


def track_to_change(
    session: Session, track_id: int, *, user_id: int, version: int | None = None
) -> tuple[VideoRow, TrackRow]:
    """Return the locked rows of a track that may be changed, and of its video.

    Args:
        version: that the change is based on; None for changes of single frames.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
    """
    video_id = find(session, TrackRow, track_id, "track").video_id
    # Always lock the video first: locking in different orders could deadlock.
    video = held_video(session, video_id, user_id)
    track = find_locked(session, TrackRow, track_id, "track")
    if version is not None and track.version != version:
        raise ConflictError(
            f"track {track.number} is at version {track.version} now; the change is based on"
            f" {version}: reload it"
        )
    return video, track


def add_work(video: VideoRow, *, num_clicks: int = 0, duration_ms: int) -> None:
    """Count a person's work on a video whose row is locked.

    Raises:
        StoreError: there are fewer than 0 clicks, or more time than a day.
    """
    if num_clicks < 0 or not 0 <= duration_ms <= DAY_MS:
        raise StoreError(
            "num_clicks must be at least 0 and duration_ms from 0 to a day; got"
            f" {num_clicks} and {duration_ms}"
        )
    video.num_clicks += num_clicks
    video.duration_ms += duration_ms


def check_frame(video: VideoRow, frame: int) -> None:
    """Check that a video has a frame.

    Raises:
        StoreError: it has not.
    """
    if not 0 <= frame < video.num_frames:
        raise StoreError(f"{video.path} has frames 0 to {video.num_frames - 1}; got {frame}")
