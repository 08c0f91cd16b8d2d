"""Masks between two keyframes of a track: moved by optical flow, or as boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from samkit.dataengine.database import Store
from samkit.dataengine.video.files import open_video
from samkit.dataengine.video.frames import keyframes_around, save_interpolated
from samkit.dataengine.video.tracks import get_track
from samkit.dataengine.video.values import StoredVideo, TrackFrame
from samkit.dataengine.video.videos import get_video
from samkit.errors import StoreError
from samkit.geometry import Rle, encode_rle, rle_box_xyxy
from samkit.video import FrameSource, ObjectResult, State, VideoAnswer, fill_gap, move_box

InterpolateBy = Literal["flow", "box"]
# Pixels of all frames of a gap, which flow keeps in memory: 256 MB.
MAX_GAP_PIXELS = 2**25


def interpolate(
    store: Store,
    track_id: int,
    frame: int,
    *,
    user_id: int,
    by: InterpolateBy = "flow",
    source: FrameSource | None = None,
) -> int:
    """Put masks between the two keyframes around a frame; return how many.

    Args:
        by: "flow" moves the masks from both sides by optical flow; "box" moves their boxes in
            straight lines and fills them, for tracks of boxes, without reading frames.
        source: the video's frames; None opens them.

    Raises:
        ConflictError: the user does not hold the video.
        StoreError: there are no two keyframes around the frame, or they are too far apart.
        VideoError: a frame cannot be read.
    """
    track = get_track(store, track_id)
    video = get_video(store, track.video_id)
    before, after = keyframes_around(store, track_id, frame)
    if before is None or after is None or not before.area_px or not after.area_px:
        raise StoreError(
            f"frame {frame} is not between two keyframes with a mask of track {track.number}: make"
            " one before it and one after it"
        )
    if by == "box":
        found = list(_boxes(before, after, video.size_hw))
    else:
        found = _by_flow(store, video, before, after, source)
    return save_interpolated(store, track_id, found, user_id=user_id)


def _by_flow(
    store: Store,
    video: StoredVideo,
    before: TrackFrame,
    after: TrackFrame,
    source: FrameSource | None,
) -> list[tuple[int, Rle, State]]:
    height, width = video.size_hw
    most = max(2, MAX_GAP_PIXELS // (height * width))
    if after.frame - before.frame > most:
        raise StoreError(
            f"the keyframes {before.frame} and {after.frame} are {after.frame - before.frame}"
            f" frames apart: at most {most} at this size; follow the track, or make one between"
        )
    opened = open_video(store, video) if source is None else source
    try:
        first, last = (_answer(one, video.size_hw) for one in (before, after))
        moved = fill_gap(first, last, opened)
        return [(one.index, one.results[0].rle, one.results[0].state) for one in moved]
    finally:
        if source is None:
            opened.close()


def _answer(frame: TrackFrame, size_hw: tuple[int, int]) -> VideoAnswer:
    result = ObjectResult(rle=frame.rle, score=1.0, state=frame.state)
    return VideoAnswer(index=frame.frame, object_ids=(1,), results=(result,), size_hw=size_hw)


def _boxes(
    before: TrackFrame, after: TrackFrame, size_hw: tuple[int, int]
) -> Iterator[tuple[int, Rle, State]]:
    ends = rle_box_xyxy(before.rle), rle_box_xyxy(after.rle)
    gap = after.frame - before.frame
    for frame in range(before.frame + 1, after.frame):
        x0, y0, x1, y1 = move_box(*ends, (frame - before.frame) / gap)
        mask = np.zeros(size_hw, bool)
        mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        yield frame, encode_rle(mask), "present"
