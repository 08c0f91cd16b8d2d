"""Route for masks of an image, streamed as proposals: all, or what is alike or named."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from samkit.dataengine import StoredImage, get_image, list_annotations, read_stored_image
from samkit.errors import ImageError, MissingError, PromptError, SamkitError
from samkit.geometry import Rle
from samkit.http import one_line
from samkit.web.embedder import Encoded, ServedModel
from samkit.web.routing import Key, new_router
from samkit.web.schemas import MAX_INT64
from samkit.web.sign_in import AnyUser
from samkit.web.state import ServerState, TheState

if TYPE_CHECKING:
    from samkit.types import Masks

logger = logging.getLogger(__name__)
router = new_router()

EVERYTHING = 2  # priority: clicks and previews go first
LINES = "application/x-ndjson"
Line: TypeAlias = dict[str, Any]
Examples = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_INT64)], ...], Query(max_length=64)]
Words = Annotated[str, Query(min_length=1, max_length=200)]


@router.get(
    "/images/{image_id}/proposals",
    response_class=StreamingResponse,
    responses={200: {"content": {LINES: {}}, "description": "one line of JSON for each mask"}},
)
async def get_proposals(
    studio: TheState,
    user: AnyUser,
    image_id: Key,
    example: Examples = (),
    words: Words | None = None,
) -> StreamingResponse:
    """Stream masks of an image as proposals: a line of JSON for each, as they are found.

    They are of everything, with `example` compared with these saved masks of the image, or with
    `words` of what is named. A line has `rle`, `score`, `stability`,
    `model_version_id`, and with `example` `similarity`, from 0 to 1, which is how much it looks
    like the most similar example, times its score; the last one, `done`, or `error`.
    """
    if example and words:
        raise PromptError("give example or words, not both")
    image = await run_in_threadpool(get_image, studio.store, image_id)
    if studio.tiles.is_tiled(image):
        raise ImageError(
            f"{image.path} is shown by tiles: masks are proposed in smaller images only"
        )
    if words:
        await run_in_threadpool(studio.text.model)
    examples = await run_in_threadpool(_examples, studio, image_id, example)
    served = studio.models.served(image.project_id)
    waiting = studio.embedder.ask(image, served)
    try:
        encoded = await asyncio.shield(asyncio.wrap_future(waiting))
    finally:
        studio.embedder.give_up(image, waiting, served)
    if words:
        found = _named(studio, served, encoded, image, words)
    elif examples:
        found = _alike(studio, served, encoded, image, examples)
    else:
        found = _everything(served, encoded)
    return StreamingResponse(_lines(studio, served, found, user.id), media_type=LINES)


def _examples(studio: ServerState, image_id: int, ids: Sequence[int]) -> list[Rle]:
    """The saved masks of an image by their ids."""
    if not ids:
        return []
    known = {one.id: one.rle for one in list_annotations(studio.store, image_id)}
    if lacking := [one for one in ids if one not in known]:
        raise MissingError(f"image {image_id} has no mask {lacking[0]}")
    return [known[one] for one in ids]


def _everything(served: ServedModel, encoded: Encoded) -> Iterator[list[Line]]:
    from samkit.proposals import stream_masks  # loads torch

    for masks in stream_masks(served.predictor, encoded.embedding):
        yield list(_fields(masks))


def _alike(
    studio: ServerState,
    served: ServedModel,
    encoded: Encoded,
    image: StoredImage,
    examples: Sequence[Rle],
) -> Iterator[list[Line]]:
    from samkit.proposals import similarity, stream_masks  # loads torch

    pixels = read_stored_image(studio.store, image, max_pixels=studio.config.max_pixels)
    for masks in stream_masks(served.predictor, encoded.embedding):
        likeness = similarity(encoded.embedding, pixels, examples, masks.rles) * masks.scores
        yield [
            {**line, "similarity": round(float(value), 4)}
            for line, value in zip(_fields(masks), likeness, strict=True)
        ]


def _named(
    studio: ServerState, served: ServedModel, encoded: Encoded, image: StoredImage, words: str
) -> Iterator[list[Line]]:
    from samkit.proposals import AutoMasker, ClassMasker, quick_config  # loads torch

    predictor = served.predictor
    everything = AutoMasker(predictor, quick_config(predictor))
    masker = ClassMasker(everything, [words], studio.text.model())
    pixels = read_stored_image(studio.store, image, max_pixels=studio.config.max_pixels)
    masks = masker.generate(pixels, embedding=encoded.embedding)
    scores = masks.scores if masks.phrase_scores is None else masks.phrase_scores
    yield [
        {**line, "score": round(float(score), 4)}
        for line, score in zip(_fields(masks), scores, strict=True)
    ]


async def _lines(
    studio: ServerState, served: ServedModel, steps: Iterator[list[Line]], user_id: int
) -> AsyncIterator[str]:
    try:
        while (lines := await _next(studio, steps, user_id)) is not None:
            for line in lines:
                yield json.dumps({**line, "model_version_id": served.version.id}) + "\n"
        yield '{"done": true}\n'
    except SamkitError as error:
        yield json.dumps({"error": one_line(str(error))}) + "\n"
    except Exception:
        logger.exception("proposals")
        yield json.dumps({"error": "the masks could not be computed: see the server's log"}) + "\n"


async def _next(
    studio: ServerState, steps: Iterator[list[Line]], user_id: int
) -> list[Line] | None:
    """The lines of the next step, computed on the threads that answer prompts."""
    work = partial(next, steps, None)
    return await asyncio.wrap_future(studio.prompts.submit(EVERYTHING, work, owner=user_id))


def _fields(masks: Masks) -> Iterator[Line]:
    stability = masks.stability if masks.stability is not None else [None] * len(masks)
    for rle, score, steady in zip(masks.rles, masks.scores, stability, strict=True):
        yield {
            "rle": rle,
            "score": round(float(score), 4),
            "stability": None if steady is None else round(float(steady), 4),
        }
