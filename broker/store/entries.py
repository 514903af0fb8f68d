"""Audit entries, committed in the transaction of what they record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from sqlalchemy import Connection, select

from audit.entry import SealedEntry
from broker.store.bulk import insert_all
from broker.store.cipher import ColumnCipher
from broker.store.ready import Ready, readied
from broker.store.tables import entry, leaf, payload


def ready(cipher: ColumnCipher, one: SealedEntry) -> Ready[SealedEntry]:
    """An entry as it lies in `entry`, and its payload beside it."""
    columns = {
        "entry_id": one.entry_id,
        "owner": "",  # stands in the sealed bytes: the moment would tie it to a seat
        "handle": one.handle,
        "at_us": one.at_us,
        "operation": one.operation,
        "outcome": one.outcome,
        "reason_class": one.reason_class,
        "bytes": cipher.seal("entry.bytes", one.entry_bytes),
        "leaf_hash": one.leaf_hash,
    }
    return Ready(one, columns, {"entry_id": one.entry_id, "blob": cipher.seal("payload.blob", one.payload)})


class EntryRows:
    """Verbs on `entry` and `payload`; nothing is ever changed."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def insert(self, sealed: Sequence[SealedEntry | Ready[SealedEntry]]) -> None:
        """Record entries. INVARIANT: test_record_with_release, in the transaction of their effect."""
        made = readied(sealed, partial(ready, self._cipher))
        insert_all(self._c, entry, [one.columns for one in made])
        insert_all(self._c, payload, [one.beside for one in made if one.beside is not None])

    def of_handles(
        self, handles: Iterable[bytes], after: int, limit: int, upto: bytes
    ) -> list[tuple[int, bytes, bytes, bytes, bytes]]:
        """(number, entry id, entry bytes, leaf hash, payload) of the entries under these handles, oldest first.

        None that is newer than the entry with id `upto`: what a look was recorded for, and not one entry more.
        """
        newest = select(entry.c.number).where(entry.c.entry_id == upto).scalar_subquery()
        rows = self._c.execute(
            select(entry.c.number, entry.c.entry_id, entry.c.bytes, entry.c.leaf_hash, payload.c.blob)
            .join(payload, payload.c.entry_id == entry.c.entry_id)
            .where(entry.c.handle.in_(list(handles)), entry.c.number > after, entry.c.number <= newest)
            .order_by(entry.c.number)
            .limit(limit)
        )
        return [
            (
                number,
                entry_id,
                self._cipher.open("entry.bytes", raw),
                leaf_hash,
                self._cipher.open("payload.blob", blob),
            )
            for number, entry_id, raw, leaf_hash, blob in rows
        ]

    def unsealed(self, floor: int = 0, limit: int | None = None) -> list[tuple[int, bytes]]:
        """(number, leaf hash) of the entries above number `floor` that have no leaf yet, oldest first.

        Asked for by absence: an entry that commits late has a low number. `floor` is a number up to which *every*
        number has its leaf (`LogRows.sealed_floor`); without one, each beat would read the whole trail.
        """
        rows = self._c.execute(
            select(entry.c.number, entry.c.leaf_hash)
            .outerjoin(leaf, leaf.c.entry_number == entry.c.number)
            .where(entry.c.number > floor, leaf.c.idx.is_(None))
            .order_by(entry.c.number)
            .limit(limit)
        )
        return [(row.number, row.leaf_hash) for row in rows]

    def unsealed_summary(self, floor: int, limit: int) -> tuple[int, int | None]:
        """(number of entries above `floor` without a leaf, at most `limit`; moment of the oldest) for the metrics."""
        rows = self._c.execute(
            select(entry.c.at_us)
            .outerjoin(leaf, leaf.c.entry_number == entry.c.number)
            .where(entry.c.number > floor, leaf.c.idx.is_(None))
            .order_by(entry.c.number)
            .limit(limit)
        )
        times = list(rows.scalars())
        return len(times), min(times, default=None)

    def index_of(self, leaf_hashes: Iterable[bytes]) -> dict[bytes, int]:
        """Leaf index by leaf hash, for those that are in the tree."""
        rows = self._c.execute(
            select(entry.c.leaf_hash, leaf.c.idx)
            .join(leaf, leaf.c.entry_number == entry.c.number)
            .where(entry.c.leaf_hash.in_(list(leaf_hashes)))
        )
        return {row.leaf_hash: row.idx for row in rows}
