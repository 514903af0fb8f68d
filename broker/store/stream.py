"""The embedded stream's table: submissions that wait, by bucket and position."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.tables import BUCKETS, stream, stream_tail


class StreamRows:
    """Verbs on `stream` and `stream_tail`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def create(self) -> None:
        """Insert the 64 tails of an empty store."""
        self._c.execute(insert(stream_tail), [{"bucket": b, "next_position": 0} for b in range(BUCKETS)])

    def append(self, bucket: int, records: Sequence[bytes]) -> int:
        """Add records at the next positions of a bucket; returns the first of them."""
        end = self._c.execute(
            update(stream_tail)
            .where(stream_tail.c.bucket == bucket)
            .values(next_position=stream_tail.c.next_position + len(records))
            .returning(stream_tail.c.next_position)
        ).scalar_one()
        first = int(end) - len(records)
        self._c.execute(
            insert(stream),
            [{"bucket": bucket, "position": first + i, "record": record} for i, record in enumerate(records)],
        )
        return first

    def after(self, bucket: int, position: int, limit: int) -> list[tuple[int, bytes]]:
        """(position, record) from a position on, in order."""
        rows = self._c.execute(
            select(stream.c.position, stream.c.record)
            .where(stream.c.bucket == bucket, stream.c.position >= position)
            .order_by(stream.c.position)
            .limit(limit)
        )
        return [(row.position, row.record) for row in rows]

    def waiting(self) -> list[int]:
        """Buckets that hold a record."""
        return [int(b) for b in self._c.execute(select(stream.c.bucket).distinct()).scalars()]

    def trim(self, bucket: int, below: int) -> None:
        """Delete records below the store's position: nothing decided stays in the stream."""
        self._c.execute(delete(stream).where(stream.c.bucket == bucket, stream.c.position < below))
