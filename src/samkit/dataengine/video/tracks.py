"""Tracks of a video: begun, changed, deleted and brought back, split and merged.

Each function is one transaction of a person who holds the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find
from samkit.dataengine.schema import TrackFrameRow, TrackRow, VideoRow
from samkit.dataengine.video.rows import check_frame, held_video, to_track, track_to_change
from samkit.dataengine.video.values import FIXED, FrameKind, Run, Track, is_stale
from samkit.dataengine.work.classes import resolve_class
from samkit.dataengine.work.labelling import labelling_of
from samkit.errors import ConflictError, MissingError, StoreError
from samkit.video import State


def list_tracks(store: Store, video_id: int, *, deleted: bool = False) -> tuple[Track, ...]:
    """List the tracks of a video with their frames, by number.

    Args:
        deleted: also those that were deleted.

    Raises:
        MissingError: no such video.
    """
    query = select(TrackRow).where(TrackRow.video_id == video_id)
    if not deleted:
        query = query.where(~TrackRow.deleted)
    with store.read() as session:
        find(session, VideoRow, video_id, "video")
        rows = list(session.scalars(query.order_by(TrackRow.number)))
        runs = _runs(session, [row.id for row in rows])
        return tuple(to_track(row, runs.get(row.id, ())) for row in rows)


def add_track(
    store: Store,
    video_id: int,
    *,
    user_id: int,
    class_id: int | None = None,
    request_id: str | None = None,
) -> Track:
    """Begin a track, without any frame yet.

    Args:
        request_id: a repeated request for the video returns the track that the first one began.

    Raises:
        ConflictError: the user does not hold the video, or somebody else used the request_id.
        StoreError: the class does not belong to the project.
    """
    with store.write() as session:
        video = held_video(session, video_id, user_id)
        if request_id is not None:
            own = (TrackRow.video_id == video_id, TrackRow.request_id == request_id)
            row = session.scalar(select(TrackRow).where(*own))
            if row is not None and row.user_id != user_id:
                raise ConflictError(f"somebody else used the request_id {request_id!r:.40}")
            if row is not None:
                return _track(session, row)
        row = new_track(
            session,
            store,
            video,
            user_id=user_id,
            class_id=resolve_class(session, class_id, video.project_id),
            request_id=request_id,
        )
        return _track(session, row)


def new_track(
    session: Session,
    store: Store,
    video: VideoRow,
    *,
    user_id: int,
    class_id: int | None,
    attributes: Mapping[str, Any] | None = None,
    number: int | None = None,
    request_id: str | None = None,
) -> TrackRow:
    """Add a track to a video whose row is locked, with the next number or a free one."""
    if number is None:
        most = session.scalar(
            select(func.max(TrackRow.number)).where(TrackRow.video_id == video.id)
        )
        number = (most or 0) + 1
    row = TrackRow(
        video_id=video.id,
        number=number,
        class_id=class_id,
        attributes=dict(attributes or {}),
        user_id=user_id,
        request_id=request_id,
        version=1,
        deleted=False,
        created_at=store.clock(),
    )
    session.add(row)
    session.flush()
    video.version += 1
    return row


def free_number(session: Session, video: VideoRow, number: int) -> int | None:
    """The number, if no track of a video whose row is locked has it; None for the next one."""
    own = (TrackRow.video_id == video.id, TrackRow.number == number)
    taken = session.scalar(select(TrackRow.id).where(*own)) is not None
    return None if taken or number < 1 else number


def set_track_class(
    store: Store, track_id: int, *, user_id: int, version: int, class_id: int | None
) -> Track:
    """Set a track's class; None for none.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
        StoreError: the class does not belong to the project.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        row.class_id = resolve_class(session, class_id, video.project_id)
        return _changed(session, video, row)


