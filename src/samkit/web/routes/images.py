"""Routes for images: lists, uploads, and how many people annotate one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import HTTPException, Query, Request
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import (
    ImageOrder,
    ImagePlace,
    Page,
    check_name,
    get_image,
    get_project,
    image_place,
    receive_image,
    search_images,
    set_num_annotators,
    upload_folder,
)
from samkit.formats import MAX_TILED_PIXELS
from samkit.web.routing import After, Key, Limit, new_file_router, new_router
from samkit.web.schemas import MAX_INT32, ImageOut, NumAnnotators, page_of
from samkit.web.searching import TheSearch
from samkit.web.sign_in import Admin, AnyUser, Reviewer
from samkit.web.state import TheState
from samkit.web.uploads import receive_file

router = new_router()
files = new_file_router()

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")
ANY_TYPE = "application/octet-stream"
BODY = {"schema": {"type": "string", "format": "binary"}}


@router.get("/projects/{project_id}/images")
def get_images(
    studio: TheState,
    _user: AnyUser,
    project_id: Key,
    *,
    after: After = 0,
    limit: Limit = 100,
    search: TheSearch,
    order: ImageOrder = "added",
    descending: bool = False,
    skip: Annotated[int, Query(ge=0, le=MAX_INT32)] = 0,
) -> Page[ImageOut]:
    """Search images of a project, in an order, without the first `skip` ones that are found.

    `name` is a part of their path, `class_id` the class of one of their masks, and `user_id` a
    person who made one of these, or submitted the image.
    """
    get_project(studio.store, project_id)
    page = search_images(
        studio.store,
        project_id,
        search,
        order=order,
        descending=descending,
        after=after,
        limit=limit,
        skip=skip,
    )
    return page_of(ImageOut, page.items, page.next_after)


@files.post(
    "/projects/{project_id}/images",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(IMAGE_TYPES, BODY),
        }
    },
)
async def upload_image(
    request: Request,
    studio: TheState,
    _admin: Admin,
    project_id: Key,
    name: Annotated[str, Query(max_length=200)],
) -> ImageOut:
    """Upload an image to the project's folder; the body is the file."""
    kind = request.headers.get("content-type", ANY_TYPE).partition(";")[0].strip().lower()
    if kind not in (*IMAGE_TYPES, ANY_TYPE):
        raise HTTPException(415, f"an image must be one of {', '.join(IMAGE_TYPES)}")
    config = studio.config
    folder = await run_in_threadpool(upload_folder, studio.store, project_id)
    check_name(name)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".samkit.") as temporary:
        received = Path(temporary.name)
        await receive_file(request, received, max_bytes=config.max_upload_bytes)
        image = await run_in_threadpool(
            receive_image,
            studio.store,
            project_id,
            received,
            name,
            max_pixels=MAX_TILED_PIXELS,
        )
    return ImageOut.model_validate(image)


@router.get("/images/{image_id}")
def get_one_image(studio: TheState, _user: AnyUser, image_id: Key) -> ImageOut:
    """Return an image."""
    return ImageOut.model_validate(get_image(studio.store, image_id))


@router.get("/images/{image_id}/place")
def get_place(studio: TheState, _user: AnyUser, image_id: Key) -> ImagePlace:
    """Where an image is in its project, and how many of the project's are finished."""
    return image_place(studio.store, image_id)


@router.put("/images/{image_id}/num_annotators")
def put_num_annotators(
    studio: TheState, user: Reviewer, image_id: Key, body: NumAnnotators
) -> ImageOut:
    """Set how many people should annotate an image independently."""
    image = set_num_annotators(studio.store, image_id, body.num_annotators, user_id=user.id)
    return ImageOut.model_validate(image)
