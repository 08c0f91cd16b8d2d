"""Frames of finished videos in which people made masks: what a model may learn from.

Masks that were followed, interpolated or imported are none of these, nor those that were followed
and then confirmed as they were: they are the tracker's, and would teach a model its own errors.
Frames of a video are alike, so that a few of each are taken: a long one counts no more than these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, null, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.schema import TrackFrameRow, TrackRow
from samkit.dataengine.values import FINISHED, all_items
from samkit.dataengine.video.rows import to_track_frame
from samkit.dataengine.video.values import KEYFRAMES, StoredVideo, TrackFrame
from samkit.dataengine.video.videos import list_videos

FRAMES_PER_VIDEO = 8  # at most; as much as eight images


@dataclass(frozen=True, kw_only=True)
class VerifiedFrame:
    """A frame of a finished video with the masks that people prompted or drew there.

    Attributes:
        frame: its number.
        masks: of one track each, none empty; the tracks' other masks are not among them.
    """

    video: StoredVideo
    frame: int
    masks: tuple[TrackFrame, ...]

    @property
    def pixels_key(self) -> str:
        """Identifies the pixels that are seen: file, frame and range of values."""
        video = self.video
        seen = f"{video.fingerprint} {self.frame} {video.value_range}"
        return hashlib.sha256(seen.encode()).hexdigest()


def verified_frames(store: Store, project_id: int) -> Iterator[VerifiedFrame]:
    """Yield frames that people verified in the finished videos of a project, video by video.

    Of each video at most 8: evenly spaced among those that have masks, the first and the last among
    them.

    Raises:
        MissingError: no such project.
    """
    for video in _finished_videos(store, project_id):
        with store.read() as session:
            frames = evenly_spaced(sorted(_masks_by_frame(session, video.id)))
            query = (
                select(TrackFrameRow)
                .join(TrackRow, TrackRow.id == TrackFrameRow.track_id)
                .where(_is_made(video.id), TrackFrameRow.frame.in_(frames))
                .order_by(TrackFrameRow.frame, TrackRow.number)
            )
            masks = [to_track_frame(row, video.size_hw) for row in session.scalars(query)]
        for frame in frames:
            own = tuple(one for one in masks if one.frame == frame)
            yield VerifiedFrame(video=video, frame=frame, masks=own)


def count_verified(session: Session, video_id: int) -> int:
    """Number of masks in those frames of a video that `verified_frames` yields."""
    counts = _masks_by_frame(session, video_id)
    return sum(counts[frame] for frame in evenly_spaced(sorted(counts)))


def evenly_spaced(frames: Sequence[int], most: int = FRAMES_PER_VIDEO) -> list[int]:
    """Choose frames that are evenly spaced in a list, the first and the last among them."""
    if len(frames) <= most:
        return list(frames)
    last = len(frames) - 1
    return [frames[round(number * last / (most - 1))] for number in range(most)]


def _finished_videos(store: Store, project_id: int) -> Iterator[StoredVideo]:
    videos = all_items(lambda after: list_videos(store, project_id, after=after))
    return (video for video in videos if video.review in FINISHED)


def _masks_by_frame(session: Session, video_id: int) -> dict[int, int]:
    query = (
        select(TrackFrameRow.frame, func.count())
        .join(TrackRow, TrackRow.id == TrackFrameRow.track_id)
        .where(_is_made(video_id))
        .group_by(TrackFrameRow.frame)
    )
    return {frame: count for frame, count in session.execute(query)}  # noqa: C416 - of rows


def _is_made(video_id: int) -> ColumnElement[bool]:
    """Whether a person prompted or drew a mask: only these have prompts, if empty ones."""
    return and_(
        TrackRow.video_id == video_id,
        ~TrackRow.deleted,
        TrackFrameRow.kind.in_(KEYFRAMES),
        TrackFrameRow.prompts.is_not(null()),
        TrackFrameRow.area_px > 0,
    )
