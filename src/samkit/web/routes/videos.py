"""Routes for videos: lists, frames, and who holds them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Path, Request, Response
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import (
    Page,
    Review,
    add_video,
    add_videos,
    get_project,
    get_video,
    give_video_back,
    list_videos,
    take_video,
    user_names,
    video_lease_of,
    video_statistics,
)
from samkit.web.pictures import Picture
from samkit.web.routing import After, Key, Limit, new_router
from samkit.web.schemas import MAX_INT32, Holder
from samkit.web.sign_in import Admin, AnyUser
from samkit.web.state import TheState
from samkit.web.video_schemas import (
    NewVideo,
    VideoCountOut,
    VideoHolderOut,
    VideoLeaseOut,
    VideoOut,
    VideoScanOut,
    VideoStatisticsOut,
    video_lease_out,
    video_out,
)

router = new_router()

FrameNumber = Annotated[int, Path(ge=0, le=MAX_INT32)]
# Browsers ask each time whether they may still show it: after signing out they may not.
KEEP_FRAME = "private, no-cache"


@router.get("/projects/{project_id}/videos")
def get_videos(
    studio: TheState,
    _user: AnyUser,
    project_id: Key,
    *,
    review: Review | None = None,
    after: After = 0,
    limit: Limit = 100,
) -> Page[VideoOut]:
    """List the videos of a project, or those in a review state."""
    page = list_videos(studio.store, project_id, review=review, after=after, limit=limit)
    return Page(items=tuple(video_out(one) for one in page.items), next_after=page.next_after)


@router.post("/projects/{project_id}/videos", status_code=201)
def post_video(studio: TheState, _admin: Admin, project_id: Key, body: NewVideo) -> VideoOut:
    """Add a video file, a stack or a folder of frames below the project's root."""
    with studio.exchanging:
        return video_out(add_video(studio.store, project_id, body.path))


@router.post("/projects/{project_id}/videos/scan")
def scan_videos(studio: TheState, _admin: Admin, project_id: Key) -> VideoScanOut:
    """Add all new video files below the project's root, each of which is read once."""
    with studio.exchanging:
        report = add_videos(studio.store, project_id)
    return VideoScanOut(
        num_added=report.num_added, num_known=report.num_known, faults=list(report.faults)
    )


@router.get("/projects/{project_id}/videos/statistics")
def get_statistics(studio: TheState, _user: AnyUser, project_id: Key) -> VideoStatisticsOut:
    """Count what is in the videos of each review state, and the work; it looks at all masks."""
    get_project(studio.store, project_id)
    counts = video_statistics(studio.store, project_id)
    return VideoStatisticsOut(
        states={state: VideoCountOut.model_validate(one) for state, one in counts.items()}
    )


@router.get("/videos/{video_id}")
def get_one_video(studio: TheState, _user: AnyUser, video_id: Key) -> VideoOut:
    """Return a video."""
    return video_out(get_video(studio.store, video_id))


@router.get(
    "/videos/{video_id}/frames/{frame}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "the frame"},
        304: {"description": "the browser has it already"},
    },
)
async def get_frame(
    request: Request,
    studio: TheState,
    user: AnyUser,
    video_id: Key,
    frame: FrameNumber,
    *,
    max_side: Literal["128", "256", "512", "1024", "2048"] | None = None,
) -> Response:
    """Return a frame as JPEG, from 0; it is read from the file when it is asked for."""
    video = await run_in_threadpool(get_video, studio.store, video_id)
    headers = {
        "ETag": f'"{video.fingerprint}-{frame}-{max_side or "full"}"',
        "Cache-Control": KEEP_FRAME,
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    picture = studio.frame_pictures.get(headers["ETag"])
    if picture is None:
        side = None if max_side is None else int(max_side)

        def make() -> Picture:
            return studio.frames.picture(video, frame, side)

        picture = await asyncio.wrap_future(studio.reading.submit(0, make, owner=user.id))
        studio.frame_pictures.put(headers["ETag"], picture)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


@router.post("/videos/{video_id}/lease")
def hold_video(request: Request, studio: TheState, user: AnyUser, video_id: Key) -> VideoLeaseOut:
    """Take a video, or renew its lease, which the audit log does not mention."""
    lease = take_video(studio.store, video_id, user.id)
    request.state.routine = not lease.is_new
    return video_lease_out(lease)


@router.get("/videos/{video_id}/lease")
def get_holder(studio: TheState, _user: AnyUser, video_id: Key) -> VideoHolderOut:
    """Who holds a video, and until when."""
    lease = video_lease_of(studio.store, video_id)
    if lease is None:
        return VideoHolderOut(holder=None)
    name = user_names(studio.store)[lease.user_id]
    return VideoHolderOut(holder=Holder(user_name=name, expires_at=lease.expires_at))


@router.delete("/videos/{video_id}/lease", status_code=204)
def let_go(studio: TheState, user: AnyUser, video_id: Key) -> None:
    """Release a video."""
    give_video_back(studio.store, video_id, user.id)
