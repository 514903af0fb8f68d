"""What waits in a stream that lies elsewhere: ends and positions per bucket, who put it there, since when. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

_SAMPLES = 512  # moments remembered per bucket; more are told together with an earlier one
_TOGETHER_US = 200_000  # ends seen within it count as of the first: an age is told too old rather than too young


class Backlog:
    """Counts of one node. `ends` is the position after a bucket's last record, `positions` the Store's own."""

    def __init__(self, buckets: int) -> None:
        self.ends: list[int | None] = [None] * buckets
        self.positions: list[int | None] = [None] * buckets
        self._seen: list[deque[tuple[int, int]]] = [deque() for _ in range(buckets)]
        self._shares: dict[str, deque[tuple[int, int, int, int]]] = defaultdict(deque)
        self._unmoved: dict[int, tuple[int, float]] = {}

    def appended(self, bucket: int, end: int, unit: str, sizes: Sequence[int], at_us: int) -> None:
        """This node put records of a unit before `end`, of these sizes."""
        self._shares[unit].append((bucket, end, len(sizes), sum(sizes)))
        self._reached(bucket, end, at_us)

    def ended(self, ends: Mapping[int, int], at_us: int) -> None:
        """Where the logs end, as seen at a moment."""
        for bucket, end in ends.items():
            self._reached(bucket, end, at_us)

    def decided(self, bucket: int, position: int) -> None:
        """A batch of this node ended before `position`."""
        self.stands(bucket, max(position, self.positions[bucket] or 0))

    def stands(self, bucket: int, position: int) -> None:
        """The Store's position of a bucket as read; it has the last word, also when it has been set back."""
        self.positions[bucket] = position
        seen = self._seen[bucket]
        while seen and seen[0][0] <= position:
            seen.popleft()

    def _reached(self, bucket: int, end: int, at_us: int) -> None:
        if end <= (self.ends[bucket] or 0):
            self.ends[bucket] = self.ends[bucket] or 0
            return
        self.ends[bucket] = end
        if end <= (self.positions[bucket] or 0):
            return
        seen = self._seen[bucket]
        if seen and (len(seen) >= _SAMPLES or at_us - seen[-1][1] < _TOGETHER_US):
            at_us = seen.pop()[1]
        seen.append((end, at_us))

    def waiting(self) -> list[int]:
        """Buckets whose end lies above the Store's position."""
        return [bucket for bucket in range(len(self.ends)) if self._open(bucket) > 0]

    def lag(self) -> tuple[int, int | None]:
        """(records not decided, moment the oldest was seen here in microseconds)."""
        buckets = self.waiting()
        since = [self._seen[bucket][0][1] for bucket in buckets if self._seen[bucket]]
        return sum(map(self._open, buckets)), min(since, default=None)

    def share(self, unit: str) -> tuple[int, int]:
        """(records, bytes) that this node took from a unit and that are not all decided."""
        mine = self._shares.get(unit)
        if mine is None:
            return 0, 0
        left = deque(part for part in mine if part[1] > (self.positions[part[0]] or 0))
        if left:
            self._shares[unit] = left
        else:
            del self._shares[unit]
        return sum(part[2] for part in left), sum(part[3] for part in left)

    def stalled(self, now_s: float, seconds: float) -> list[int]:
        """Buckets where something waits and the position has not moved for `seconds`; call it often."""
        waiting = set(self.waiting())
        for bucket in waiting:
            position = self.positions[bucket] or 0
            if self._unmoved.get(bucket, (-1, 0.0))[0] != position:
                self._unmoved[bucket] = position, now_s
        self._unmoved = {bucket: seen for bucket, seen in self._unmoved.items() if bucket in waiting}
        return sorted(bucket for bucket, (_, since) in self._unmoved.items() if now_s - since >= seconds)

    def _open(self, bucket: int) -> int:
        end, position = self.ends[bucket], self.positions[bucket]
        return 0 if end is None else max(0, end - (position or 0))
