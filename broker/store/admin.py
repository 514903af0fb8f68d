"""Which administrative acts were recorded, and by which entry."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, insert, select

from broker.store.cipher import ColumnCipher
from broker.store.shared import moved
from broker.store.tables import admin_act, entry, payload


@dataclass(frozen=True, slots=True)
class ActRow:
    """One act: its number, the SHA-256 of the act as signed, the entry that records it, microseconds UTC."""

    number: int
    act_hash: bytes
    entry_id: bytes
    at_us: int

    @staticmethod
    def hash_of(act: bytes) -> bytes:
        """What identifies an act."""
        return sha256(act).digest()


class AdminRows:
    """Verbs on `admin_act`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def put(self, row: ActRow) -> None:
        """Keep an act, in the transaction of its entry."""
        values = {field: getattr(row, field) for field in ActRow.__slots__}
        self._c.execute(insert(admin_act).values(**values))
        moved(self._c)

    def hashes(self) -> list[bytes]:
        """The hash of every act, in order."""
        return [bytes(row.act_hash) for row in self._c.execute(select(admin_act).order_by(admin_act.c.number))]

    def entries(self, after: int, limit: int) -> list[tuple[int, bytes, bytes, bytes, bytes]]:
        """(act number, entry id, entry bytes, leaf hash, payload) of the acts after a number, in order."""
        rows = self._c.execute(
            select(admin_act.c.number, entry.c.entry_id, entry.c.bytes, entry.c.leaf_hash, payload.c.blob)
            .join(entry, entry.c.entry_id == admin_act.c.entry_id)
            .join(payload, payload.c.entry_id == admin_act.c.entry_id)
            .where(admin_act.c.number > after)
            .order_by(admin_act.c.number)
            .limit(limit)
        )
        opened = self._cipher.open
        return [
            (number, entry_id, opened("entry.bytes", raw), leaf_hash, opened("payload.blob", blob))
            for number, entry_id, raw, leaf_hash, blob in rows
        ]
