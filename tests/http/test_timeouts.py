"""Waiting with a limit of time."""

import asyncio

import pytest

from event_loops import run_async
from samkit.http import within


def test_a_result_that_comes_in_time_is_given():
    async def use():
        return await within(60, asyncio.sleep(0, "here"))

    assert run_async(use()) == "here"


def test_what_takes_longer_is_ended():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def use():
        with pytest.raises(TimeoutError):
            await within(0.01, slow())

    run_async(use())
    assert ended == [True]


def test_a_cancellation_at_the_moment_of_the_result_is_not_lost():
    async def use():
        result = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(within(60, result))
        await asyncio.sleep(0)
        result.set_result("here")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_async(use())
