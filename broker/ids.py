"""Identifiers of one process, each above the one before: what is decided first is handed over first.

RFC 9562 section 6.2, method 3: the twelve bits below the millisecond hold more of the time instead of chance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from schemas.identifiers import uuid7


class RisingIds:
    """UUIDv7s that rise, whatever the clock does; 62 of their bits are random."""

    def __init__(self) -> None:
        self._last_us = 0
        self._lock = threading.Lock()

    def next(self, now_us: int, random: Callable[[int], bytes]) -> bytes:
        """The next identifier, not below the moment `now_us`; raises as `uuid7`."""
        # INVARIANT: test_identifiers_rise_also_within_a_millisecond_and_when_the_clock_runs_back
        with self._lock:
            self._last_us = at_us = max(now_us, self._last_us + 1)
        return uuid7(at_us, (at_us % 1000 * 4096 // 1000).to_bytes(2, "big") + random(8))
