"""Routes for decoding in browsers: a model version's decoder, and an image's embedding."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import StoredImage, get_image, get_project
from samkit.errors import ConflictError
from samkit.web.decoders import Part
from samkit.web.embedder import ServedModel
from samkit.web.routing import Key, new_router
from samkit.web.schemas import MAX_INT64, DecoderOut
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState

if TYPE_CHECKING:  # torch takes seconds to import
    from samkit.types import ImageEmbedding

router = new_router()

BINARY = "application/octet-stream"
# Browsers ask each time whether they may still use it: after signing out they may not.
REVALIDATED = "private, no-cache"
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {BINARY: {}}, "description": "the file"},
    304: {"description": "the browser has it already"},
}

VersionId = Annotated[int, Query(ge=1, le=MAX_INT64)]


@router.get("/images/{image_id}/decoder")
async def get_decoder(studio: TheState, _user: AnyUser, image_id: Key) -> DecoderOut:
    """Say which decoder answers prompts on an image, and have it made for browsers.

    `hindrance` is why only the server can answer: it refines clicks, the image is seen by tiles,
    browsers cannot run the model (or a package is missing to convert it), or converting failed.
    """
    image, served = await run_in_threadpool(_find, studio, image_id)
    hindrance = studio.decoders.hindrance(image, served)
    if hindrance is None and not await _made(studio, served):
        hindrance = "failed"
    config = served.predictor.model.config.prompts
    return DecoderOut(
        model_version_id=served.version.id,
        hindrance=hindrance,
        model_side=config.image_size,
        grid_side=config.grid_size,
        num_channels=config.dim,
    )


@router.get("/projects/{project_id}/decoder/{part}", response_class=Response, responses=BYTES)
async def get_decoder_part(
    request: Request,
    studio: TheState,
    _user: AnyUser,
    project_id: Key,
    part: Part,
    model_version_id: VersionId,
) -> Response:
    """Return a part of the decoder that answers in a project, as ONNX.

    `prepare` is for an image or an earlier mask, `decode` for a prompt.
    """
    await run_in_threadpool(get_project, studio.store, project_id)
    served = _served(studio, project_id, model_version_id)
    headers = {"ETag": f'"{served.version.checksum}-{part}"', "Cache-Control": REVALIDATED}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    content = await run_in_threadpool(studio.decoders.read, served, part)
    return Response(content, media_type=BINARY, headers=headers)


@router.get("/images/{image_id}/embedding", response_class=Response, responses=BYTES)
async def get_embedding(
    request: Request,
    studio: TheState,
    _user: AnyUser,
    image_id: Key,
    model_version_id: VersionId,
) -> Response:
    """Return an image's embedding for the model that answers: (C, G, G) little-endian float16."""
    image, _ = await run_in_threadpool(_find, studio, image_id)
    served = _served(studio, image.project_id, model_version_id)
    if studio.decoders.hindrance(image, served) is not None:
        raise ConflictError("prompts on this image are not for browsers to decode")
    encoder = served.predictor.encoder_checksum
    headers = {"ETag": f'"{image.pixels_key}-{encoder}"', "Cache-Control": REVALIDATED}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    waiting = studio.embedder.ask(image, served)
    try:
        encoded = await asyncio.shield(asyncio.wrap_future(waiting))
    finally:
        studio.embedder.give_up(image, waiting, served)
    content = await run_in_threadpool(_half_precision, encoded.embedding)
    return Response(content, media_type=BINARY, headers=headers)


def _half_precision(embedding: ImageEmbedding) -> bytes:
    values = embedding.features.grid[0].half().cpu().numpy()
    return values.astype("<f2").tobytes()


async def _made(studio: ServerState, served: ServedModel) -> bool:
    # Others wait for it, too, when somebody stops waiting.
    return await asyncio.shield(asyncio.wrap_future(studio.decoders.ask(served)))


def _find(studio: ServerState, image_id: int) -> tuple[StoredImage, ServedModel]:
    """An image, and the model that answers in its project."""
    image = get_image(studio.store, image_id)
    return image, studio.models.served(image.project_id)


def _served(studio: ServerState, project_id: int, version_id: int) -> ServedModel:
    """The model that answers in a project, if it is this version.

    Raises:
        ConflictError: it is another one by now.
    """
    served = studio.models.served(project_id)
    if served.version.id != version_id:
        raise ConflictError("another version of the model answers by now")
    return served
