"""Jobs that follow the tracks of a video, and their results.

A job's results are committed every few frames, with the frame that it goes on with: a worker that
is killed loses no more than these few, and another one goes on. What people have made is never
replaced, nor what was followed from a nearer keyframe. When people change tracks while a job runs,
its results so far stay, those of before the change are not stored any more, and it reads them anew.
"""

from __future__ import annotations

import socket
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import JobRow, TrackFrameRow, TrackRow, VideoRow
from samkit.dataengine.values import Job
from samkit.dataengine.video.rows import check_frame, held_video, new_frame_row, to_video
from samkit.dataengine.video.tracks import delete_frames
from samkit.dataengine.video.values import FIXED, KEYFRAMES, StoredVideo
from samkit.dataengine.work.jobs import running_job, to_job
from samkit.errors import ConflictError, StoreError
from samkit.geometry import Rle, rle_area
from samkit.video import State

FOLLOW = "follow"  # kind of job
LEASE_S = 120.0  # a worker without a sign of life for this long is dead
MAX_LOST = 3  # workers that ended without storing a frame
UNFINISHED = ("waiting", "running")


@dataclass(frozen=True, kw_only=True)
class FollowedTrack:
    """A track that is to be followed.

    Attributes:
        anchors: frames with a mask that it may be followed from, in order.
        keyframes: those of them that people have looked at.
        fixed: frames whose mask is not replaced, with those where it is absent.
        sources: by frame, the keyframe from which it was followed; where that is out of date, none.
    """

    id: int
    number: int
    anchors: tuple[int, ...]
    keyframes: frozenset[int]
    fixed: frozenset[int]
    sources: Mapping[int, int]

    def anchor(self, frame: int, *, reverse: bool) -> int | None:
        """The nearest frame at or before one, in the direction, from which it is followed."""
        if reverse:
            at = bisect_left(self.anchors, frame)
            return self.anchors[at] if at < len(self.anchors) else None
        at = bisect_right(self.anchors, frame)
        return self.anchors[at - 1] if at else None

    def is_due(self, frame: int, *, reverse: bool) -> bool:
        """Whether a frame is to be followed into in this direction.

        As in `samkit.video`, the nearer keyframe decides, and of two as near that before.
        """
        if frame in self.fixed:
            return False
        anchor = self.anchor(frame, reverse=reverse)
        if anchor is None:
            return False
        source = self.sources.get(frame)
        if source is None or (source > frame) == reverse:
            return True
        new, present = abs(anchor - frame), abs(source - frame)
        return new < present or (new == present and not reverse)

    def first_gap(self, frame: int, *, reverse: bool) -> int | None:
        """Where following is to begin so that there is no gap until a frame; None if nowhere."""
        anchor = self.anchor(frame, reverse=reverse)
        if anchor is None:
            return None
        step = -1 if reverse else 1
        for at in range(anchor + step, frame, step):
            if at not in self.fixed and at not in self.sources:
                return at
        return frame


@dataclass(frozen=True, kw_only=True)
class Following:
    """What a job has to do.

    Attributes:
        start, stop: first frame, and the frame before which it ends; with `reverse` stop < start.
        tracks: which it follows.
    """

    video: StoredVideo
    start: int
    stop: int
    reverse: bool
    non_overlapping: bool
    tracks: tuple[FollowedTrack, ...]


@dataclass(frozen=True, kw_only=True)
class FollowedFrame:
    """A track in a frame, as it was followed there; see `TrackFrame`."""

    track_id: int
    frame: int
    state: State
    rle: Rle
    score: float
    source: int


