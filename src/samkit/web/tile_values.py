"""Values of images by tiles: what other windows show of them, and what is under the pointer.

Images of more than 8 bits have a pyramid of their values, which is written when they are first
asked for. Those of 8 bits are as their tiles show them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from starlette.concurrency import run_in_threadpool

from samkit.dataengine import StoredImage
from samkit.formats import SeenValues, ValuePyramid, ValueRange
from samkit.web.image_values import ValueFacts, Values
from samkit.web.pictures import JPEG, Picture
from samkit.web.state import ServerState

Place = tuple[int, int, int]  # level, column and row of a tile


async def values_pyramid(studio: ServerState, image: StoredImage) -> ValuePyramid:
    """The values of an image by tiles of more than 8 bits; the first call waits for them."""
    # Others may wait for it, too, when somebody stops waiting.
    return await asyncio.shield(asyncio.wrap_future(studio.tiles.ask_values(image)))


def seen_by(image: StoredImage, value_range: str) -> StoredImage:
    """An image as it is seen by a range of values.

    Raises:
        ConfigError: it is no range.
    """
    return replace(image, value_range=str(ValueRange.of(value_range)))


async def window_tile(studio: ServerState, image: StoredImage, place: Place) -> Picture | None:
    """A tile of an image of more than 8 bits, by its range; None if there is none."""
    pyramid = await values_pyramid(studio, image)
    key = f"{image.pixels_key}-{place}"
    known = studio.window_tiles.get(key)
    if known is not None or not pyramid.has(*place):
        return known

    def make() -> Picture:
        values = _tile_values(studio, image, pyramid, place)
        return Picture(
            content=pyramid.shown_tile(values, pyramid.limits(image.value_range)), media_type=JPEG
        )

    picture = await run_in_threadpool(make)
    studio.window_tiles.put(key, picture)
    return picture


async def window_levels(studio: ServerState, image: StoredImage) -> SeenValues:
    """All of an image of more than 8 bits, as it is seen by its range."""
    pyramid = await values_pyramid(studio, image)
    return pyramid.seen(await run_in_threadpool(pyramid.limits, image.value_range))


async def tiled_values(
    studio: ServerState, image: StoredImage, x: int, y: int, side: int
) -> tuple[Values, bool]:
    """Values of a block of at most `side` pixels each way, and whether they are the file's own."""
    if await run_in_threadpool(studio.tiles.is_deep, image):
        pyramid = await values_pyramid(studio, image)

        def of_tile(column: int, row: int) -> Values:
            return _tile_values(studio, image, pyramid, (0, column, row))

        box = (x, y, x + side, y + side)
        return await run_in_threadpool(pyramid.block, box, of_tile), True
    pixels = await asyncio.shield(asyncio.wrap_future(studio.tiles.ask(image)))
    height, width = image.size_hw
    if x >= width or y >= height:
        return pixels.read(0, (0, 0, 1, 1))[:0], False
    box = (x, y, min(width, x + side), min(height, y + side))
    return await run_in_threadpool(pixels.read, 0, box), False


async def tiled_facts(studio: ServerState, image: StoredImage) -> ValueFacts:
    """What values an image by tiles has, and which of them are seen as black and white."""
    if not await run_in_threadpool(studio.tiles.is_deep, image):
        return ValueFacts(
            dtype="uint8",
            num_channels=3,
            lowest=0.0,
            highest=255.0,
            low=0.0,
            high=255.0,
            is_deep=False,
        )
    pyramid = await values_pyramid(studio, image)
    low, high = await run_in_threadpool(pyramid.limits, image.value_range)
    return ValueFacts(
        dtype=pyramid.dtype,
        num_channels=pyramid.num_channels,
        lowest=pyramid.lowest,
        highest=pyramid.highest,
        low=low,
        high=high,
        is_deep=True,
    )


def _tile_values(
    studio: ServerState, image: StoredImage, pyramid: ValuePyramid, place: Place
) -> Values:
    """The values of a tile, which other windows will ask for, too."""
    read = partial(pyramid.values, *place)
    return studio.values.get(f"{image.sha256}-{place}", read)
