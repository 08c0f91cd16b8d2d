"""Routes for the tracks of a video: prompts, masks by frame, and following."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import HTTPException, Path, Query
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import (
    Page,
    TrackFrame,
    add_track,
    check_video_holder,
    clear_frames,
    confirm_frame,
    delete_track,
    follow_tracks,
    get_track,
    get_video,
    interpolate,
    latest_following,
    list_tracks,
    mark_absent,
    merge_tracks,
    restore_track,
    set_keyframe,
    set_track_attributes,
    set_track_class,
    split_track,
    stop_following,
    track_frame,
    track_frames,
)
from samkit.geometry import Rle
from samkit.web.routing import Key, new_router
from samkit.web.schemas import MAX_INT32, AtVersion
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState
from samkit.web.video_prompts import FramePrompt
from samkit.web.video_schemas import (
    FollowIn,
    FollowOut,
    FrameMaskIn,
    FramePromptIn,
    FrameRange,
    InterpolatedOut,
    InterpolateIn,
    MergeTracks,
    NewTrack,
    SplitOut,
    SplitTrack,
    TrackChange,
    TrackFrameOut,
    TrackOut,
    follow_out,
    track_frame_out,
    track_out,
)

router = new_router()

MAX_FRAMES = 64  # whose masks are read at once
CLICK, FILL = 0, 1  # priorities
LOADING_S = 0.2  # between two looks whether the model is there
FrameNumber = Annotated[int, Path(ge=0, le=MAX_INT32)]
FrameQuery = Annotated[int, Query(ge=0, le=MAX_INT32)]
VersionQuery = Annotated[int, Query(ge=0, le=MAX_INT32)]


@router.get("/videos/{video_id}/tracks")
def get_tracks(
    studio: TheState, _user: AnyUser, video_id: Key, *, deleted: bool = False
) -> Page[TrackOut]:
    """List all tracks of a video, with the frames that they have, on one page."""
    found = list_tracks(studio.store, video_id, deleted=deleted)
    return Page(items=tuple(track_out(one) for one in found), next_after=None)


@router.post("/videos/{video_id}/tracks", status_code=201)
def post_track(studio: TheState, user: AnyUser, video_id: Key, body: NewTrack) -> TrackOut:
    """Begin a track in a video that one holds; safe to repeat with the same request_id."""
    made = add_track(
        studio.store,
        video_id,
        user_id=user.id,
        class_id=body.class_id,
        request_id=body.request_id,
    )
    return track_out(made)


@router.patch("/tracks/{track_id}")
def patch_track(studio: TheState, user: AnyUser, track_id: Key, body: TrackChange) -> TrackOut:
    """Set a track's class, or with `frame` its attributes from there on."""
    if body.frame is None:
        changed = set_track_class(
            studio.store,
            track_id,
            user_id=user.id,
            version=body.version,
            class_id=body.class_id,
        )
    else:
        changed = set_track_attributes(
            studio.store,
            track_id,
            user_id=user.id,
            version=body.version,
            frame=body.frame,
            attributes=body.attributes,
        )
    return track_out(changed)


@router.delete("/tracks/{track_id}")
def drop_track(studio: TheState, user: AnyUser, track_id: Key, version: VersionQuery) -> TrackOut:
    """Delete a track; it can be brought back."""
    return track_out(delete_track(studio.store, track_id, user_id=user.id, version=version))


@router.post("/tracks/{track_id}/restore")
def post_restore(studio: TheState, user: AnyUser, track_id: Key, body: AtVersion) -> TrackOut:
    """Bring back a track that was deleted."""
    return track_out(restore_track(studio.store, track_id, user_id=user.id, version=body.version))


@router.post("/tracks/{track_id}/split")
def post_split(studio: TheState, user: AnyUser, track_id: Key, body: SplitTrack) -> SplitOut:
    """Split a track: from a frame on, it is a new one."""
    before, after = split_track(
        studio.store, track_id, user_id=user.id, version=body.version, frame=body.frame
    )
    return SplitOut(before=track_out(before), after=track_out(after))


@router.post("/tracks/{track_id}/merge")
def post_merge(studio: TheState, user: AnyUser, track_id: Key, body: MergeTracks) -> TrackOut:
    """Make another track part of this one."""
    merged = merge_tracks(
        studio.store,
        track_id,
        user_id=user.id,
        version=body.version,
        other_id=body.other_id,
        other_version=body.other_version,
    )
    return track_out(merged)


@router.get("/videos/{video_id}/masks")
def get_masks(
    studio: TheState, _user: AnyUser, video_id: Key, first: FrameQuery, last: FrameQuery
) -> Page[TrackFrameOut]:
    """List the masks of all tracks in frames from `first` to `last`, at most 64, on one page."""
    if not 0 <= last - first < MAX_FRAMES:
        raise HTTPException(422, f"ask for 1 to {MAX_FRAMES} frames; got {first} to {last}")
    found = track_frames(studio.store, video_id, first=first, last=last)
    return Page(items=tuple(track_frame_out(one) for one in found), next_after=None)


