"""Routes for what an image shows: pictures, tiles, and the values of its file."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import StoredImage, get_image, open_image_file
from samkit.errors import MissingError
from samkit.formats import TILE_SIDE, Pyramid, SeenValues, read_values
from samkit.web import thumbnails
from samkit.web.image_values import ValueFacts, Values, block_of, value_facts
from samkit.web.pictures import JPEG, SMALL_SIDE, Picture, show, show_tiles
from samkit.web.routing import Key, TilePlace, new_router
from samkit.web.schemas import MAX_INT32, TilesOut, ValuesOut
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState
from samkit.web.tile_values import (
    seen_by,
    tiled_facts,
    tiled_values,
    window_levels,
    window_tile,
)
from samkit.web.tiles import OPENED, SHOWN

router = new_router()

MAX_RANGE = 80
MAX_BLOCK = 256  # pixels
LARGE, SMALL = 0, 1  # priorities of pictures
# Browsers ask each time whether they may still show it: after signing out they may not.
KEEP_IMAGE = "private, no-cache"


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
