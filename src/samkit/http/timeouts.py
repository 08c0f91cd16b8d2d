"""Waiting with a limit of time."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio

Result = TypeVar("Result")


async def within(seconds: float, awaited: Awaitable[Result]) -> Result:
    """Wait for a result, but no longer than this.

    `asyncio.wait_for` loses a cancellation that comes at the same moment as the result, before
    Python 3.12: whoever was waited for in vain would be waited for on and on.

    Raises:
        TimeoutError: it took longer.
    """
    with anyio.fail_after(seconds):
        return await awaited
