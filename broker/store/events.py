"""What is remembered of events, and the attempts made at them: one signature never carries two texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from broker.store.bulk import insert_all
from broker.store.tables import attempt, event_memory


class EventRows:
    """Verbs on `event_memory` and `attempt`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def fingerprints(self, event_ids: Iterable[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
        """(sender seat, fingerprint of core, digests and routing item) by event id."""
        rows = self._c.execute(select(event_memory).where(event_memory.c.event_id.in_(list(event_ids))))
        return {row.event_id: (row.seat_id, row.fingerprint) for row in rows}

    def remember(self, rows: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        """Remember (event id, sender seat, fingerprint) of events seen for the first time."""
        insert_all(self._c, event_memory, [{"event_id": e, "seat_id": s, "fingerprint": f} for e, s, f in rows])

    def attempts(self, event_ids: Iterable[bytes]) -> dict[tuple[bytes, int], tuple[bytes, bytes]]:
        """(attempt hash, receipt) by (event id, attempt)."""
        rows = self._c.execute(select(attempt).where(attempt.c.event_id.in_(list(event_ids))))
        return {(row.event_id, row.attempt): (row.attempt_hash, row.receipt) for row in rows}

    def record_attempts(self, rows: Sequence[tuple[bytes, int, bytes, bytes]]) -> None:
        """Keep (event id, attempt, attempt hash, receipt): the same attempt gets the same receipt."""
        insert_all(
            self._c, attempt, [{"event_id": e, "attempt": n, "attempt_hash": h, "receipt": r} for e, n, h, r in rows]
        )
