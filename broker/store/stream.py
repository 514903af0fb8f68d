"""The embedded stream's table: submissions that wait, by bucket and position."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.store.bulk import insert_all
from broker.store.cipher import ColumnCipher
from broker.store.tables import BUCKETS, stream, stream_tail
from schemas.errors import HandslagError

_RECORD = "stream.record"


class StreamRows:
    """Verbs on `stream` and `stream_tail`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def create(self) -> None:
        """Insert the 64 tails of an empty store."""
        self._c.execute(insert(stream_tail), [{"bucket": b, "next_position": 0} for b in range(BUCKETS)])

    def append(self, bucket: int, records: Sequence[bytes], unit: str = "") -> int:
        """Add records at the next positions of a bucket; returns the first of them."""
        end = self._c.execute(
            update(stream_tail)
            .where(stream_tail.c.bucket == bucket)
            .values(next_position=stream_tail.c.next_position + len(records))
            .returning(stream_tail.c.next_position)
        ).scalar_one()
        first, of = int(end) - len(records), self._cipher.handle("stream", unit)
        sealed = [self._sealed(record) for record in records]
        rows = [
            {"bucket": bucket, "position": first + i, "record": record, "unit": of, "size": len(record)}
            for i, record in enumerate(sealed)
        ]
        insert_all(self._c, stream, rows)
        return first

    def after(self, bucket: int, position: int, limit: int) -> list[tuple[int, bytes | HandslagError]]:
        """(position, record) from a position on, in order; the refusal of a record whose day's key is destroyed."""
        rows = self._c.execute(
            select(stream.c.position, stream.c.record)
            .where(stream.c.bucket == bucket, stream.c.position >= position)
            .order_by(stream.c.position)
            .limit(limit)
        )
        opened = ((row.position, self._opened(row.record)) for row in rows)
        return [(at, HandslagError("HS-TRANSIT-GONE") if record is None else record) for at, record in opened]

    def share(self, unit: str) -> tuple[int, int]:
        """How many records of a unit wait, and their bytes as sealed; read from the index alone."""
        of = stream.c.unit == self._cipher.handle("stream", unit)
        query = select(func.count(), func.coalesce(func.sum(stream.c.size), 0)).where(of)
        count, size = self._c.execute(query).one()
        return int(count), int(size)

    def waiting(self) -> list[int]:
        """Buckets that hold a record."""
        return [int(b) for b in self._c.execute(select(stream.c.bucket).distinct()).scalars()]

    def summary(self) -> tuple[int, list[bytes]]:
        """(number of records that wait, the oldest record of each bucket that holds one)."""
        firsts = select(stream.c.bucket, func.min(stream.c.position).label("position")).group_by(stream.c.bucket)
        first = firsts.subquery()
        rows = self._c.execute(
            select(stream.c.record).join(
                first, (first.c.bucket == stream.c.bucket) & (first.c.position == stream.c.position)
            )
        )
        oldest = [record for record in map(self._opened, rows.scalars()) if record is not None]
        return int(self._c.execute(select(func.count()).select_from(stream)).scalar_one()), oldest

    def _sealed(self, record: bytes) -> bytes:
        sealed = self._cipher.seal(_RECORD, record)
        return self._cipher.keep(_RECORD, sealed) or sealed

    def _opened(self, raw: bytes) -> bytes | None:
        return self._cipher.maybe(self._cipher.open, _RECORD, self._cipher.kept(_RECORD, raw))

    def trim(self, bucket: int, below: int) -> None:
        """Delete records below the store's position: nothing decided stays in the stream."""
        self._c.execute(delete(stream).where(stream.c.bucket == bucket, stream.c.position < below))

    def ends(self) -> list[int]:
        """The position that the next record of every bucket gets, bucket 0 first."""
        return list(self._c.execute(select(stream_tail.c.next_position).order_by(stream_tail.c.bucket)).scalars())

    def empty(self) -> None:
        """Delete every record: another stream carries the submissions from now on."""
        self._c.execute(delete(stream))
