"""REST: embed, predict, text, auto, track; health, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from samkit.serving.access import may_ask
from samkit.serving.bodies import VIDEO_S, image_of, read_body, stored
from samkit.serving.config import ServingConfig
from samkit.serving.errors import NoTextModelError, UnknownImageError
from samkit.serving.interface import Models
from samkit.serving.jobs import AutoJob, EmbedJob, PredictJob, StreamJob, TextJob, TrackJob
from samkit.serving.metrics import CONTENT_TYPE
from samkit.serving.problems import MEDIA_TYPE, problem_line
from samkit.serving.schemas import (
    SETTINGS_OF,
    SHA256,
    AutoRequest,
    EmbedAnswer,
    EmbedRequest,
    Health,
    ModelAnswer,
    PredictAnswer,
    PredictRequest,
    Problem,
    TextRequest,
    TrackRequest,
)
from samkit.serving.wire import to_json

JSON = "application/json"
LINES = "application/x-ndjson"
TENSORS = "application/octet-stream"
MEANINGS = {
    400: "the request cannot be parsed",
    401: "no valid API key",
    403: "sent by a page of another site",
    404: "no embedding of this image is cached: send the image",
    408: "the body did not arrive in time",
    413: "too large",
    415: "no video",
    422: "invalid value",
    429: "the queue is full: try again after Retry-After seconds",
    501: "the server has no text model",
    503: "no worker can answer now: try again after Retry-After seconds",
    504: "not answered in time",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    for status, text in MEANINGS.items()
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a line of JSON for each part; the last one's `type` is end, or problem",
        "content": {LINES: {"schema": {"type": "string"}}},
    }
}

open_router = APIRouter()
router = APIRouter(prefix="/v1", dependencies=[Depends(may_ask)], responses=REFUSALS)


def models_of(request: Request) -> Models:
    """What answers jobs."""
    models: Models = request.app.state.models
    return models


def config_of(request: Request) -> ServingConfig:
    """The server's settings."""
    config: ServingConfig = request.app.state.config
    return config


TheModels = Annotated[Models, Depends(models_of)]
TheConfig = Annotated[ServingConfig, Depends(config_of)]


@open_router.get("/health/live")
async def live() -> Health:
    """Whether the server runs."""
    return Health(status="alive")


@open_router.get("/health/ready", responses={503: REFUSALS[503]})
async def ready(models: TheModels) -> Health:
    """Whether a model can answer."""
    if not models.num_ready:
        raise HTTPException(503, "no worker is ready: try again later")
    return Health(status="ready")


