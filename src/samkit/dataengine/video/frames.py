"""Tracks in frames: what people prompt, draw, confirm and clear, and what lies between.

A frame that a person has made is a keyframe; masks that were followed from it or past it before, or
filled in around it, are out of date then, but stay until they are followed or filled in again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find
from samkit.dataengine.schema import TrackFrameRow, TrackRow, VideoRow
from samkit.dataengine.video.rows import (
    add_work,
    check_frame,
    new_frame_row,
    to_track_frame,
    track_to_change,
)
from samkit.dataengine.video.tracks import delete_frames
from samkit.dataengine.video.values import FIXED, FRAME_KINDS, KEYFRAMES, FrameKind, TrackFrame
from samkit.dataengine.work.masks import check_event_data, check_mask, check_score
from samkit.errors import MissingError, StoreError
from samkit.geometry import Rle, encode_rle
from samkit.video import State

MAX_FRAMES = 100_000  # of a range that is marked absent


def track_frames(
    store: Store, video_id: int, *, first: int, last: int, track_id: int | None = None
) -> tuple[TrackFrame, ...]:
    """List the tracks in frames from `first` to `last`, in order of frames and tracks.

    Args:
        track_id: only of this one.

    Raises:
        MissingError: no such video.
    """
    frame = TrackFrameRow.frame
    query = (
        select(TrackFrameRow)
        .join(TrackRow, TrackRow.id == TrackFrameRow.track_id)
        .where(TrackRow.video_id == video_id, ~TrackRow.deleted, frame >= first, frame <= last)
        .order_by(frame, TrackRow.number)
    )
    if track_id is not None:
        query = query.where(TrackRow.id == track_id)
    with store.read() as session:
        video = find(session, VideoRow, video_id, "video")
        size_hw = (video.height, video.width)
        return tuple(to_track_frame(row, size_hw) for row in session.scalars(query))


def track_frame(store: Store, track_id: int, frame: int) -> TrackFrame | None:
    """Return a track in a frame; None if it has no mask there.

    Raises:
        MissingError: no such track.
    """
    with store.read() as session:
        track = find(session, TrackRow, track_id, "track")
        video = find(session, VideoRow, track.video_id, "video")
        row = session.get(TrackFrameRow, (track_id, frame))
        return None if row is None else to_track_frame(row, (video.height, video.width))


def set_keyframe(
    store: Store,
    track_id: int,
    frame: int,
    *,
    user_id: int,
    rle: Rle,
    kind: FrameKind = "confirmed",
    score: float | None = None,
    prompts: Mapping[str, Any] | None = None,
    num_clicks: int = 0,
    duration_ms: int = 0,
) -> TrackFrame:
    """Set a track's mask in a frame, as a person's; later following begins anew from it.

    Args:
        kind: "prompted" if a model answered `prompts`, else "confirmed".
        score: the model's predicted IoU.
        prompts: what it was asked with, and the mask that was there before as `base`; a mask that
            was drawn has empty ones at least.
        num_clicks, duration_ms: the person's work, which the statistics count.

    Raises:
        ConflictError: the user does not hold the video.
        StoreError: the mask does not fit the video, or no such frame.
    """
    if kind not in KEYFRAMES:
        raise StoreError(f"a person's mask is {' or '.join(KEYFRAMES)}; got {kind!r:.20}")
    check_event_data(prompts or {})
    score = check_score("score", score)
    with store.write() as session:
        video, track = _track_to_draw(session, track_id, user_id, frame)
        size_hw = (video.height, video.width)
        mask = check_mask(rle, size_hw)
        row = new_frame_row(
            store,
            track.id,
            frame,
            kind=kind,
            state="present",
            rle={"size": list(size_hw), "counts": mask.counts},
            area_px=mask.area_px,
            score=score,
            prompts=prompts or {},
        )
        add_work(video, num_clicks=num_clicks, duration_ms=duration_ms)
        return _put(session, video, row)


def confirm_frame(
    store: Store, track_id: int, frame: int, *, user_id: int, duration_ms: int = 0
) -> TrackFrame:
    """A person says that a track's mask in a frame, or that it is absent there, is right.

    Args:
        duration_ms: the person's work, which the statistics count.

    Raises:
        ConflictError: the user does not hold the video.
        MissingError: the track has nothing in this frame.
    """
    with store.write() as session:
        video, track = _track_to_draw(session, track_id, user_id, frame)
        row = session.get(TrackFrameRow, (track.id, frame))
        if row is None:
            raise MissingError(f"track {track.number} has no mask in frame {frame}")
        add_work(video, duration_ms=duration_ms)
        if row.kind in KEYFRAMES:
            return to_track_frame(row, (video.height, video.width))
        confirmed = new_frame_row(
            store,
            track.id,
            frame,
            kind="confirmed",
            state="present" if row.area_px else "absent",
            rle={"size": [video.height, video.width], "counts": row.counts},
            area_px=row.area_px,
            score=row.score,
        )
        was_filled = row.kind == "interpolated"  # with its neighbours, which are as right as before
        return _put(session, video, confirmed, outdate_filled=not was_filled)


def mark_absent(store: Store, track_id: int, *, user_id: int, first: int, last: int) -> None:
    """A person says that an object is not seen in frames from `first` to `last`.

    Clearing one of them brings back the mask that a person had made there; where it was one frame
    alone, any mask.

    Raises:
        ConflictError: the user does not hold the video.
        StoreError: no such frames, or too many.
    """
    if not 0 <= last - first < MAX_FRAMES:
        raise StoreError(f"give 1 to {MAX_FRAMES} frames; got {first} to {last}")
    with store.write() as session:
        video, track = _track_to_draw(session, track_id, user_id, first, last)
        empty = encode_rle(np.zeros((video.height, video.width), bool))
        own = select(TrackFrameRow).where(*_between(track.id, first, last))
        if first < last:  # what was followed there can be followed again
            own = own.where(TrackFrameRow.kind.in_(FIXED))
        prompts = {
            row.frame: _base_of(row) if row.area_px else row.prompts for row in session.scalars(own)
        }
        _delete_between(session, track.id, first, last)
        session.add_all(
            new_frame_row(
                store,
                track.id,
                at,
                kind="confirmed",
                state="absent",
                rle=empty,
                area_px=0,
                prompts=prompts.get(at),
            )
            for at in range(first, last + 1)
        )
        outdate(session, track.id, first, last)
        video.version += 1


def clear_frames(
    store: Store, track_id: int, *, user_id: int, first: int, last: int
) -> tuple[TrackFrame, ...]:
    """Clear a track's frames from `first` to `last`: one alone goes back to the mask before.

    A frame that was prompted, drawn or marked absent where there was a mask has that again, out of
    date if it was followed; without one, and in longer ranges, nothing is left.

    Returns:
        what is left there.

    Raises:
        ConflictError: the user does not hold the video.
        StoreError: no such frames.
    """
    with store.write() as session:
        video, track = _track_to_draw(session, track_id, user_id, first, last)
        size_hw = (video.height, video.width)
        row = session.get(TrackFrameRow, (track.id, first)) if first == last else None
        prompts = {} if row is None or row.prompts is None else row.prompts
        base, base_kind = prompts.get("base"), prompts.get("base_kind", "propagated")
        _delete_between(session, track.id, first, last)
        outdate(session, track.id, first, last)
        video.version += 1
        if base is None:
            return ()
        mask = check_mask({"size": list(size_hw), "counts": base}, size_hw)
        restored = new_frame_row(
            store,
            track.id,
            first,
            kind=base_kind if base_kind in FRAME_KINDS else "propagated",
            state="present",
            rle={"size": list(size_hw), "counts": mask.counts},
            area_px=mask.area_px,
            prompts={} if prompts.get("base_made") else None,
        )
        session.add(restored)
        session.flush()
        return (to_track_frame(restored, size_hw),)


def save_interpolated(
    store: Store, track_id: int, frames: Sequence[tuple[int, Rle, State]], *, user_id: int
) -> int:
    """Put masks between two keyframes of a track, where no person's mask is; return their number.

    Args:
        frames: frame, mask and state of each.

    Raises:
        ConflictError: the user does not hold the video.
        StoreError: a mask does not fit the video.
    """
    if not frames:
        return 0
    first, last = frames[0][0], frames[-1][0]
    with store.write() as session:
        video, track = _track_to_draw(session, track_id, user_id, first, last)
        size_hw = (video.height, video.width)
        fixed = set(session.scalars(_fixed_between(track.id, first, last)))
        new = [one for one in frames if one[0] not in fixed]
        delete_frames(session, track.id, [frame for frame, *_ in new])
        for frame, rle, state in new:
            area = 0 if state == "absent" else check_mask(rle, size_hw).area_px
            row = new_frame_row(
                store, track.id, frame, kind="interpolated", state=state, rle=rle, area_px=area
            )
            session.add(row)
        video.version += 1
        return len(new)


def keyframes_around(
    store: Store, track_id: int, frame: int
) -> tuple[TrackFrame | None, TrackFrame | None]:
    """The nearest of a person's masks at or before a frame, and after it.

    Raises:
        MissingError: no such track.
    """
    own = and_(TrackFrameRow.track_id == track_id, TrackFrameRow.kind.in_(FIXED))
    at = TrackFrameRow.frame
    with store.read() as session:
        track = find(session, TrackRow, track_id, "track")
        video = find(session, VideoRow, track.video_id, "video")
        size_hw = (video.height, video.width)
        before = select(TrackFrameRow).where(own, at <= frame).order_by(at.desc()).limit(1)
        after = select(TrackFrameRow).where(own, at > frame).order_by(at).limit(1)
        found = [session.scalar(query) for query in (before, after)]
        rows = [None if row is None else to_track_frame(row, size_hw) for row in found]
    return rows[0], rows[1]


def outdate(session: Session, track_id: int, first: int, last: int, *, filled: bool = True) -> None:
    """What was followed from or past these frames, or filled in around them, is out of date."""
    at, source, kind = TrackFrameRow.frame, TrackFrameRow.source, TrackFrameRow.kind
    own = update(TrackFrameRow).where(TrackFrameRow.track_id == track_id)
    passed = or_(and_(at <= last, source >= first), and_(source <= last, at >= first))
    session.execute(own.where(kind == "propagated", passed).values(source=None))
    if not filled:
        return
    fixed = and_(TrackFrameRow.track_id == track_id, kind.in_(FIXED))
    before = session.scalar(select(func.max(at)).where(fixed, at < first))
    after = session.scalar(select(func.min(at)).where(fixed, at > last))
    gap = own.where(kind == "interpolated")
    gap = gap if before is None else gap.where(at > before)
    gap = gap if after is None else gap.where(at < after)
    session.execute(gap.values(source=first))


def _put(
    session: Session, video: VideoRow, row: TrackFrameRow, *, outdate_filled: bool = True
) -> TrackFrame:
    """Put a person's mask in the place of what is there."""
    _delete_between(session, row.track_id, row.frame, row.frame)
    outdate(session, row.track_id, row.frame, row.frame, filled=outdate_filled)
    session.add(row)
    video.version += 1
    session.flush()
    return to_track_frame(row, (video.height, video.width))


