"""The consent ledger: one gap-free list of acts per seat."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from broker.store.cipher import ColumnCipher
from broker.store.tables import ledger_event


class LedgerRows:
    """Verbs on `ledger_event`; rows are only ever inserted."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def append(self, seat_id: bytes, ledger_seq: int, bucket: int, gate_version: int, event: bytes) -> None:
        """Add an act at its position on the knowledge axis."""
        self._c.execute(
            insert(ledger_event).values(
                seat_id=seat_id,
                ledger_seq=ledger_seq,
                bucket=bucket,
                gate_version=gate_version,
                event=self._cipher.seal("ledger_event.event", event),
            )
        )

    def after(self, seat_id: bytes, ledger_seq: int, limit: int = 1000) -> list[bytes]:
        """Encoded ledger events of a seat after a number, in order."""
        rows = self._c.execute(
            select(ledger_event.c.event)
            .where(ledger_event.c.seat_id == seat_id, ledger_event.c.ledger_seq > ledger_seq)
            .order_by(ledger_event.c.ledger_seq)
            .limit(limit)
        )
        return [self._cipher.open("ledger_event.event", row.event) for row in rows]

    def of_seats(self, seat_ids: Iterable[bytes]) -> dict[bytes, list[bytes]]:
        """Whole ledgers of several seats, each in order."""
        found: dict[bytes, list[bytes]] = {seat_id: [] for seat_id in seat_ids}
        rows = self._c.execute(
            select(ledger_event.c.seat_id, ledger_event.c.event)
            .where(ledger_event.c.seat_id.in_(list(found)))
            .order_by(ledger_event.c.seat_id, ledger_event.c.ledger_seq)
        )
        for row in rows:
            found[row.seat_id].append(self._cipher.open("ledger_event.event", row.event))
        return found
