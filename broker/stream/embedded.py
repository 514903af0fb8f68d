"""The embedded Stream: a table in the Store's own SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from broker.store.port import Rows, Store
from schemas import limits
from schemas.errors import HandslagError
from schemas.stream_record import StreamRecord


class EmbeddedStream:
    """Stream driver on the Store; appended records are committed before `append` returns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news = asyncio.Event()
        self.on_append: Callable[[], None] = lambda: None
        """Called on the event loop after records were appended here; several nodes tell each other by it."""

    async def append(self, records: Mapping[int, Sequence[bytes]], unit: str = "") -> None:
        """Add records of a unit per bucket in one transaction, buckets ascending."""

        def work(rows: Rows) -> None:
            for bucket in sorted(records):
                rows.stream.append(bucket, records[bucket], unit)

        await self._store.write(work, shared=True)
        self._news.set()
        self.on_append()

    def rung(self) -> None:
        """Another node appended something: whoever waits looks."""
        self._news.set()

    async def share(self, unit: str) -> tuple[int, int]:
        """How many records of a unit wait, and their bytes."""
        return await self._store.read(lambda rows: rows.stream.share(unit))

    async def read(self, bucket: int, position: int, limit: int) -> Sequence[tuple[int, bytes | HandslagError]]:
        """Records from a position on."""
        return await self._store.read(lambda rows: rows.stream.after(bucket, position, limit))

    async def waiting(self) -> list[int]:
        """Buckets that hold a record."""
        return await self._store.read(lambda rows: rows.stream.waiting())

    async def trim(self, bucket: int, below: int) -> None:
        """Delete records below a decided position."""
        await self._store.write(lambda rows: rows.stream.trim(bucket, below), shared=True)

    async def lag(self) -> tuple[int, int | None]:
        """Undecided records and the moment the oldest was taken; a record that cannot be read tells no moment."""
        count, firsts = await self._store.read(lambda rows: rows.stream.summary())
        taken: list[int] = []
        for record in firsts:
            with contextlib.suppress(HandslagError):
                taken.append(StreamRecord.from_bytes(record, limits.SUBMISSION + limits.CALL).received_at_us)
        return count, min(taken, default=None)

    async def wait(self, seconds: float) -> None:
        """Return when something was appended here, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()

    def trouble(self) -> str | None:
        """Nothing that the Store would not have told."""
        return None
