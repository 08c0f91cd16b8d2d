"""WebSocket for prompting one image: clicks go first, and only the newest preview is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import StoredImage, get_image, may_see
from samkit.errors import DatabaseError, ImageError, PromptError, SamkitError, StoreError
from samkit.formats import Region
from samkit.http import describe_validation, is_own_origin, one_line, within
from samkit.web.embedder import ServedModel
from samkit.web.schemas import MAX_POINTS
from samkit.web.seen import Seen
from samkit.web.sign_in import find_sign_in
from samkit.web.state import ServerState, state_of

if TYPE_CHECKING:
    from samkit.arrays import RgbImage
    from samkit.formats import Pyramid
    from samkit.predict import Predictor
    from samkit.types import MaskPrediction

logger = logging.getLogger(__name__)
router = APIRouter()

# Closing codes. A page comes back after CANNOT only.
NOT_SIGNED_IN, FORBIDDEN, NO_IMAGE, UNREADABLE, CANNOT = 4401, 4403, 4404, 4422, 1011
CLICK, PREVIEW = 0, 1  # priorities
ANSWERS_CACHED = 8  # whose logits a later prompt may continue from; 0.8 MB each
MAX_WAITING = 32  # unanswered prompts of one connection
PREVIEW_SIDE = 512
# A sign-in that ended elsewhere is noticed by the first message after this time.
CHECK_EVERY_S = 10.0
VERSION_EVERY_S = 2.0  # so often an idle connection looks for another model version

Work: TypeAlias = Callable[[], dict[str, Any]]  # gives an answer

Number = Annotated[float, Field(allow_inf_nan=False)]
PointList = Annotated[list[tuple[Number, Number]], Field(max_length=MAX_POINTS)]
LabelList = Annotated[list[Literal[0, 1]], Field(max_length=MAX_POINTS)]
MessageId = Annotated[int, Field(ge=0, le=2**53)]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: MessageId
    points: PointList = []
    labels: LabelList = []
    # Of an image by tiles: what the model shall see of it, in pixels. It must have all prompts.
    view: tuple[Number, Number, Number, Number] | None = None


class Candidate(BaseModel):
    """Refers to one mask of an earlier answer."""

    id: MessageId
    candidate: Annotated[int, Field(ge=0, le=2)]


class Prompt(Message):
    type: Literal["prompt"]
    box: tuple[Number, Number, Number, Number] | None = None
    continue_from: Candidate | None = None
    multimask: bool = True


class Preview(Message):
    type: Literal["preview"]


MESSAGES: TypeAdapter[Prompt | Preview] = TypeAdapter(
    Annotated[Prompt | Preview, Field(discriminator="type")]
)


@router.websocket("/api/images/{image_id}/prompt")
async def prompt_image(socket: WebSocket, image_id: int) -> None:
    """Answer prompts on an image until the page closes the connection."""
    studio = state_of(socket)
    # Accepted first, since a browser does not tell its page why a connection was refused.
    await socket.accept()
    by_token = "authorization" in socket.headers  # which no other site can make a browser send
    if not by_token and not is_own_origin(socket.headers, required=True):
        await socket.close(FORBIDDEN)
        return
    current = await run_in_threadpool(find_sign_in, socket, studio)
    if current is None:
        await socket.close(NOT_SIGNED_IN)
        return
    try:
        image = await run_in_threadpool(get_image, studio.store, image_id)
    except DatabaseError:
        await socket.close(CANNOT)
        return
    except StoreError:
        await socket.close(NO_IMAGE)
        return
    if not await run_in_threadpool(may_see, studio.store, current.user, "image", image_id):
        await socket.close(NO_IMAGE)
        return
    with suppress(WebSocketDisconnect):
        await Conversation(socket, studio, image, user_id=current.user.id).run()


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Logits (M, S, S) of an answer, the model that gave it, and what it saw of the image."""

    logits: Any
    served: ServedModel
    seen: Seen