def set_track_attributes(
    store: Store,
    track_id: int,
    *,
    user_id: int,
    version: int,
    frame: int,
    attributes: Mapping[str, object] | None,
) -> Track:
    """Set a track's attributes from a frame on, until the next frame that has some.

    Args:
        attributes: all values from there on; None for those of before.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
        StoreError: no such frame, or a value does not fit the project's attributes.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        check_frame(video, frame)
        known = {at: values for at, values in row.attributes.items() if int(at) != frame}
        if attributes is not None:
            checked = labelling_of(session, video.project_id).check(attributes)
            known[str(frame)] = dict(checked)
        row.attributes = simplified(known)
        return _changed(session, video, row)


def simplified(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Leave out the frames from which values are the same as before."""
    found: dict[str, Any] = {}
    before: Mapping[str, Any] = {}
    for frame in sorted(attributes, key=int):
        if attributes[frame] != before:
            found[frame] = before = dict(attributes[frame])
    return found


def delete_track(store: Store, track_id: int, *, user_id: int, version: int) -> Track:
    """Delete a track; `restore_track` brings it back.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        row.deleted = True
        return _changed(session, video, row)


def restore_track(store: Store, track_id: int, *, user_id: int, version: int) -> Track:
    """Bring back a track that was deleted.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        row.deleted = False
        return _changed(session, video, row)


def split_track(
    store: Store, track_id: int, *, user_id: int, version: int, frame: int
) -> tuple[Track, Track]:
    """Split a track: from a frame on, it is a new track of the same class and attributes.

    Masks that were followed across the frame are out of date, but stay.

    Returns:
        the part before, which stays the track, and the new one.

    Raises:
        ConflictError: the user does not hold the video, or the track has changed since.
        StoreError: one of the parts would be empty.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        first, last = _extent(session, row)
        if first is None or last is None or not first < frame <= last:
            raise StoreError(
                f"track {row.number} can be split in frames after its first and up to its last"
                f" one; got {frame}"
            )
        part = new_track(
            session,
            store,
            video,
            user_id=user_id,
            class_id=row.class_id,
            attributes=_from_frame(row.attributes, frame),
        )
        row.attributes = {at: one for at, one in row.attributes.items() if int(at) < frame}
        frames = update(TrackFrameRow).where(TrackFrameRow.track_id == row.id)
        session.execute(frames.where(TrackFrameRow.frame >= frame).values(track_id=part.id))
        for track, outside in (
            (row, TrackFrameRow.source >= frame),
            (part, TrackFrameRow.source < frame),
        ):
            followed = TrackFrameRow.kind == "propagated"
            stale = update(TrackFrameRow).where(TrackFrameRow.track_id == track.id, followed)
            session.execute(stale.where(outside).values(source=None))
        return _changed(session, video, row), _track(session, part)


def merge_tracks(
    store: Store, track_id: int, *, user_id: int, version: int, other_id: int, other_version: int
) -> Track:
    """Make one track of two: the first gets the frames of the other, which is deleted.

    Where both have a mask, a person's goes before a propagated one, else the first track's stays.

    Raises:
        ConflictError: the user does not hold the video, or a track has changed since.
        StoreError: they are the same, of two videos, or both have a person's mask in a frame.
    """
    with store.write() as session:
        video, row = track_to_change(session, track_id, user_id=user_id, version=version)
        other_video, other = track_to_change(
            session, other_id, user_id=user_id, version=other_version
        )
        if row.id == other.id or video.id != other_video.id or row.deleted or other.deleted:
            raise StoreError("two different tracks of one video can be merged")
        kinds = {one.id: _kinds(session, one) for one in (row, other)}
        both = sorted(kinds[row.id].keys() & kinds[other.id].keys())
        fixed = [at for at in both if kinds[row.id][at] in FIXED and kinds[other.id][at] in FIXED]
        if fixed:
            raise StoreError(
                f"tracks {row.number} and {other.number} both have a mask by a person in frame"
                f" {fixed[0]}{f' and {len(fixed) - 1} more' if len(fixed) > 1 else ''}: clear one"
            )
        lost: dict[int, list[int]] = {row.id: [], other.id: []}
        for at in both:
            lost[row.id if kinds[other.id][at] in FIXED else other.id].append(at)
        for one_id, frames in lost.items():
            delete_frames(session, one_id, frames)
        moved = update(TrackFrameRow).where(TrackFrameRow.track_id == other.id)
        session.execute(moved.values(track_id=row.id))
        row.attributes = simplified({**other.attributes, **row.attributes})
        row.class_id = other.class_id if row.class_id is None else row.class_id
        other.deleted = True
        other.version += 1
        return _changed(session, video, row)


FRAMES_PER_QUERY = 500  # databases limit the number of parameters


def delete_frames(session: Session, track_id: int, frames: list[int]) -> None:
    """Delete a track's masks in these frames."""
    own = TrackFrameRow.track_id == track_id
    for start in range(0, len(frames), FRAMES_PER_QUERY):
        part = frames[start : start + FRAMES_PER_QUERY]
        session.execute(delete(TrackFrameRow).where(own, TrackFrameRow.frame.in_(part)))


