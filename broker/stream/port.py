"""The port of the Stream: submissions that wait, in order, per bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from schemas.errors import HandslagError


class Stream(Protocol):
    """A Stream driver. Positions are per bucket, gap-free, and the Store keeps the only offset."""

    async def append(self, records: Mapping[int, Sequence[bytes]], unit: str = "") -> None:
        """Add records of a unit per bucket; durable when it returns."""
        ...

    async def share(self, unit: str) -> tuple[int, int]:
        """How many records of a unit wait, and their bytes."""
        ...

    async def read(self, bucket: int, position: int, limit: int) -> Sequence[tuple[int, bytes | HandslagError]]:
        """(position, record) from a position on, in order, at most `limit`; the refusal of what nobody can read."""
        ...

    async def waiting(self) -> list[int]:
        """Buckets that may hold undecided records."""
        ...

    async def trim(self, bucket: int, below: int) -> None:
        """Forget records below a decided position."""
        ...

    async def lag(self) -> tuple[int, int | None]:
        """(number of undecided records, moment the oldest was taken in microseconds) for the metrics."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when something was appended, or after `seconds`."""
        ...

    def trouble(self) -> str | None:
        """Code of what keeps submissions from being taken or decided; None when nothing does."""
        ...