def follow_tracks(
    store: Store,
    video_id: int,
    *,
    user_id: int,
    start: int,
    stop: int | None = None,
    reverse: bool = False,
    track_ids: Sequence[int] | None = None,
    non_overlapping: bool = False,
) -> Job:
    """Ask for tracks to be followed from a frame on.

    Where frames between the last keyframe and the first one are missing or out of date, it begins
    there; where the tracks begin later, it begins there.

    Args:
        stop: frame before which it ends; None for the video's end, with `reverse` its beginning.
        track_ids: None for all of the video.
        non_overlapping: each pixel belongs to one track at most.

    Raises:
        ConflictError: the user does not hold the video, or another job follows its tracks.
        StoreError: no such frame or track, or none has a mask to follow in these frames.
    """
    with store.write() as session:
        video = held_video(session, video_id, user_id)
        check_frame(video, start)
        if stop is None or not -1 <= stop <= video.num_frames:
            stop = -1 if reverse else video.num_frames
        check_not_followed(session, video)
        tracks = _read_tracks(session, video, track_ids)
        begins = [_begin(one, start, reverse=reverse) for one in tracks]
        known = [one for one in begins if one is not None]
        begin = (max if reverse else min)(known, default=stop)
        if not (begin > stop if reverse else begin < stop):
            raise StoreError(
                "no track has a mask there that could be followed: show an object first, by a click"
                " or a box"
            )
        data = {
            "video_id": video_id,
            "user_id": user_id,
            "start": begin,
            "at": begin,
            "stop": stop,
            "reverse": reverse,
            "track_ids": [one.id for one in tracks],
            "non_overlapping": non_overlapping,
            "num_lost": 0,
        }
        row = JobRow(
            project_id=video.project_id,
            kind=FOLLOW,
            state="waiting",
            data=data,
            progress=0.0,
            error="",
            attempts=0,
            created_at=store.clock(),
        )
        session.add(row)
        session.flush()
        return to_job(row)


def _begin(track: FollowedTrack, start: int, *, reverse: bool) -> int | None:
    """The frame in which a track's following begins; None if it has no mask in the direction."""
    begin = track.first_gap(start, reverse=reverse)
    if begin is not None or not track.anchors:
        return begin
    return track.anchors[-1] - 1 if reverse else track.anchors[0] + 1


def check_not_followed(session: Session, video: VideoRow) -> None:
    """Check that no job follows a video's tracks now.

    Raises:
        ConflictError: one does.
    """
    if _jobs_of(session, video, UNFINISHED):
        raise ConflictError(f"{video.path} is being followed: wait, or stop it")


def latest_following(store: Store, video_id: int) -> Job | None:
    """The latest job that follows, or followed, tracks of a video; None if there was none.

    Raises:
        MissingError: no such video.
    """
    with store.read() as session:
        rows = _jobs_of(session, find(session, VideoRow, video_id, "video"))
        return to_job(rows[-1]) if rows else None


def stop_following(store: Store, video_id: int, *, user_id: int) -> Job | None:
    """Stop following a video's tracks; what was stored stays.

    Raises:
        ConflictError: the user does not hold the video.
    """
    with store.write() as session:
        rows = _jobs_of(session, held_video(session, video_id, user_id, to_change=False))
        if rows and rows[-1].state in UNFINISHED:
            rows[-1].state, rows[-1].lease_expires_at = "stopped", None
        return to_job(rows[-1]) if rows else None


def has_following_to_do(store: Store) -> bool:
    """Whether a job waits to be taken, or its worker is dead."""
    now = store.clock()
    query = select(JobRow).where(JobRow.kind == FOLLOW, JobRow.state.in_(UNFINISHED))
    with store.read() as session:
        return any(
            row.state == "waiting" or (row.lease_expires_at or now) <= now
            for row in session.scalars(query)
        )


def worker_name(process_id: int) -> str:
    """How a process of this machine names itself in the jobs that it has."""
    return f"{socket.gethostname()}:{process_id}"


def begin_following(store: Store, job: Job, worker: str) -> None:
    """Note who works on a job that was taken, so that it can be taken over if the worker dies.

    Raises:
        ConflictError: it is no longer this worker's.
        StoreError: workers have been lost with it again and again.
    """
    with store.write() as session:
        row = running_job(session, job)
        num_lost = int(row.data.get("num_lost", 0)) + 1
        row.data = {**row.data, "worker": worker, "num_lost": num_lost}
        lost = num_lost > MAX_LOST
        if lost:
            row.state, row.lease_expires_at = "failed", None
            row.error = f"{MAX_LOST} processes were lost in frame {row.data['at']}: see the log"
    if lost:
        raise StoreError(f"job {job.id} is given up: {MAX_LOST} processes were lost with it")


def release_following(store: Store, worker: str) -> int:
    """Let jobs of a worker that is gone be taken by another; return their number."""
    query = select(JobRow).where(JobRow.kind == FOLLOW, JobRow.state == "running")
    with store.write() as session:
        rows = session.scalars(query.with_for_update())
        own = [row for row in rows if row.data.get("worker") == worker]
        for row in own:
            row.state, row.lease_expires_at = "waiting", None
        return len(own)


