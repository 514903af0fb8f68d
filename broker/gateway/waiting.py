"""Calls that wait for something to hand over: all of them are answered together, on a grid of time.

If only the unit that has something were answered, the moment of its answer would tell whoever watches the wires which
unit has a case, and who wrote to it. So news for anybody ends the wait of everybody, at the next tick; who finds
nothing asks again. What a watcher still learns is written in docs/threat-model.md.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK_S = 0.5  # the grid: shorter tells more, longer delays more
MOST = 512  # waiting calls of a node: two of each unit in a country of 250
MOST_OF_A_UNIT = 2  # a connector has one; two while it is replaced


class Waiting:
    """The calls that wait at one node; used from its event loop."""

    def __init__(
        self,
        most_s: float,
        told: Callable[[int], None] = lambda _count: None,
        clock: Callable[[], float] = time.time,
        tick_s: float = TICK_S,
    ) -> None:
        """`most_s` bounds every wait, 0 forbids waiting; `told` gets the number of waiting calls when it changes."""
        self._tick_s = tick_s
        self._most_s = most_s
        self._told = told
        self._clock = clock
        self._round = asyncio.Event()
        self._ticking = False
        self._closed = False
        self._units: Counter[str] = Counter()

    @contextmanager
    def place(self, unit: str) -> Iterator[asyncio.Event | None]:
        """Take part in the present round; None where nobody may wait: the call is answered at once.

        Taken before the caller looks what there is, so that what is committed after the look ends the wait.
        """
        full = self._units[unit] >= MOST_OF_A_UNIT or self._units.total() >= MOST
        if self._closed or not self._most_s or full:
            yield None
            return
        self._units[unit] += 1
        self._told(self._units.total())
        try:
            yield self._round
        finally:
            self._units[unit] -= 1
            if not self._units[unit]:
                del self._units[unit]
            self._told(self._units.total())

    async def wait(self, place: asyncio.Event, seconds: float) -> None:
        """Return at the first tick after news for anybody, after `seconds`, or when the node ends."""
        try:
            async with asyncio.timeout(min(seconds, self._most_s)):
                await place.wait()
        except TimeoutError:
            # The end of a wait is no finer than the grid either.
            await asyncio.sleep(0 if self._closed else self._to_tick())

    def ring(self) -> None:
        """Something was committed that somebody may be handed: at the next tick everybody is answered."""
        if not self._ticking and self._units and not self._closed:
            self._ticking = True
            asyncio.get_running_loop().call_later(self._to_tick(), self._answer)

    def close(self) -> None:
        """The node ends: everybody is answered now, and nobody waits any more."""
        # INVARIANT: test_a_node_that_ends_answers_who_waits
        self._closed = True
        self._answer()

    def _to_tick(self) -> float:
        return self._tick_s - self._clock() % self._tick_s

    def _answer(self) -> None:
        self._ticking = False
        ended, self._round = self._round, asyncio.Event()
        ended.set()
