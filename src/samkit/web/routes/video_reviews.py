"""Routes for submitting and reviewing videos."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from samkit.dataengine import (
    DAY_MS,
    Page,
    accept_video,
    return_video,
    submit_video,
    take_video_back,
    video_reviews,
)
from samkit.web.routing import Key, new_router
from samkit.web.schemas import AtVersion, VerdictOut
from samkit.web.sign_in import AnyUser, Reviewer
from samkit.web.state import TheState
from samkit.web.verdicts import verdicts_page
from samkit.web.video_schemas import (
    ReturnVideo,
    VideoLeaseOut,
    VideoOut,
    video_lease_out,
    video_out,
)

router = new_router()


@router.post("/videos/{video_id}/submit")
def submit(
    studio: TheState,
    user: AnyUser,
    video_id: Key,
    duration_ms: Annotated[int, Query(ge=0, le=DAY_MS)] = 0,
) -> VideoOut:
    """Submit a video that one holds; the duration is the time since the last prompt or stroke."""
    return video_out(submit_video(studio.store, video_id, user.id, duration_ms=duration_ms))


@router.post("/videos/{video_id}/take_back")
def take_submission_back(studio: TheState, user: AnyUser, video_id: Key) -> VideoLeaseOut:
    """Take back one's submission of a video, while nobody has judged it, and take the video."""
    return video_lease_out(take_video_back(studio.store, video_id, user.id))


@router.post("/videos/{video_id}/accept")
def accept(studio: TheState, user: Reviewer, video_id: Key, body: AtVersion) -> VideoOut:
    """Accept a video's tracks."""
    return video_out(accept_video(studio.store, video_id, user.id, version=body.version))


@router.post("/videos/{video_id}/return")
def send_back(studio: TheState, user: Reviewer, video_id: Key, body: ReturnVideo) -> VideoOut:
    """Return a video to be worked on again, with a comment."""
    returned = return_video(
        studio.store, video_id, user.id, version=body.version, comment=body.comment
    )
    return video_out(returned)


@router.get("/videos/{video_id}/reviews")
def get_reviews(studio: TheState, _user: AnyUser, video_id: Key) -> Page[VerdictOut]:
    """List when a video was submitted, and the verdicts on it, oldest first."""
    return verdicts_page(studio.store, video_reviews(studio.store, video_id))
