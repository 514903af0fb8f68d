"""Which of a broker's nodes is asked: the first of the list, and another as long as one does not answer.

All nodes have one store, so any of them will do. Whoever goes to another goes on there, or every call of a morning
would first knock at a door that is shut; after a while the first one is asked again, which spreads the agencies as
their lists say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

HOME_S = 600.0


class Nodes:
    """The addresses of one broker, and which of them is asked now; used from one event loop."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`urls` in the order in which the operator wants them asked, at least one."""
        self._urls = tuple(urls)
        self._clock = clock
        self._at = 0
        self._left_s = 0.0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._urls)

    def now(self) -> str:
        """The address to call."""
        if self._at and self._clock() - self._left_s >= HOME_S:
            self._at = 0
        return self._urls[self._at]

    def order(self) -> list[str]:
        """Every address once: the one to call, then those that would follow it."""
        self.now()
        return [*self._urls[self._at :], *self._urls[: self._at]]

    def away(self, url: str) -> None:
        """A call to this address was not answered, or its node says that it cannot serve: the next one is asked.

        Of several calls that fail together only the first moves on.
        """
        # INVARIANT: test_calls_that_fail_together_skip_no_node
        if self._urls[self._at] == url and len(self._urls) > 1:
            self._at = (self._at + 1) % len(self._urls)
            self._left_s = self._clock()
