"""WebSocket sessions: one image, clicks and boxes one after another, with undo."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from samkit.errors import PromptError, SamkitError
from samkit.geometry import CoordMap
from samkit.http import within
from samkit.predict import ImageSession
from samkit.serving.access import check_access
from samkit.serving.errors import UnknownImageError
from samkit.serving.interface import Models
from samkit.serving.jobs import EmbedJob, ImageFile, MaskFormat, PredictJob
from samkit.serving.problems import problem_line
from samkit.serving.schemas import SHA256, Model, Number
from samkit.serving.wire import mask_fields, to_json
from samkit.types import ImageEmbedding, MaskPrediction

router = APIRouter()

NOT_ALLOWED, TOO_MANY, NO_IMAGE = 4401, 4429, 4404  # closing codes
MAX_STEPS = 64  # of one mask, whose logits are kept for undo: at most 0.8 MB each
IMAGE_S = 60.0  # for the image to come


class Click(Model):
    type: Literal["click"]
    x: Number
    y: Number
    label: Literal[0, 1] = 1


class Box(Model):
    type: Literal["box"]
    box: tuple[Number, Number, Number, Number]


class Choose(Model):
    type: Literal["choose"]
    candidate: Annotated[int, Field(ge=0, le=9)]


class Move(Model):
    type: Literal["undo", "redo", "reset"]


Message = Annotated[Click | Box | Choose | Move, Field(discriminator="type")]
MESSAGES: TypeAdapter[Click | Box | Choose | Move] = TypeAdapter(Message)


@dataclass(frozen=True, kw_only=True, eq=False)
class RemoteEmbedding:
    """Stands for the embedding that a worker has: what an `ImageSession` asks of it."""

    image: ImageFile
    coords: CoordMap


class RemotePredictor:
    """Answers the prompts of an `ImageSession` by a worker; called on a thread beside the loop."""

    def __init__(self, models: Models, loop: asyncio.AbstractEventLoop) -> None:
        self._models, self._loop = models, loop

    def predict(self, embedding: Any, *, multimask: bool = True, **parts: Any) -> MaskPrediction:
        """Answer prompts; see `Predictor.predict`."""
        image: ImageFile = embedding.image
        by_hash = ImageFile(sha256=image.sha256)
        job = PredictJob(image=by_hash, parts=parts, multimask=multimask, as_prediction=True)
        asked = asyncio.run_coroutine_threadsafe(self._ask(job, image), self._loop)
        answer: MaskPrediction = asked.result()
        return answer

    async def _ask(self, job: PredictJob, image: ImageFile) -> Any:
        with self._models.queue.place():
            try:
                return await self._models.ask(job)
            except UnknownImageError:  # not cached any more
                if image.content is None:
                    raise
                return await self._models.ask(replace(job, image=image))


@router.websocket("/v1/session")
async def session(
    socket: WebSocket, image: str | None = None, mask_format: MaskFormat = "rle"
) -> None:
    """Segment one image step by step.

    The image comes as the first message, or its hash as the parameter `image`. Each message, such
    as {"type": "click", "x": 500, "y": 375}, is answered by the masks so far, or by a problem that
    changes nothing.
    """
    models: Models = socket.app.state.models
    await socket.accept()  # first, since many clients do not tell why a connection was refused
    try:
        check_access(socket)
    except HTTPException as error:
        await _close(socket, NOT_ALLOWED, error)
        return
    places: asyncio.Semaphore = socket.app.state.sessions
    if places.locked():
        await socket.close(TOO_MANY, "too many sessions are open: try again later")
        return
    async with places:
        with models.metrics.sessions.track_inprogress(), suppress(WebSocketDisconnect):
            try:
                embedding = await _begin(socket, models, image)
            except (SamkitError, TimeoutError) as error:
                await _close(socket, NO_IMAGE, error)
                return
            await Conversation(socket, models, embedding, mask_format).run()


async def _begin(socket: WebSocket, models: Models, sha256: str | None) -> RemoteEmbedding:
    """Receive and embed the image.

    Raises:
        SamkitError: there is no image, or it is broken.
        TimeoutError: it does not come.
    """
    content = None
    if sha256 is None:
        content = await within(IMAGE_S, socket.receive_bytes())
        sha256 = (await run_in_threadpool(hashlib.sha256, content)).hexdigest()
    elif not re.match(SHA256, sha256):
        raise UnknownImageError("image must be a SHA-256 in hexadecimal")
    image = ImageFile(sha256=sha256, content=content)
    with models.queue.place():
        height, width = json.loads(await models.ask(EmbedJob(image=image)))["size_hw"]
    coords = CoordMap.of((height, width), models.info.image_spec)
    return RemoteEmbedding(image=image, coords=coords)


class Conversation:
    """The messages of one session."""

    def __init__(
        self,
        socket: WebSocket,
        models: Models,
        embedding: RemoteEmbedding,
        mask_format: MaskFormat,
    ) -> None:
        self._socket, self._embedding, self._format = socket, embedding, mask_format
        predictor = RemotePredictor(models, asyncio.get_running_loop())
        self._session = ImageSession(predictor, cast("ImageEmbedding", embedding))
        self._num_steps = 0

    async def run(self) -> None:
        """Answer messages until the client leaves."""
        await self._send(
            type="ready",
            image=self._embedding.image.sha256,
            size_hw=list(self._embedding.coords.original_hw),
        )
        while True:
            text = await self._socket.receive_text()
            try:
                answer = await run_in_threadpool(self._answer, text)
            except Exception as error:  # noqa: BLE001 - is told to the client
                await self._send(**problem_line(error))
            else:
                await self._send(**answer)

    def _answer(self, text: str) -> dict[str, Any]:
        message = MESSAGES.validate_json(text)
        if isinstance(message, Move):
            moves: dict[str, Callable[[], None]] = {
                "undo": self._session.undo,
                "redo": self._session.redo,
                "reset": self._session.reset,
            }
            moves[message.type]()
            self._num_steps *= message.type != "reset"
        else:
            if self._num_steps >= MAX_STEPS:
                raise PromptError(f"a mask has at most {MAX_STEPS} steps: reset begins a new one")
            self._step(message)
            self._num_steps += 1
        answer = self._session.answer
        masks = [] if answer is None else mask_fields(answer.to_masks(), self._format)
        return {"type": "answer", "masks": masks}

    def _step(self, message: Click | Box | Choose) -> None:
        if isinstance(message, Click):
            self._session.click(message.x, message.y, message.label)
        elif isinstance(message, Box):
            self._session.box(*message.box)
        else:
            self._session.choose(message.candidate)

    async def _send(self, **message: Any) -> None:
        await self._socket.send_text(to_json(message).decode())


async def _close(socket: WebSocket, number: int, error: Exception) -> None:
    """Close a connection, saying why in its last message and in the reason, which is short."""
    problem = problem_line(error)
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(to_json(problem).decode())
        await socket.close(number, str(problem["detail"])[:100])
