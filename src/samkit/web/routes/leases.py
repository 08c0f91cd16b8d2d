"""Routes for the images that a person works on: the queue, leases and submissions."""

from __future__ import annotations

from fastapi import Request

from samkit.dataengine import (
    Lease,
    Page,
    get_image,
    get_project,
    give_back,
    lease_of,
    list_submissions,
    take_back,
    take_image,
    take_next,
    upcoming_images,
    user_names,
)
from samkit.web.routing import Key, new_router
from samkit.web.schemas import (
    Holder,
    HolderOut,
    ImageOut,
    LeaseOut,
    NextOut,
    OwnSubmission,
    page_of,
    submission_out,
)
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState

router = new_router()


@router.post("/projects/{project_id}/next")
def take_next_image(studio: TheState, user: AnyUser, project_id: Key) -> NextOut:
    """Take the next image to annotate; null if there is none now."""
    lease = take_next(studio.store, project_id, user.id)
    if lease is not None:
        _encode_ahead(studio, project_id, user.id)
    return NextOut(lease=None if lease is None else _lease_out(lease))


@router.get("/projects/{project_id}/upcoming")
def get_upcoming(studio: TheState, user: AnyUser, project_id: Key) -> Page[ImageOut]:
    """List the images that will likely come next."""
    get_project(studio.store, project_id)
    found = upcoming_images(studio.store, project_id, user.id)
    return page_of(ImageOut, found)


@router.post("/images/{image_id}/lease")
def hold_image(request: Request, studio: TheState, user: AnyUser, image_id: Key) -> LeaseOut:
    """Take an image, or renew its lease, which the audit log does not mention."""
    lease = take_image(studio.store, image_id, user.id)
    request.state.routine = not lease.is_new
    _encode_ahead(studio, lease.image.project_id, user.id)
    return _lease_out(lease)


@router.get("/images/{image_id}/lease")
def get_holder(studio: TheState, _user: AnyUser, image_id: Key) -> HolderOut:
    """Who holds an image, and until when."""
    lease = lease_of(studio.store, image_id)
    if lease is None:
        return HolderOut(holder=None)
    name = user_names(studio.store)[lease.user_id]
    return HolderOut(holder=Holder(user_name=name, expires_at=lease.expires_at))


@router.delete("/images/{image_id}/lease", status_code=204)
def let_go(studio: TheState, user: AnyUser, image_id: Key) -> None:
    """Release an image without submitting it."""
    get_image(studio.store, image_id)
    give_back(studio.store, image_id, user.id)


@router.get("/images/{image_id}/submission")
def get_submission(studio: TheState, user: AnyUser, image_id: Key) -> OwnSubmission:
    """What one has made of an image; null before one has finished it."""
    found = list_submissions(studio.store, image_id)
    own = next((one for one in found if one.user_id == user.id), None)
    return OwnSubmission(submission=None if own is None else submission_out(own, user.name))


@router.post("/images/{image_id}/take_back")
def take_submission_back(studio: TheState, user: AnyUser, image_id: Key) -> LeaseOut:
    """Take back what one has made of an image, while no review has begun, and take the image."""
    return _lease_out(take_back(studio.store, image_id, user.id))


def _lease_out(lease: Lease) -> LeaseOut:
    return LeaseOut(
        image=ImageOut.model_validate(lease.image),
        user_id=lease.user_id,
        expires_at=lease.expires_at,
    )


def _encode_ahead(studio: ServerState, project_id: int, user_id: int) -> None:
    if studio.config.num_ahead:
        ahead = upcoming_images(studio.store, project_id, user_id, limit=studio.config.num_ahead)
        served = None if studio.embedder.model is None else studio.models.served(project_id)
        studio.embedder.encode_ahead(ahead, served)
