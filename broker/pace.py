"""Long work on the event loop, cut into turns: a withdrawal is answered within 100 ms, whatever else goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")
_TURN_S = 0.005  # a batch of 200 takes some hundred milliseconds


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items one by one; after each turn of 5 ms every other task that is ready runs first."""
    turn_ends = time.monotonic() + _TURN_S
    for item in items:
        yield item
        if time.monotonic() >= turn_ends:
            await asyncio.sleep(0)
            turn_ends = time.monotonic() + _TURN_S
