"""How much one unit may ask for: token buckets per unit, with room of their own for what must not wait.

Pure but for its own counters: the clock is passed in. Reserved are withdrawals and blocks, acute safety events and
corrections: they use the ordinary room first and then a reserve that nothing else may touch. Counters live in memory
and start full with the process: a restart forgives, it never refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import HandslagError

CALLS = "calls"
FETCHES = "fetches"
QUERIES = "queries"
SUBMISSIONS = "submissions"
BYTES = "bytes"
STREAM = "stream"
URGENT_CALLS = "urgent_calls"
URGENT_SUBMISSIONS = "urgent_submissions"
KINDS = (CALLS, FETCHES, QUERIES, SUBMISSIONS, BYTES, STREAM, URGENT_CALLS, URGENT_SUBMISSIONS)
# Calls that may carry something reserved: with the ordinary calls used up, these still come in to be looked at.
MAY_BE_URGENT = frozenset({"submit", "consents"})
_BURST_S = {CALLS: 10.0, FETCHES: 10.0}  # what a connector does at once when it comes back
_LOOK_AGAIN_S = 5  # the stream drains by deciding; how fast is nobody's promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds per unit; the reasons of the defaults stand in docs/protocol.md, "Quotas"."""

    calls_per_second: float = 100
    fetches_per_second: float = 20
    queries_per_minute: float = 60
    submissions_per_minute: float = 6_000
    bytes_per_minute: float = 64 * 1024 * 1024
    stream_submissions: int = 6_000
    stream_bytes: int = 64 * 1024 * 1024
    urgent_per_minute: float = 600

    def rate(self, kind: str) -> float:
        """Tokens per second of a bucket."""
        return {
            CALLS: self.calls_per_second,
            FETCHES: self.fetches_per_second,
            QUERIES: self.queries_per_minute / 60,
            SUBMISSIONS: self.submissions_per_minute / 60,
            BYTES: self.bytes_per_minute / 60,
            URGENT_CALLS: self.urgent_per_minute / 60,
            URGENT_SUBMISSIONS: self.urgent_per_minute / 60,
        }[kind]


class Bucket:
    """A token bucket: full at first, filled at `rate` a second up to `size`."""

    __slots__ = ("_at", "_level", "_rate", "_size")

    def __init__(self, rate: float, size: float, now_s: float) -> None:
        self._rate, self._size, self._level, self._at = rate, size, size, now_s

    def missing_s(self, count: float, now_s: float) -> float:
        """Seconds until `count` tokens are there, 0 when they are; for more than it holds, until it is full."""
        # A clock that runs back fills nothing and takes nothing.
        self._level = min(self._size, self._level + max(0.0, now_s - self._at) * self._rate)
        self._at = max(self._at, now_s)
        short = min(count, self._size) - self._level
        return max(0.0, short / self._rate) if short > 1e-9 else 0.0

    def take(self, count: float) -> None:
        """Remove tokens that `missing_s` found; a larger count leaves a debt that later calls pay."""
        self._level -= count


class Quotas:
    """The buckets of all units; one instance serves a node. `refused` is told each kind that was over its bound."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float], refused: Callable[[str], None] = lambda _kind: None
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._refused = refused
        self._buckets: dict[tuple[str, str], Bucket] = {}  # units are admitted ones: the dictionary is bounded

    def call(self, unit: str, name: str) -> bool:
        """Count a call before its body is read; True when only something reserved may go on with it.

        Raises `HS-QUOTA` with the seconds to wait.
        """
        if name == "fetch":
            self.take(unit, {FETCHES: 1})
        if not self._missing(unit, {CALLS: 1}):
            return False
        if name in MAY_BE_URGENT:
            self.take(unit, {URGENT_CALLS: 1})
            return True
        self.take(unit, {CALLS: 1})
        return False

    def not_urgent(self, unit: str) -> HandslagError:
        """The refusal of a call that came in on the reserve and holds nothing reserved; the reserve gets it back."""
        self._bucket(unit, URGENT_CALLS).take(-1)
        return self.over(CALLS, self._bucket(unit, CALLS).missing_s(1, self._clock()))

    def take(self, unit: str, wanted: dict[str, float]) -> None:
        """Take all of `wanted` (kind -> tokens) or nothing; raises `HS-QUOTA` with the seconds to wait."""
        missing = self._missing(unit, wanted)
        if missing:
            kind = max(missing, key=lambda each: missing[each])
            raise self.over(kind, missing[kind])

    def took(self, unit: str, wanted: dict[str, float]) -> bool:
        """Take all of `wanted` or nothing; returns whether it was there. Counts no refusal."""
        return not self._missing(unit, wanted)

    def over(self, kind: str, seconds: float = _LOOK_AGAIN_S) -> HandslagError:
        """The counted refusal of one kind; `seconds` become Retry-After."""
        self._refused(kind)
        return HandslagError("HS-QUOTA").after(max(1, math.ceil(seconds)))

    def _missing(self, unit: str, wanted: dict[str, float]) -> dict[str, float]:
        """What is short, in seconds by kind; when nothing is, it is taken."""
        now_s = self._clock()
        found = {kind: self._bucket(unit, kind).missing_s(count, now_s) for kind, count in wanted.items()}
        missing = {kind: seconds for kind, seconds in found.items() if seconds > 0}
        if not missing:
            for kind, count in wanted.items():
                self._bucket(unit, kind).take(count)
        return missing

    def _bucket(self, unit: str, kind: str) -> Bucket:
        found = self._buckets.get((unit, kind))
        if found is None:
            rate = self.limits.rate(kind)
            found = self._buckets[unit, kind] = Bucket(rate, rate * _BURST_S.get(kind, 60.0), self._clock())
        return found