def _kinds(session: Session, row: TrackRow) -> dict[int, str]:
    query = select(TrackFrameRow.frame, TrackFrameRow.kind)
    found = session.execute(query.where(TrackFrameRow.track_id == row.id))
    return {frame: kind for frame, kind in found}  # noqa: C416 - rows are no pairs


def _extent(session: Session, row: TrackRow) -> tuple[int | None, int | None]:
    frame = TrackFrameRow.frame
    query = select(func.min(frame), func.max(frame)).where(TrackFrameRow.track_id == row.id)
    first, last = session.execute(query).one()
    return first, last


def _from_frame(attributes: Mapping[str, Any], frame: int) -> dict[str, Any]:
    """Attributes of the part of a track from a frame on."""
    before = [int(at) for at in attributes if int(at) <= frame]
    later = {at: values for at, values in attributes.items() if int(at) > frame}
    return {str(frame): attributes[str(max(before))], **later} if before else later


def _changed(session: Session, video: VideoRow, row: TrackRow) -> Track:
    row.version += 1
    video.version += 1
    session.flush()
    return _track(session, row)


def _track(session: Session, row: TrackRow) -> Track:
    return to_track(row, _runs(session, [row.id]).get(row.id, ()))


def _runs(session: Session, track_ids: Iterable[int]) -> dict[int, tuple[Run, ...]]:
    """The frames of tracks, joined where they follow each other and are alike."""
    columns = (TrackFrameRow.frame, TrackFrameRow.kind, TrackFrameRow.state, TrackFrameRow.source)
    found: dict[int, tuple[Run, ...]] = {}
    for track_id in track_ids:
        query = select(*columns).where(TrackFrameRow.track_id == track_id)
        rows = session.execute(query.order_by(TrackFrameRow.frame))
        found[track_id] = tuple(join_runs(rows))
    return found


def join_runs(rows: Iterable[Any]) -> Iterable[Run]:
    """Join frames (frame, kind, state, source), in order, to runs."""
    first, last, alike = -1, -2, None
    for frame, kind, state, source in rows:
        now = kind, state, is_stale(kind, source)
        if frame != last + 1 or now != alike:
            if alike is not None:
                yield _run(first, last, alike)
            first, alike = frame, now
        last = frame
    if alike is not None:
        yield _run(first, last, alike)


def _run(first: int, last: int, alike: tuple[str, str, bool]) -> Run:
    kind, state, stale = alike
    return Run(
        first=first,
        last=last,
        kind=cast("FrameKind", kind),
        state=cast("State", state),
        stale=stale,
    )


def get_track(store: Store, track_id: int) -> Track:
    """Return a track.

    Raises:
        MissingError: no such track, or it is deleted.
    """
    with store.read() as session:
        row = find(session, TrackRow, track_id, "track")
        if row.deleted:
            raise MissingError(f"track {row.number} is deleted")
        return _track(session, row)
