"""Statistics of videos: how many are in each state, what was made in them, and by how much work."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from samkit.dataengine.database import Store
from samkit.dataengine.schema import TrackFrameRow, TrackRow, VideoRow
from samkit.dataengine.values import REVIEWS, Review


@dataclass(frozen=True, kw_only=True)
class VideoCount:
    """Videos in one review state.

    Attributes:
        num_frames: of all of them.
        num_masked_frames: frames with at least one mask.
        num_tracks, num_masks: tracks that are not deleted and have a mask; their masks.
        num_clicks: points, boxes and strokes.
        duration_ms: time that people spent.
    """

    num_videos: int
    num_frames: int
    num_masked_frames: int
    num_tracks: int
    num_masks: int
    num_clicks: int
    duration_ms: int

    @property
    def seconds_per_track(self) -> float | None:
        """Mean seconds of work per track; None without tracks."""
        return self.duration_ms / 1000 / self.num_tracks if self.num_tracks else None

    @property
    def clicks_per_track(self) -> float | None:
        """Mean number of clicks per track; None without tracks."""
        return self.num_clicks / self.num_tracks if self.num_tracks else None


def count_videos(store: Store, project_id: int) -> dict[Review, int]:
    """Count a project's videos in each review state."""
    query = select(VideoRow.review, func.count()).where(VideoRow.project_id == project_id)
    with store.read() as session:
        rows = session.execute(query.group_by(VideoRow.review))
        found = {state: number for state, number in rows}  # noqa: C416 - rows are no pairs
    return {state: found.get(state, 0) for state in REVIEWS}


def video_statistics(store: Store, project_id: int) -> dict[Review, VideoCount]:
    """Count what is in a project's videos of each review state, and the work.

    It looks at all masks: half a second for a million.
    """
    own = VideoRow.project_id == project_id
    work = (
        func.sum(VideoRow.num_frames),
        func.sum(VideoRow.num_clicks),
        func.sum(VideoRow.duration_ms),
    )
    videos = select(VideoRow.review, func.count(), *work).where(own).group_by(VideoRow.review)
    masks = (
        select(TrackRow.video_id, TrackFrameRow.track_id, TrackFrameRow.frame)
        .join(VideoRow, VideoRow.id == TrackRow.video_id)
        .join(TrackFrameRow, TrackFrameRow.track_id == TrackRow.id)
        .where(own, ~TrackRow.deleted, TrackFrameRow.area_px > 0)
        .subquery()
    )
    by_track = (
        select(masks.c.video_id, masks.c.track_id, func.count().label("num_masks"))
        .group_by(masks.c.video_id, masks.c.track_id)
        .subquery()
    )
    tracks = (
        select(VideoRow.review, func.count(), func.sum(by_track.c.num_masks))
        .join(VideoRow, VideoRow.id == by_track.c.video_id)
        .group_by(VideoRow.review)
    )
    frames = select(masks.c.video_id, masks.c.frame).distinct().subquery()
    masked = (
        select(VideoRow.review, func.count())
        .join_from(frames, VideoRow, VideoRow.id == frames.c.video_id)
        .group_by(VideoRow.review)
    )
    with store.read() as session:
        found = {state: rest for state, *rest in session.execute(videos)}
        made = {state: rest for state, *rest in session.execute(tracks)}
        filled = {state: number for state, number in session.execute(masked)}  # noqa: C416
    return {
        state: VideoCount(
            num_videos=num_videos,
            num_frames=int(num_frames),
            num_masked_frames=filled.get(state, 0),
            num_tracks=made.get(state, (0, 0))[0],
            num_masks=int(made.get(state, (0, 0))[1]),
            num_clicks=int(num_clicks),
            duration_ms=int(duration_ms),
        )
        for state in REVIEWS
        for num_videos, num_frames, num_clicks, duration_ms in (found.get(state, (0, 0, 0, 0)),)
    }