@open_router.get("/metrics", dependencies=[Depends(may_ask)], response_class=Response)
async def metrics(models: TheModels) -> Response:
    """What the server has counted, for Prometheus."""
    return Response(models.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/model")
async def model(models: TheModels, config: TheConfig) -> ModelAnswer:
    """The model that is served, and the server's limits."""
    limits, info = config.limits, models.info
    return ModelAnswer(
        description=dict(info.description),
        encoder_checksum=info.encoder_checksum,
        reads_text=info.reads_text,
        workers_ready=models.num_ready,
        max_queue=limits.max_queue,
        max_image_mb=limits.max_image_mb,
        max_video_mb=limits.max_video_mb,
        timeout_s=limits.timeout_s,
    )


@router.post("/embed", responses={200: {"model": EmbedAnswer}}, openapi_extra=SETTINGS_OF["embed"])
async def embed(request: Request, models: TheModels, config: TheConfig) -> Response:
    """Embed an image, so that requests may name it by its hash."""
    with models.queue.place():
        async with read_body(
            request, EmbedRequest, field="image", max_mb=config.limits.max_image_mb
        ) as body:
            image = await image_of(body, body.settings.image)
        return Response(await models.ask(EmbedJob(image=image)), media_type=JSON)


@router.get(
    "/embeddings/{image}",
    response_class=Response,
    responses={200: {"content": {TENSORS: {}}, "description": "`ImageEmbedding.load` reads it"}},
)
async def embedding(
    image: Annotated[str, Path(pattern=SHA256)], models: TheModels, config: TheConfig
) -> Response:
    """A cached embedding, as a safetensors file."""
    content = None
    if config.cache_folder is not None:
        content = await run_in_threadpool(
            read_embedding, config, image, models.info.encoder_checksum
        )
    if content is None:
        raise UnknownImageError(
            f"no embedding of the image {image[:12]}... is cached: send the image"
        )
    return Response(content, media_type=TENSORS)


def read_embedding(config: ServingConfig, image: str, encoder_checksum: str) -> bytes | None:
    """The file of a cached embedding; None if there is none."""
    from samkit.predict import EmbeddingCache

    assert config.cache_folder is not None
    path = EmbeddingCache(config.cache_folder).path(image, encoder_checksum)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@router.post(
    "/predict", responses={200: {"model": PredictAnswer}}, openapi_extra=SETTINGS_OF["predict"]
)
async def predict(request: Request, models: TheModels, config: TheConfig) -> Response:
    """Answer points, boxes and masks: for each prompt its candidate masks."""
    with models.queue.place():
        async with read_body(
            request, PredictRequest, field="image", max_mb=config.limits.max_image_mb
        ) as body:
            asked: PredictRequest = body.settings
            image = await image_of(body, asked.image)
        job = PredictJob(
            image=image,
            parts={
                "points": asked.points,
                "labels": asked.labels,
                "boxes": asked.boxes,
                "mask_logits": None
                if asked.mask_logits is None
                else asked.mask_logits.model_dump(),
            },
            masks=None if asked.masks is None else tuple(asked.masks),
            multimask=asked.multimask,
            refine=asked.refine,
            fine=asked.fine,
            mask_format=asked.mask_format,
            with_logits=asked.logits,
        )
        return Response(await models.ask(job), media_type=JSON)


@router.post("/text", responses={200: {"model": PredictAnswer}}, openapi_extra=SETTINGS_OF["text"])
async def find_text(request: Request, models: TheModels, config: TheConfig) -> Response:
    """Find what words name: an answer for each thing found, or for each phrase."""
    if not models.info.reads_text:
        raise NoTextModelError("this server has no text model: start it with --text-model")
    with models.queue.place():
        async with read_body(
            request, TextRequest, field="image", max_mb=config.limits.max_image_mb
        ) as body:
            asked: TextRequest = body.settings
            image = await image_of(body, asked.image)
        job = TextJob(
            image=image,
            text=tuple(asked.text),
            text_thresh=asked.text_thresh,
            multimask=asked.multimask,
            mask_format=asked.mask_format,
        )
        return Response(await models.ask(job), media_type=JSON)


@router.post("/auto", response_class=Response, responses=STREAM, openapi_extra=SETTINGS_OF["auto"])
async def auto(request: Request, models: TheModels, config: TheConfig) -> Response:
    """Find masks of everything; lines: begin, a mask each, end."""
    async with AsyncExitStack() as stack:
        stack.enter_context(models.queue.place())
        body = await stack.enter_async_context(
            read_body(request, AutoRequest, field="image", max_mb=config.limits.max_image_mb)
        )
        asked: AutoRequest = body.settings
        job = AutoJob(
            image=await image_of(body, None),
            config=asked.config(),
            mask_format=asked.mask_format,
        )
        return await streamed(models, job, stack)


@router.post(
    "/track", response_class=Response, responses=STREAM, openapi_extra=SETTINGS_OF["track"]
)
async def track(request: Request, models: TheModels, config: TheConfig) -> Response:
    """Follow objects through a video; lines: begin, a frame each, end."""
    async with AsyncExitStack() as stack:
        stack.enter_context(models.queue.place())
        body = await stack.enter_async_context(
            read_body(
                request,
                TrackRequest,
                field="video",
                max_mb=config.limits.max_video_mb,
                within_s=VIDEO_S,
            )
        )
        asked: TrackRequest = body.settings
        job = TrackJob(
            path=await stack.enter_async_context(stored(body)),
            prompts=tuple(prompt.arguments() for prompt in asked.prompts),
            reverse=asked.reverse,
            non_overlapping=asked.non_overlapping,
            stop=asked.stop,
            mask_format=asked.mask_format,
        )
        return await streamed(models, job, stack)


async def streamed(models: Models, job: StreamJob, stack: AsyncExitStack) -> Response:
    """The answer to a job line by line, whose first line is there; errors before it have a status.

    Args:
        stack: what is held until the stream has ended.
    """
    lines = await stack.enter_async_context(aclosing(models.stream(job)))
    return HeldStream(lines, await anext(lines), stack.pop_all())


class HeldStream(StreamingResponse):
    """A stream that holds things until it has ended, also if its reader leaves before it begins."""

    def __init__(self, lines: AsyncIterator[bytes], first: bytes, held: AsyncExitStack) -> None:
        super().__init__(self._all(lines, first), media_type=LINES)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)

    async def _all(self, lines: AsyncIterator[bytes], first: bytes) -> AsyncIterator[bytes]:
        yield first
        try:
            async for line in lines:
                yield line
        except Exception as error:  # noqa: BLE001 - the status has been sent
            yield to_json(problem_line(error)) + b"\n"
