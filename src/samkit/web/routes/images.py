"""Routes for images: lists, pictures, uploads and leases."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import (
    ImageOrder,
    ImagePlace,
    Lease,
    Page,
    StoredImage,
    check_name,
    get_image,
    get_project,
    give_back,
    image_place,
    lease_of,
    list_submissions,
    open_image_file,
    receive_image,
    search_images,
    set_num_annotators,
    take_back,
    take_image,
    take_next,
    upcoming_images,
    upload_folder,
    user_names,
)
from samkit.errors import MissingError
from samkit.formats import MAX_TILED_PIXELS, TILE_SIDE, Pyramid, SeenValues, read_values
from samkit.web import thumbnails
from samkit.web.image_values import ValueFacts, Values, block_of, value_facts
from samkit.web.pictures import JPEG, SMALL_SIDE, Picture, show, show_tiles
from samkit.web.routing import After, Key, Limit, TilePlace, new_file_router, new_router
from samkit.web.schemas import (
    MAX_INT32,
    Holder,
    HolderOut,
    ImageOut,
    LeaseOut,
    NextOut,
    NumAnnotators,
    OwnSubmission,
    TilesOut,
    ValuesOut,
    page_of,
    submission_out,
)
from samkit.web.searching import TheSearch
from samkit.web.sign_in import Admin, AnyUser, Reviewer
from samkit.web.state import ServerState, TheState
from samkit.web.tile_values import (
    seen_by,
    tiled_facts,
    tiled_values,
    window_levels,
    window_tile,
)
from samkit.web.tiles import OPENED, SHOWN
from samkit.web.uploads import receive_file

router = new_router()
files = new_file_router()

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")
ANY_TYPE = "application/octet-stream"
BODY = {"schema": {"type": "string", "format": "binary"}}
MAX_RANGE = 80
MAX_BLOCK = 256  # pixels
LARGE, SMALL = 0, 1  # priorities of pictures
# Browsers ask each time whether they may still show it: after signing out they may not.
KEEP_IMAGE = "private, no-cache"


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


@router.get(
    "/images/{image_id}/content",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/png": {}}, "description": "the picture"},
        304: {"description": "the browser has it already"},
    },
)
async def get_content(
    request: Request,
    studio: TheState,
    _user: AnyUser,
    image_id: Key,
    max_side: Literal["128", "256", "512", "1024", "2048", "4096"] | None = None,
    value_range: Annotated[str, Query(max_length=MAX_RANGE)] | None = None,
) -> Response:
    """Return an upright picture of an image: JPEG if scaled down or from a lossy file, else PNG.

    `value_range` says which values become black and white, such as 0,4095: without it the
    project's; images of 8 bits are the same with each.
    """
    own = await run_in_threadpool(get_image, studio.store, image_id)
    image = own if value_range is None else seen_by(own, value_range)
    headers = {
        "ETag": f'"{image.pixels_key}-{max_side or "full"}"',
        "Cache-Control": KEEP_IMAGE,
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    side = None if max_side is None else int(max_side)

    small = side is not None and side <= thumbnails.MAX_SIDE
    known = studio.thumbnails.get(headers["ETag"]) if small else None
    if known is not None:
        return Response(known.content, media_type=known.media_type, headers=headers)

    if side is not None and studio.tiles.is_tiled(image):
        pyramid: Pyramid | SeenValues
        if value_range is not None and await run_in_threadpool(studio.tiles.is_deep, image):
            pyramid = await window_levels(studio, image)
        else:
            pyramid = await _pyramid_of(studio, own, SHOWN if small else OPENED)
        picture = await run_in_threadpool(show_tiles, pyramid, side)
        if small:
            studio.thumbnails.put(headers["ETag"], picture)
        return Response(picture.content, media_type=picture.media_type, headers=headers)

    def make() -> Picture:
        with open_image_file(studio.store, image) as file:
            return show(
                file,
                image.path,
                page=image.page,
                value_range=image.value_range,
                max_side=side,
                max_pixels=studio.config.max_pixels,
            )

    # An image that somebody opens goes before the thumbnails of galleries.
    priority = SMALL if side is not None and side <= SMALL_SIDE else LARGE
    picture = await asyncio.wrap_future(studio.pictures.submit(priority, make))
    if small:
        studio.thumbnails.put(headers["ETag"], picture)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


@router.get("/images/{image_id}/tiles")
async def get_tiles(studio: TheState, _user: AnyUser, image_id: Key) -> TilesOut:
    """Return the levels of an image that is shown by tiles; the first call waits for them.

    Level 0 has the image's own size, each further one half of the one before.
    """
    image = await run_in_threadpool(get_image, studio.store, image_id)
    pyramid = await _pyramid_of(studio, image)
    has_values = await run_in_threadpool(studio.tiles.has_values, image)
    return TilesOut(tile_side=TILE_SIDE, sizes_wh=pyramid.sizes_wh, has_values=has_values)


@router.get(
    "/images/{image_id}/tiles/{level}/{x}/{y}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "the tile"},
        304: {"description": "the browser has it already"},
    },
)
async def get_tile(
    request: Request,
    studio: TheState,
    _user: AnyUser,
    image_id: Key,
    *,
    level: TilePlace,
    x: TilePlace,
    y: TilePlace,
    value_range: Annotated[str, Query(max_length=MAX_RANGE)] | None = None,
) -> Response:
    """Return a tile of an upright image: of column x and row y at a level.

    `value_range` says which values become black and white, such as 0,4095; the first tile by
    another range than the project's waits until the image's values are read, once. Images of 8
    bits are the same with each.
    """
    image = await run_in_threadpool(get_image, studio.store, image_id)
    window = None if value_range is None else seen_by(image, value_range)
    if window is not None:
        is_tiled = studio.tiles.is_tiled(image)
        if not is_tiled or not await run_in_threadpool(studio.tiles.is_deep, image):
            window = None
    headers = {
        "ETag": f'"{(window or image).pixels_key}-{level}-{x}-{y}"',
        "Cache-Control": KEEP_IMAGE,
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if window is None:
        pyramid = await _pyramid_of(studio, image)
        tile = await run_in_threadpool(pyramid.tile, level, x, y)
    else:
        shown = await window_tile(studio, window, (level, x, y))
        tile = None if shown is None else shown.content
    if tile is None:
        raise MissingError(f"{image.path} has no tile {x}, {y} at level {level}")
    return Response(tile, media_type=JPEG, headers=headers)


async def _pyramid_of(studio: ServerState, image: StoredImage, priority: int = OPENED) -> Pyramid:
    # Others may wait for it, too, when somebody stops waiting.
    return await asyncio.shield(asyncio.wrap_future(studio.tiles.ask(image, priority)))


@router.get("/images/{image_id}/values")
async def get_values(
    studio: TheState,
    _user: AnyUser,
    image_id: Key,
    x: Annotated[int, Query(ge=0, le=MAX_INT32)],
    y: Annotated[int, Query(ge=0, le=MAX_INT32)],
    side: Annotated[int, Query(ge=1, le=MAX_BLOCK)] = 1,
) -> ValuesOut:
    """Return values of a block of pixels as the image's file has them, row by row.

    Null stands for what is not a number.
    """
    image = await run_in_threadpool(get_image, studio.store, image_id)
    if studio.tiles.is_tiled(image):
        block, is_exact = await tiled_values(studio, image, x, y, side)
        return ValuesOut(x=x, y=y, is_exact=is_exact, values=block_of(block, 0, 0, side))
    values = await _values_of(studio, image)
    return ValuesOut(x=x, y=y, is_exact=True, values=block_of(values, x, y, side))


@router.get("/images/{image_id}/values/facts")
async def get_value_facts(studio: TheState, _user: AnyUser, image_id: Key) -> ValueFacts:
    """Return what values an image has, and which of them are seen as black and white."""
    image = await run_in_threadpool(get_image, studio.store, image_id)
    if studio.tiles.is_tiled(image):
        return await tiled_facts(studio, image)
    values = await _values_of(studio, image)
    return await run_in_threadpool(value_facts, values, image.path, image.value_range)


async def _values_of(studio: ServerState, image: StoredImage) -> Values:
    """An image's values, which are decoded once for many questions."""

    def read() -> Values:
        with open_image_file(studio.store, image) as file:
            return read_values(
                file, image.path, page=image.page, max_pixels=studio.config.max_pixels
            )

    def make() -> Values:
        return studio.values.get(image.sha256, read)

    return await asyncio.wrap_future(studio.pictures.submit(SMALL, make))


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


@router.put("/images/{image_id}/num_annotators")
def put_num_annotators(
    studio: TheState, user: Reviewer, image_id: Key, body: NumAnnotators
) -> ImageOut:
    """Set how many people should annotate an image independently."""
    image = set_num_annotators(studio.store, image_id, body.num_annotators, user_id=user.id)
    return ImageOut.model_validate(image)


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
