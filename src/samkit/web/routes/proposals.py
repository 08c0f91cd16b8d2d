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

from samkit.dataengine import StoredImage, get_image, list_annotations
from samkit.errors import MissingError, PromptError, SamkitError
from samkit.formats import Region
from samkit.geometry import Rle, rle_area
from samkit.http import one_line
from samkit.web.embedder import ServedModel
from samkit.web.routing import Key, new_router
from samkit.web.schemas import MAX_INT64
from samkit.web.seen import Seen
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
Coordinate = Annotated[float, Field(allow_inf_nan=False)]
View = Annotated[tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None, Query()]
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
    *,
    example: Examples = (),
    words: Words | None = None,
    view: View = None,
) -> StreamingResponse:
    """Stream masks of an image as proposals: a line of JSON for each, as they are found.

    They are of everything, with `example` compared with these saved masks of the image, or with
    `words` of what is named. A line has `rle`, `score`, `stability`,
    `model_version_id`, and with `example` `similarity`, from 0 to 1, which is how much it looks
    like the most similar example, times its score; the last one, `done`, or `error`.

    Of an image by tiles they are of the part in `view`, x0, y0, x1 and y1 in pixels of the image.
    """
    if example and words:
        raise PromptError("give example or words, not both")
    image = await run_in_threadpool(get_image, studio.store, image_id)
    region = None
    if studio.tiles.is_tiled(image):
        if view is None:
            raise PromptError("proposals on an image by tiles need the part that is in view")
        pyramid = await asyncio.shield(asyncio.wrap_future(studio.tiles.ask(image)))
        region = Region.of(view, pyramid.sizes_wh)
    if words:
        await run_in_threadpool(studio.text.model)
    examples = await run_in_threadpool(_examples, studio, image_id, example)
    served = studio.models.served(image.project_id)
    waiting = studio.embedder.ask(image, served, region)
    try:
        encoded = await asyncio.shield(asyncio.wrap_future(waiting))
    finally:
        studio.embedder.give_up(image, waiting, served, region)
    seen = Seen(encoded=encoded, region=region)
    if words:
        found = _named(studio, served, seen, image, words)
    elif examples:
        found = _alike(studio, served, seen, image, examples)
    else:
        found = _everything(served, seen)
    placed = _placed(found, seen, image)
    return StreamingResponse(_lines(studio, served, placed, user.id), media_type=LINES)


def _placed(steps: Iterator[list[Line]], seen: Seen, image: StoredImage) -> Iterator[list[Line]]:
    """The lines with masks of the image, in place of masks of what the model sees."""
    for lines in steps:
        yield [{**line, "rle": seen.mask(line["rle"], image.size_hw)} for line in lines]


def _examples(studio: ServerState, image_id: int, ids: Sequence[int]) -> list[Rle]:
    """The saved masks of an image by their ids."""
    if not ids:
        return []
    known = {one.id: one.rle for one in list_annotations(studio.store, image_id)}
    if lacking := [one for one in ids if one not in known]:
        raise MissingError(f"image {image_id} has no mask {lacking[0]}")
    return [known[one] for one in ids]


def _everything(served: ServedModel, seen: Seen) -> Iterator[list[Line]]:
    from samkit.proposals import stream_masks  # loads torch

    for masks in stream_masks(served.predictor, seen.encoded.embedding):
        yield list(_fields(masks))


def _alike(
    studio: ServerState,
    served: ServedModel,
    seen: Seen,
    image: StoredImage,
    examples: Sequence[Rle],
) -> Iterator[list[Line]]:
    from samkit.proposals import similarity, stream_masks  # loads torch

    shown = [part for part in map(seen.part, examples) if rle_area(part)]
    if not shown:
        raise PromptError("the mask that the others shall be like is not in view")
    pixels, embedding = seen.read(studio, image), seen.encoded.embedding
    for masks in stream_masks(served.predictor, embedding):
        likeness = similarity(embedding, pixels, shown, masks.rles) * masks.scores
        yield [
            {**line, "similarity": round(float(value), 4)}
            for line, value in zip(_fields(masks), likeness, strict=True)
        ]


def _named(
    studio: ServerState, served: ServedModel, seen: Seen, image: StoredImage, words: str
) -> Iterator[list[Line]]:
    from samkit.proposals import AutoMasker, ClassMasker, quick_config  # loads torch

    predictor = served.predictor
    everything = AutoMasker(predictor, quick_config(predictor))
    masker = ClassMasker(everything, [words], studio.text.model())
    masks = masker.generate(seen.read(studio, image), embedding=seen.encoded.embedding)
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