def read_following(store: Store, job: Job) -> Following:
    """Read what a job still has to do.

    Raises:
        ConflictError: the job is no longer this worker's.
    """
    with store.read() as session:
        row = find(session, JobRow, job.id, "job")
        if row.state != "running" or row.attempts != job.attempts:
            raise ConflictError(f"job {job.id} is {row.state} and no longer this worker's")
        data = row.data
        video = find(session, VideoRow, data["video_id"], "video")
        return Following(
            video=to_video(session, video),
            start=data["at"],
            stop=data["stop"],
            reverse=data["reverse"],
            non_overlapping=data["non_overlapping"],
            tracks=_read_tracks(session, video, data["track_ids"], missing_ok=True),
        )


def save_followed(
    store: Store, job: Job, version: int, frames: Sequence[FollowedFrame], *, at: int
) -> bool:
    """Store results of a job, and the frame that it goes on with, in one transaction.

    Args:
        version: of the video that the results depend on.
        at: next frame.

    Returns:
        whether they are stored; not if people have changed tracks since.

    Raises:
        ConflictError: the job was stopped, or another worker has it.
    """
    with store.write() as session:
        video = find_locked(session, VideoRow, job.data["video_id"], "video")
        row = running_job(session, job)
        row.lease_expires_at = store.clock() + timedelta(seconds=LEASE_S)
        if video.version != version:
            return False
        by_track: dict[int, list[int]] = {}
        for one in frames:
            by_track.setdefault(one.track_id, []).append(one.frame)
        for track_id, own in by_track.items():
            delete_frames(session, track_id, own)
        session.add_all(
            new_frame_row(
                store,
                one.track_id,
                one.frame,
                kind="propagated",
                state=one.state,
                rle=one.rle,
                area_px=rle_area(one.rle),
                score=one.score,
                source=one.source,
            )
            for one in frames
        )
        start, stop = row.data["start"], row.data["stop"]
        row.data = {**row.data, "at": at, "num_lost": 0}
        row.progress = min(1.0, abs(at - start) / max(1, abs(stop - start)))
        return True


def _jobs_of(
    session: Session, video: VideoRow, states: Sequence[str] | None = None
) -> list[JobRow]:
    """Jobs that follow a video's tracks, the latest one last."""
    query = select(JobRow).where(JobRow.project_id == video.project_id, JobRow.kind == FOLLOW)
    if states is not None:
        query = query.where(JobRow.state.in_(states))
    rows = session.scalars(query.order_by(JobRow.id))
    return [row for row in rows if row.data["video_id"] == video.id]


def _read_tracks(
    session: Session,
    video: VideoRow,
    track_ids: Sequence[int] | None,
    *,
    missing_ok: bool = False,
) -> tuple[FollowedTrack, ...]:
    query = select(TrackRow).where(TrackRow.video_id == video.id, ~TrackRow.deleted)
    rows = list(session.scalars(query.order_by(TrackRow.number)))
    if track_ids is not None:
        unknown = set(track_ids) - {row.id for row in rows}
        if unknown and not missing_ok:
            raise StoreError(f"{video.path} has no track {min(unknown)}")
        rows = [row for row in rows if row.id in track_ids]
    return tuple(_read_track(session, row) for row in rows)


def _read_track(session: Session, row: TrackRow) -> FollowedTrack:
    columns: tuple[Any, ...] = (
        TrackFrameRow.frame,
        TrackFrameRow.kind,
        TrackFrameRow.area_px,
        TrackFrameRow.source,
    )
    query = select(*columns).where(TrackFrameRow.track_id == row.id).order_by(TrackFrameRow.frame)
    found = session.execute(query).all()
    fixed = [(frame, kind, area) for frame, kind, area, _ in found if kind in FIXED]
    return FollowedTrack(
        id=row.id,
        number=row.number,
        anchors=tuple(frame for frame, _, area in fixed if area),
        keyframes=frozenset(frame for frame, kind, area in fixed if area and kind in KEYFRAMES),
        fixed=frozenset(frame for frame, *_ in fixed),
        sources={
            frame: source
            for frame, kind, _, source in found
            if kind == "propagated" and source is not None
        },
    )
