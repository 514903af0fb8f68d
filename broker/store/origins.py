"""Where the positions of the buckets point to: one row for each generation of a stream outside the Store."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from broker.store.tables import stream_origin


@dataclass(frozen=True, slots=True)
class Origin:
    """A generation, numbered from 1 on: whose log, which keys, since when, and why the one before ended.

    `topic_id` and `chain` (the name of the transit chain) are 16 bytes each, `opened_at_us` is microseconds since 1970,
    `cause` one of `broker.stream.generations`.
    """

    generation: int
    topic_id: bytes
    chain: bytes
    opened_at_us: int
    cause: str


class OriginRows:
    """Verbs on `stream_origin`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def latest(self) -> Origin | None:
        """The generation that the positions belong to; None while the stream is a table of the Store."""
        row = self._c.execute(select(stream_origin).order_by(stream_origin.c.generation.desc()).limit(1)).first()
        return None if row is None else Origin(**row._mapping)

    def open(self, origin: Origin) -> None:
        """Record a new generation; its number must be free."""
        self._c.execute(insert(stream_origin).values(**asdict(origin)))