@router.put("/tracks/{track_id}/frames/{frame}/prompt")
async def put_prompt(
    studio: TheState, user: AnyUser, track_id: Key, frame: FrameNumber, body: FramePromptIn
) -> TrackFrameOut:
    """Show where a track's object is in a frame: the model answers, and its mask is stored.

    All points and the box of the frame are sent each time; without one of them, the answer is what
    it was before. Points correct the mask that was there before the first of them.
    """
    if len(body.points) != len(body.labels):
        raise HTTPException(422, "give a label for each point")
    if not body.points and body.box is None:
        raise HTTPException(422, "give a point or a box, or clear the frame")
    with studio.prompter.waiting(user.id):
        store = studio.store
        track = await run_in_threadpool(get_track, store, track_id)
        video = await run_in_threadpool(get_video, store, track.video_id)
        await run_in_threadpool(check_video_holder, store, video.id, user.id)
        known = await run_in_threadpool(track_frame, store, track_id, frame)
        base = _base(known)
        prompt = FramePrompt(
            points=body.points,
            labels=body.labels,
            box=body.box,
            base=_rle_of(base, video.size_hw),
        )
        while studio.embedder.is_loading:
            await asyncio.sleep(LOADING_S)
        predictor = studio.models.served(video.project_id).predictor
        work = partial(studio.prompter.answer, video, frame, predictor, prompt)
        waiting = studio.tracking.submit(CLICK, work, owner=user.id)
        rle, score = await asyncio.wrap_future(waiting)
    made = await run_in_threadpool(
        partial(
            set_keyframe,
            store,
            track_id,
            frame,
            user_id=user.id,
            rle=rle,
            kind="prompted",
            score=score,
            num_clicks=0 if body.undo else 1,
            duration_ms=body.duration_ms,
            prompts={**base, "points": body.points, "labels": body.labels, "box": body.box},
        )
    )
    return track_frame_out(made)


def _rle_of(base: dict[str, str], size_hw: tuple[int, int]) -> Rle | None:
    return {"size": list(size_hw), "counts": base["base"]} if base else None


def _base(known: TrackFrame | None) -> dict[str, str]:
    """The mask that was in a frame before it was prompted, and its kind."""
    if known is None:
        return {}
    if known.kind == "prompted":
        return _own_base(known)
    return {"base": known.rle["counts"], "base_kind": known.kind} if known.area_px else {}


def _own_base(known: TrackFrame) -> dict[str, str]:
    prompts = known.prompts or {}
    return {name: prompts[name] for name in ("base", "base_kind") if name in prompts}


@router.put("/tracks/{track_id}/frames/{frame}/mask")
def put_mask(
    studio: TheState, user: AnyUser, track_id: Key, frame: FrameNumber, body: FrameMaskIn
) -> TrackFrameOut:
    """Set a track's mask in a frame as a person drew it, or confirm what is there."""
    if body.rle is None:
        found = confirm_frame(
            studio.store, track_id, frame, user_id=user.id, duration_ms=body.duration_ms
        )
    else:
        found = set_keyframe(
            studio.store,
            track_id,
            frame,
            user_id=user.id,
            rle={"size": list(body.rle.size), "counts": body.rle.counts},
            prompts=_drawn_over(track_frame(studio.store, track_id, frame)),
            num_clicks=0 if body.undo else 1,
            duration_ms=body.duration_ms,
        )
    return track_frame_out(found)


def _drawn_over(known: TrackFrame | None) -> dict[str, str]:
    """The mask that was in a frame before anything was drawn, which clearing brings back."""
    if known is not None and known.kind == "confirmed" and known.prompts is not None:
        return _own_base(known)
    return _base(known)


@router.post("/tracks/{track_id}/absent")
def post_absent(studio: TheState, user: AnyUser, track_id: Key, body: FrameRange) -> TrackOut:
    """Say that a track's object is not seen in these frames."""
    mark_absent(studio.store, track_id, user_id=user.id, first=body.first, last=body.last)
    return track_out(get_track(studio.store, track_id))


@router.delete("/tracks/{track_id}/frames")
def drop_frames(
    studio: TheState, user: AnyUser, track_id: Key, first: FrameQuery, last: FrameQuery
) -> Page[TrackFrameOut]:
    """Clear a track in these frames; one alone goes back to the mask before it was prompted."""
    left = clear_frames(studio.store, track_id, user_id=user.id, first=first, last=last)
    return Page(items=tuple(track_frame_out(one) for one in left), next_after=None)


@router.post("/tracks/{track_id}/interpolate")
async def post_interpolate(
    studio: TheState, user: AnyUser, track_id: Key, body: InterpolateIn
) -> InterpolatedOut:
    """Put masks between the two keyframes around a frame."""
    work = partial(interpolate, studio.store, track_id, body.frame, user_id=user.id, by=body.by)
    waiting = studio.tracking.submit(FILL, work, owner=user.id)
    return InterpolatedOut(num_frames=await asyncio.wrap_future(waiting))


@router.post("/videos/{video_id}/follow", status_code=202)
def post_follow(studio: TheState, user: AnyUser, video_id: Key, body: FollowIn) -> FollowOut:
    """Follow tracks through a video in the background; results are stored every few frames."""
    job = follow_tracks(
        studio.store,
        video_id,
        user_id=user.id,
        start=body.start,
        stop=body.stop,
        reverse=body.reverse,
        track_ids=body.track_ids,
        non_overlapping=body.non_overlapping,
    )
    _wake(studio)
    return follow_out(job)


@router.get("/videos/{video_id}/follow")
def get_follow(studio: TheState, _user: AnyUser, video_id: Key) -> FollowOut:
    """How far the latest following of a video is."""
    return follow_out(latest_following(studio.store, video_id))


@router.post("/videos/{video_id}/follow/stop")
def post_stop(studio: TheState, user: AnyUser, video_id: Key) -> FollowOut:
    """Stop following; what was stored stays."""
    return follow_out(stop_following(studio.store, video_id, user_id=user.id))


def _wake(studio: ServerState) -> None:
    """Start the process that follows now, not at its next check."""
    studio.background.submit(0, studio.followers.check)
