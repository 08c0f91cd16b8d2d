"""Bodies of the REST API's requests and answers about videos and their tracks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from samkit.dataengine import (
    DAY_MS,
    FrameKind,
    InterpolateBy,
    Job,
    Review,
    Run,
    StoredVideo,
    Track,
    TrackFrame,
    VideoLease,
)
from samkit.video import State
from samkit.web.schemas import (
    MAX_INT32,
    MAX_POINTS,
    Attributes,
    Holder,
    JobOut,
    Key,
    Model,
    Pair,
    RleModel,
    Version,
)

MAX_TRACKS = 1000

Frame = Annotated[int, Field(ge=0, le=MAX_INT32)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Duration = Annotated[int, Field(ge=0, le=DAY_MS)]
RequestId = Annotated[str, Field(min_length=1, max_length=100)]


class NewVideo(Model):
    """A video file, a stack or a folder of frames below the project's root."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]


class VideoOut(Model):
    id: int
    project_id: int
    path: str
    size_hw: Annotated[list[int], Pair]
    num_frames: int
    rate: float | None
    version: int
    num_tracks: int
    added_at: datetime
    review: Review
    comment: str


class VideoScanOut(Model):
    """How many videos were added and known, and why others were not added."""

    num_added: int
    num_known: int
    faults: list[str]


class VideoLeaseOut(Model):
    video: VideoOut
    user_id: int
    expires_at: datetime


class VideoCountOut(Model):
    """Videos in one state; see `samkit.dataengine.VideoCount`."""

    num_videos: int
    num_frames: int
    num_masked_frames: int
    num_tracks: int
    num_masks: int
    num_clicks: int
    duration_ms: int
    seconds_per_track: float | None
    clicks_per_track: float | None


class VideoStatisticsOut(Model):
    states: dict[Review, VideoCountOut]


class ReturnVideo(Model):
    """A verdict on a video as it was shown; a newer one is refused."""

    version: Version
    comment: str


class VideoHolderOut(Model):
    """Who holds a video; null if nobody does."""

    holder: Holder | None


class RunOut(Model):
    """Frames in a row, both ends included, in which a track has the same kind and state."""

    first: int
    last: int
    kind: FrameKind
    state: State
    stale: bool


class AttributesFrom(Model):
    """Attributes that hold from a frame on."""

    frame: int
    values: dict[str, bool | int | float | str]


class TrackOut(Model):
    id: int
    video_id: int
    number: int
    class_id: int | None
    attributes: list[AttributesFrom]
    user_id: int
    version: int
    deleted: bool
    created_at: datetime
    runs: list[RunOut]


class NewTrack(Model):
    class_id: Key | None = None
    request_id: RequestId | None = None


class TrackChange(Model):
    """A new class, or attributes that hold from a frame on; null for those of before."""

    version: Version
    class_id: Key | None = None
    frame: Frame | None = None
    attributes: Attributes | None = None


class SplitTrack(Model):
    version: Version
    frame: Frame


class SplitOut(Model):
    before: TrackOut
    after: TrackOut


class MergeTracks(Model):
    """Which other track becomes part of this one."""

    version: Version
    other_id: Key
    other_version: Version


class TrackFrameOut(Model):
    """A track in a frame; `prompts` are those of a person there."""

    track_id: int
    frame: int
    kind: FrameKind
    state: State
    rle: RleModel
    area_px: int
    score: float | None
    stale: bool
    points: list[Annotated[list[float], Pair]]
    labels: list[int]
    box: list[float] | None


class FramePromptIn(Model):
    """All points of an object in a frame, and its box; a box without points begins anew.

    `duration_ms` is the time since the last one; what takes one back (`undo`) is no click.
    """

    points: list[tuple[Number, Number]] = Field(default=[], max_length=MAX_POINTS)
    labels: list[Literal[0, 1]] = Field(default=[], max_length=MAX_POINTS)
    box: tuple[Number, Number, Number, Number] | None = None
    duration_ms: Duration = 0
    undo: bool = False


class FrameMaskIn(Model):
    """A mask that a person drew; null confirms that which is there."""

    rle: RleModel | None = None
    duration_ms: Duration = 0
    undo: bool = False


class FrameRange(Model):
    first: Frame
    last: Frame


class InterpolateIn(Model):
    """A frame between the two keyframes."""

    frame: Frame
    by: InterpolateBy = "flow"


class InterpolatedOut(Model):
    num_frames: int


class FollowIn(Model):
    """Which tracks to follow, null for all, and from which frame to which, which is left out."""

    start: Frame
    stop: Annotated[int, Field(ge=-1, le=MAX_INT32)] | None = None
    reverse: bool = False
    track_ids: Annotated[list[Key], Field(min_length=1, max_length=MAX_TRACKS)] | None = None
    non_overlapping: bool = False


class FollowOut(Model):
    """The latest job that follows tracks; null if there was none. `at` is its next frame."""

    job: JobOut | None
    at: int | None


def video_out(video: StoredVideo) -> VideoOut:
    """A video as the page gets it."""
    return VideoOut(
        id=video.id,
        project_id=video.project_id,
        path=video.path,
        size_hw=list(video.size_hw),
        num_frames=video.num_frames,
        rate=video.rate,
        version=video.version,
        num_tracks=video.num_tracks,
        added_at=video.added_at,
        review=video.review,
        comment=video.comment,
    )


def video_lease_out(lease: VideoLease) -> VideoLeaseOut:
    """A hold on a video as the page gets it."""
    return VideoLeaseOut(
        video=video_out(lease.video), user_id=lease.user_id, expires_at=lease.expires_at
    )


def track_out(track: Track) -> TrackOut:
    """A track as the page gets it."""
    return TrackOut(
        id=track.id,
        video_id=track.video_id,
        number=track.number,
        class_id=track.class_id,
        attributes=[
            AttributesFrom(frame=frame, values=dict(values))
            for frame, values in track.attributes.items()
        ],
        user_id=track.user_id,
        version=track.version,
        deleted=track.deleted,
        created_at=track.created_at,
        runs=_runs(track.runs),
    )


def _runs(runs: Iterable[Run]) -> list[RunOut]:
    return [RunOut.model_validate(one) for one in runs]


def track_frame_out(frame: TrackFrame) -> TrackFrameOut:
    """A track in a frame as the page gets it."""
    prompts: dict[str, Any] = dict(frame.prompts or {})
    return TrackFrameOut(
        track_id=frame.track_id,
        frame=frame.frame,
        kind=frame.kind,
        state=frame.state,
        rle=RleModel.model_validate(frame.rle),
        area_px=frame.area_px,
        score=frame.score,
        stale=frame.stale,
        points=prompts.get("points", []),
        labels=prompts.get("labels", []),
        box=prompts.get("box"),
    )


def follow_out(job: Job | None) -> FollowOut:
    """A job that follows tracks as the page gets it."""
    if job is None:
        return FollowOut(job=None, at=None)
    return FollowOut(job=JobOut.model_validate(job), at=job.data["at"])
