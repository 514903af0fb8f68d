"""Clients of Apache Kafka that may fail: opened when asked for, given up when they fail, ended within a bound.

A producer repeats what it could not send until it succeeds, and `stop` waits for that (aiokafka issue 659): nothing
here waits longer than it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from schemas.errors import HandslagError

FAULTS = (KafkaError, OSError, TimeoutError)
OPEN_S = 6.0
CLOSE_S = 3.0
_AGAIN_S = 0.5  # before a client that could not be opened is tried again
_Client = TypeVar("_Client")


def away() -> HandslagError:
    """What every failure of the servers is to whoever asked: it is unknown or undone, ask again."""
    return HandslagError("HS-NOT-RECORDED")


class Held(Generic[_Client]):
    """One client of one kind; `make` builds it unopened."""

    def __init__(self, make: Callable[[], _Client]) -> None:
        self._make = make
        self._it: _Client | None = None
        self._gone: list[_Client] = []
        self._opening = asyncio.Lock()
        self._not_before = float("-inf")

    async def get(self) -> _Client:
        """The open client; raises `HS-NOT-RECORDED` when it cannot be opened now."""
        async with self._opening:
            if self._it is None:
                if time.monotonic() < self._not_before:
                    raise away()
                self._it = await self._opened()
            return self._it

    async def _opened(self) -> _Client:
        client: Any = self._make()
        try:
            async with asyncio.timeout(OPEN_S):
                await client.start()
        except BaseException as fault:
            self._not_before = time.monotonic() + _AGAIN_S
            self._gone.append(client)
            if isinstance(fault, FAULTS):
                raise away() from None
            raise
        found: _Client = client
        return found

    def drop(self, client: _Client) -> None:
        """Give this client up; the next one who asks gets a fresh one."""
        if client is self._it:
            self._it = None
            self._gone.append(client)

    async def bury(self) -> None:
        """End what was given up, each within a bound."""
        while self._gone:
            await ended(self._gone.pop())

    async def close(self) -> None:
        """End everything, in order if the servers let it."""
        if self._it is not None:
            self._gone.insert(0, self._it)
            self._it = None
        await self.bury()


async def ended(client: Any) -> None:
    """Stop a client within `CLOSE_S`; whatever it was still sending is then unknown to whoever waited for it."""
    # INVARIANT: test_a_producer_that_reaches_nobody_is_ended_in_time
    with contextlib.suppress(*FAULTS):
        async with asyncio.timeout(CLOSE_S):
            await (client.close() if hasattr(client, "close") else client.stop())
            return
    if isinstance(client, AIOKafkaProducer):
        # There is no public way: without this it would go on trying for as long as the process lives.
        client._message_accumulator.fail_all(KafkaConnectionError())
        if client._sender.sender_task is not None:
            client._sender.sender_task.cancel()
    inner = getattr(client, "client", None) or getattr(client, "_client", None)
    if inner is not None:
        with contextlib.suppress(*FAULTS):
            async with asyncio.timeout(CLOSE_S):
                await inner.close()