class Conversation:
    """One page's connection to one image."""

    def __init__(
        self, socket: WebSocket, studio: ServerState, image: StoredImage, *, user_id: int
    ) -> None:
        self._socket = socket
        self._studio = studio
        self._image = image
        self._user_id = user_id
        self._prompts: deque[tuple[Prompt, float]] = deque()  # and their arrival times
        self._preview: Preview | None = None
        self._news = asyncio.Event()
        self._pyramid: Pyramid | None = None  # of an image by tiles
        self._seen: tuple[str, Seen] | None = None  # by the encoder asked last
        self._answers: OrderedDict[int, Answered] = OrderedDict()  # by the prompt's id
        self._checked_at = time.monotonic()
        self._announced: int | None = None  # the model version that the page knows to answer

    async def run(self) -> None:
        """Read and answer messages until the connection ends."""
        answering = asyncio.create_task(self._answer_all())
        try:
            await self._read_all()
        finally:
            answering.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect):
                await answering

    async def _read_all(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            if not await self._is_signed_in():
                await self._socket.close(NOT_SIGNED_IN)
                return
            text = received.get("text")
            try:
                message = MESSAGES.validate_json(text if text is not None else b"")
            except ValidationError as error:
                await self._send_error(None, describe_validation(error.errors()))
                continue
            self._studio.activity.note()
            if isinstance(message, Preview):
                self._preview = message  # replaces an older one
            elif len(self._prompts) < MAX_WAITING:
                self._prompts.append((message, time.perf_counter()))
            else:
                await self._send_error(message.id, "too many prompts are waiting for an answer")
            self._news.set()

    async def _is_signed_in(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return True
        self._checked_at = now
        return await run_in_threadpool(find_sign_in, self._socket, self._studio) is not None

    async def _answer_all(self) -> None:
        try:
            encode_ms = await self._get_ready()
        except Exception as error:
            if not isinstance(error, SamkitError):
                logger.exception("encoding %s", self._image.path)
            if is_of_image(error):
                await self._send({"type": "unreadable", "detail": one_line(str(error))})
                await self._socket.close(UNREADABLE)
            else:
                await self._send_error(None, describe(error))
                await self._socket.close(CANNOT)
            return
        self._announced = self._studio.models.served(self._image.project_id).version.id
        await self._send(
            {
                "type": "ready",
                "encode_ms": round(encode_ms, 1),
                "model_version_id": self._announced,
            }
        )
        while True:
            if self._prompts:
                prompt, received_at = self._prompts.popleft()
                prepare = partial(self._prepare_prompt, prompt, received_at)
                await self._answer(prompt.id, CLICK, prepare)
                continue
            preview, self._preview = self._preview, None
            if preview is not None:
                await self._answer(preview.id, PREVIEW, partial(self._prepare_preview, preview))
                continue
            self._news.clear()
            try:
                await within(VERSION_EVERY_S, self._news.wait())
            except TimeoutError:
                await self._announce_version()

    async def _announce_version(self) -> None:
        """Tell the page, which may decode prompts itself, that another model version answers."""
        version = self._studio.models.served(self._image.project_id).version.id
        if version != self._announced:
            self._announced = version
            await self._send({"type": "version", "model_version_id": version})

    async def _get_ready(self) -> float:
        """Have the image encoded, or its tiles made; return the milliseconds to encode."""
        tiles, embedder = self._studio.tiles, self._studio.embedder
        if tiles.is_tiled(self._image):
            making = tiles.ask(self._image)
            await self._send({"type": "state", "encoded": making.done()})
            self._pyramid = await asyncio.shield(asyncio.wrap_future(making))
            await asyncio.shield(asyncio.wrap_future(embedder.loading()))
            embedder.served()  # or why it is not there
            return 0.0
        served = self._served_if_loaded()
        waiting = embedder.ask(self._image, served)
        try:
            await self._send({"type": "state", "encoded": waiting.done()})
            encoded = await asyncio.shield(asyncio.wrap_future(waiting))
        finally:
            embedder.give_up(self._image, waiting, served)
        predictor = (served or embedder.served()).predictor
        self._seen = (predictor.encoder_checksum, Seen(encoded=encoded, region=None))
        return encoded.encode_ms

    def _served_if_loaded(self) -> ServedModel | None:
        """The model that answers in the project; None until the server's own is loaded."""
        if self._studio.embedder.model is None:
            return None
        return self._studio.models.served(self._image.project_id)

    async def _seen_by(self, served: ServedModel, message: Message) -> Seen:
        """What a model sees of the image: its encoder may be another one than a moment ago."""
        encoder = served.predictor.encoder_checksum
        region = None
        if self._pyramid is not None:
            if message.view is None:
                raise PromptError("a prompt on an image by tiles needs the part that is in view")
            region = Region.of(message.view, self._pyramid.sizes_wh)
        if self._seen is not None and (encoder, region) == (self._seen[0], self._seen[1].region):
            return self._seen[1]
        embedder = self._studio.embedder
        waiting = embedder.ask(self._image, served, region)
        try:
            encoded = await asyncio.shield(asyncio.wrap_future(waiting))
        finally:
            embedder.give_up(self._image, waiting, served, region)
        seen = Seen(encoded=encoded, region=region)
        self._seen = (encoder, seen)
        return seen

    async def _prepare_prompt(self, prompt: Prompt, received_at: float) -> Work:
        """Find what answers a prompt.

        A draft goes on with the model and the embedding that it began with, whatever has been
        learned meanwhile.
        """
        if prompt.continue_from is None:
            served = self._studio.models.served(self._image.project_id)
            seen = await self._seen_by(served, prompt)
            return partial(self._masks, seen, served, None, prompt, received_at)
        earlier = self._answers.get(prompt.continue_from.id)
        if earlier is None or prompt.continue_from.candidate >= len(earlier.logits):
            raise PromptError("continue_from must be a mask of a recent answer")
        logits = earlier.logits[prompt.continue_from.candidate]
        return partial(self._masks, earlier.seen, earlier.served, logits, prompt, received_at)

    async def _prepare_preview(self, preview: Preview) -> Work:
        """Find what answers a preview."""
        served = self._studio.models.served(self._image.project_id)
        return partial(self._preview_mask, await self._seen_by(served, preview), served, preview)

    async def _answer(
        self, number: int, priority: int, prepare: Callable[[], Coroutine[Any, Any, Work]]
    ) -> None:
        try:
            work = await prepare()
            waiting = self._studio.prompts.submit(priority, work, owner=self._user_id)
            answer = await asyncio.wrap_future(waiting)
        except Exception as error:
            if not isinstance(error, SamkitError):
                logger.exception("a prompt on %s", self._image.path)
            await self._send_error(number, describe(error))
        else:
            await self._send(answer)

    def _masks(
        self,
        seen: Seen,
        served: ServedModel,
        earlier: Any,
        prompt: Prompt,
        received_at: float,
    ) -> dict[str, Any]:
        """Answer a prompt, from earlier logits if any; runs on a thread of the pool."""
        prediction = self._predict(served.predictor, seen, prompt, earlier)
        self._answers[prompt.id] = Answered(logits=prediction.logits, served=served, seen=seen)
        self._answers.move_to_end(prompt.id)
        while len(self._answers) > ANSWERS_CACHED:
            self._answers.popitem(last=False)
        candidates = zip(
            prediction.rles(), prediction.iou_pred, prediction.stability().tolist(), strict=True
        )
        masks = [
            {
                "rle": seen.mask(rle, self._image.size_hw),
                "iou_pred": float(iou_pred),
                "stability": stability,
            }
            for rle, iou_pred, stability in candidates
        ]
        return {
            "type": "masks",
            "id": prompt.id,
            "model_version_id": served.version.id,
            "ms": round((time.perf_counter() - received_at) * 1000, 1),
            "masks": masks,
            "best": int(prediction.iou_pred.argmax()),
        }

    def _predict(
        self, predictor: Predictor, seen: Seen, prompt: Prompt, mask_logits: Any
    ) -> MaskPrediction:
        return predictor.predict(
            seen.encoded.embedding,
            points=seen.points(prompt.points) or None,
            labels=_labels(prompt),
            boxes=seen.box(prompt.box),
            mask_logits=mask_logits,
            multimask=prompt.multimask,
            refine=self._studio.config.refine,
            image=self._pixels(predictor, seen),
        )

    def _pixels(self, predictor: Predictor, seen: Seen) -> RgbImage | None:
        """What the model sees, if it is needed and the predictor does not have it."""
        config, crops, embedding = self._studio.config, predictor.crops, seen.encoded.embedding
        if config.refine != "best" or crops.has_pixels(embedding):
            return None
        pixels = seen.read(self._studio, self._image)
        crops.add(embedding, pixels)
        return pixels

    def _preview_mask(self, seen: Seen, served: ServedModel, preview: Preview) -> dict[str, Any]:
        """Answer a preview with the best mask only, at reduced size.

        `box` is the part of the image that the mask covers, in pixels.
        """
        from samkit.geometry import logits_to_rle

        best = served.predictor.predict(
            seen.encoded.embedding,
            points=seen.points(preview.points) or None,
            labels=_labels(preview),
        ).best()
        height, width = best.coords.original_hw
        scale = min(1.0, PREVIEW_SIDE / max(height, width))
        small_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
        coords = replace(best.coords, original_hw=small_hw)
        rle = logits_to_rle(best.logits[0], coords)
        (left, top), factor = (
            ((0, 0), 1)
            if seen.region is None
            else (
                seen.region.corner_xy,
                seen.region.factor,
            )
        )
        return {
            "type": "preview",
            "id": preview.id,
            "model_version_id": served.version.id,
            "mask": {"rle": rle},
            "box": [left, top, left + width * factor, top + height * factor],
        }

    async def _send_error(self, number: int | None, detail: str) -> None:
        await self._send({"type": "error", "id": number, "detail": one_line(detail)})

    async def _send(self, message: dict[str, Any]) -> None:
        # A closed page is noticed when reading.
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_json(message)


def _labels(message: Message) -> list[Literal[0, 1]] | None:
    """Return a message's labels; the page must send one for each point, even for foreground."""
    return message.labels if message.points or message.labels else None


def is_of_image(error: Exception) -> bool:
    """Whether an image cannot be read: it is damaged, missing or has changed."""
    return isinstance(error, ImageError | StoreError) and not isinstance(error, DatabaseError)


def describe(error: Exception) -> str:
    """Return the message of an error that the page may show."""
    return str(error) if isinstance(error, SamkitError) else "something went wrong on the server"