def _base_of(row: TrackFrameRow) -> dict[str, Any]:
    """What brings a mask back when the frame is cleared."""
    kind = "confirmed" if row.kind == "prompted" else row.kind  # its prompts are gone
    return {"base": row.counts, "base_kind": kind, "base_made": row.prompts is not None}


def _track_to_draw(
    session: Session, track_id: int, user_id: int, first: int, last: int | None = None
) -> tuple[VideoRow, TrackRow]:
    """The locked rows of a video and its track, whose frames may be changed."""
    video, track = track_to_change(session, track_id, user_id=user_id)
    check_frame(video, first)
    check_frame(video, first if last is None else last)
    if track.deleted:
        raise MissingError(f"track {track.number} is deleted: bring it back first")
    return video, track


def _between(track_id: int, first: int, last: int) -> tuple[Any, ...]:
    at = TrackFrameRow.frame
    return TrackFrameRow.track_id == track_id, at >= first, at <= last


def _delete_between(session: Session, track_id: int, first: int, last: int) -> None:
    session.execute(delete(TrackFrameRow).where(*_between(track_id, first, last)))


def _fixed_between(track_id: int, first: int, last: int) -> Any:
    own = _between(track_id, first, last)
    return select(TrackFrameRow.frame).where(*own, TrackFrameRow.kind.in_(FIXED))
