"""The database server's clock as a node reads it: measured each second, carried by this machine's monotonic clock.

Several nodes on one database tell one time, and a step of a node's own wall clock changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from schemas.errors import HandslagError

EACH_S = 1.0
_NEAR_NS = 50_000_000  # a measurement that took longer is worth less than one of some seconds ago
_OLD_NS = 10_000_000_000


class ServerClock:
    """Microseconds since 1970-01-01T00:00Z by the server; `look` must have succeeded once before it is asked."""

    def __init__(
        self, measure: Callable[[], Awaitable[int | None]], monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """`measure` asks the server for its clock; `monotonic_ns` never steps."""
        self._measure = measure
        self._monotonic_ns = monotonic_ns
        self._server_us = 0
        self._at_ns = 0
        self._measured = False

    def __call__(self) -> int:
        """The server's clock by the last measurement."""
        # INVARIANT: test_a_step_of_the_nodes_wall_clock_changes_nothing
        return self._server_us + (self._monotonic_ns() - self._at_ns) // 1000

    async def look(self) -> bool:
        """Measure once; returns False where the store has no clock of its own. Raises what `measure` raises."""
        before = self._monotonic_ns()
        server_us = await self._measure()
        if server_us is None:
            return False
        after = self._monotonic_ns()
        if not self._measured or after - before <= _NEAR_NS or after - self._at_ns > _OLD_NS:
            self._server_us, self._at_ns, self._measured = server_us, (before + after) // 2, True
        return True

    async def run(self) -> None:
        """Measure for ever; while the server is away the last measurement counts."""
        while True:
            await asyncio.sleep(EACH_S)
            try:
                await self.look()
            except HandslagError:
                continue
