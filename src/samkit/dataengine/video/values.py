"""Values of stored videos: plain and frozen, as those of `samkit.dataengine.values`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from samkit.dataengine.values import Review
from samkit.dataengine.work import AttributeValue
from samkit.geometry import Rle
from samkit.video import State

# "prompted": a model answered a person's points or box; "confirmed": a person drew the mask or said
# that it is right; "propagated": followed from these; "interpolated": moved between two of them.
FrameKind = Literal["prompted", "confirmed", "propagated", "interpolated", "imported"]
FRAME_KINDS: tuple[FrameKind, ...] = get_args(FrameKind)
# What people have looked at, and objects are followed from.
KEYFRAMES: tuple[FrameKind, ...] = ("prompted", "confirmed")
# What following and interpolation never replace.
FIXED: tuple[FrameKind, ...] = (*KEYFRAMES, "imported")


@dataclass(frozen=True, kw_only=True)
class StoredVideo:
    """A video of a project.

    Attributes:
        path: below the project's root, with forward slashes: a file, a folder of frames or a stack.
        fingerprint: of its content; see `samkit.dataengine.video.files`.
        size_hw: height and width of the frames.
        rate: frames per second; None without a clock.
        value_range: which values of a stack are black and white.
        version: counts what people have changed of its tracks.
        num_tracks: number of tracks that are not deleted.
        review, comment: state as that of an image, and what a reviewer said with it.
        times: packed times of a file's frames.
    """

    id: int
    project_id: int
    path: str
    fingerprint: str
    num_bytes: int
    modified_ns: int
    size_hw: tuple[int, int]
    num_frames: int
    rate: float | None
    value_range: str
    version: int
    num_tracks: int
    added_at: datetime
    review: Review
    comment: str
    times: bytes | None = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in exports: the path without the suffix of a file."""
        path = PurePosixPath(self.path)
        return str(path.with_suffix("")) if path.suffix else self.path


@dataclass(frozen=True, kw_only=True)
class VideoLease:
    """A user's exclusive hold on a video until `expires_at`; `is_new` if they had none before."""

    video: StoredVideo
    user_id: int
    expires_at: datetime
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """Frames in a row in which a track has the same kind and state.

    Attributes:
        first, last: frames, both included.
        stale: whether a later change of a keyframe has made these masks out of date.
    """

    first: int
    last: int
    kind: FrameKind
    state: State
    stale: bool


@dataclass(frozen=True, kw_only=True)
class Track:
    """An object of a video.

    Attributes:
        number: names it in the video and in exports, from 1.
        attributes: values by name from a frame on, by that frame, in order.
        user_id: who began it.
        version: counts changes of class, attributes and extent; a change must name its version.
        runs: its frames, in order.
    """

    id: int
    video_id: int
    number: int
    class_id: int | None
    attributes: Mapping[int, Mapping[str, AttributeValue]]
    user_id: int
    version: int
    deleted: bool
    created_at: datetime
    runs: tuple[Run, ...]

    def attributes_at(self, frame: int) -> Mapping[str, AttributeValue]:
        """The values in a frame."""
        known = [at for at in self.attributes if at <= frame]
        return self.attributes[max(known)] if known else {}


@dataclass(frozen=True, kw_only=True)
class TrackFrame:
    """An object in a frame.

    Attributes:
        rle: empty where it is not seen.
        state: "present", "uncertain" or "absent".
        score: predicted IoU; None of what people drew.
        source: the keyframe that it was followed from, None if that is out of date; of an
            interpolated mask the frame whose change has made it out of date, None of all others.
        prompts: what it was asked with: points, labels, box, and the mask before as `base`; empty
            or `base` alone if a person drew it, None of all others.
    """

    track_id: int
    frame: int
    kind: FrameKind
    state: State
    rle: Rle
    area_px: int
    score: float | None
    source: int | None = None
    prompts: Mapping[str, Any] | None = None

    @property
    def stale(self) -> bool:
        """Whether a later change of a keyframe has made it out of date."""
        return is_stale(self.kind, self.source)


def is_stale(kind: str, source: int | None) -> bool:
    """Whether a mask of a kind and source is out of date."""
    if kind == "interpolated":
        return source is not None
    return kind == "propagated" and source is None
