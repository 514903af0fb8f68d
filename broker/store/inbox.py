"""Inbox items other than deliveries: receipts, notices, statements, recalls, ledger notices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select, update

from broker.store.bulk import insert_all
from broker.store.cipher import ColumnCipher
from broker.store.dialect import locked
from broker.store.ready import Ready, readied
from broker.store.tables import item
from schemas import limits


@dataclass(frozen=True, slots=True)
class Item:
    """One item for a unit; `body` is the encoded record its kind names. It waits until `not_before_us`."""

    item_id: bytes
    unit: str
    kind: str
    body: bytes
    not_before_us: int = 0


@dataclass(frozen=True, slots=True)
class Leased:
    """An item as it was leased; `Sealing.opened` opens it once its transaction is over."""

    item_id: bytes
    unit: str
    kind: str
    sealed: bytes


def opened(cipher: ColumnCipher, leased: Leased) -> Item:
    """The item; raises `HS-KEYS-UNREADABLE`."""
    return Item(leased.item_id, leased.unit, leased.kind, cipher.open("inbox_item.body", leased.sealed))


def ready(cipher: ColumnCipher, one: Item) -> Ready[Item]:
    """An item as it lies in `inbox_item`, without the number that the engine draws."""
    columns = {
        "item_id": one.item_id,
        "unit": cipher.handle("inbox_item", one.unit),
        "kind": one.kind,
        "body": cipher.seal("inbox_item.body", one.body),
        "lease_until_us": 0,
        "not_before_us": one.not_before_us,
    }
    return Ready(one, columns)


class InboxRows:
    """Verbs on `inbox_item`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher
        self.news = False
        """Whether this transaction put something in."""

    def put(self, items: Sequence[Item | Ready[Item]]) -> None:
        """Add items in order."""
        if items:
            self.news = True
            insert_all(self._c, item, [one.columns for one in readied(items, partial(ready, self._cipher))])

    def any(self, unit: str, now_us: int) -> bool:
        """Whether something waits for a unit; only a look, so that an idle beat writes nothing."""
        due = (item.c.lease_until_us <= now_us, item.c.not_before_us <= now_us)
        query = select(item.c.number).where(self._of(unit), *due).limit(1)
        return self._c.execute(query).first() is not None

    def lease(self, unit: str, limit: int, now_us: int, until_us: int) -> list[Leased]:
        """Items of a unit that nobody holds a lease on, oldest first, leased until `until_us`."""
        due = (item.c.lease_until_us <= now_us, item.c.not_before_us <= now_us)
        query = select(item).where(self._of(unit), *due).order_by(item.c.number).limit(limit)
        rows = self._c.execute(locked(self._c, query, skip_locked=True)).all()
        room = limits.INBOX_BYTES
        fit: list[Row[Any]] = []
        for row in rows:  # as many as one answer has room for, at least one
            room -= len(row.body)
            if fit and room < 0:
                break
            fit.append(row)
        if fit:
            numbers = [row.number for row in fit]
            self._c.execute(update(item).where(item.c.number.in_(numbers)).values(lease_until_us=until_us))
        return [Leased(row.item_id, unit, row.kind, row.body) for row in fit]

    def of_kinds(self, unit: str, item_ids: Collection[bytes], kinds: Collection[str]) -> list[Leased]:
        """Those of these items of a unit that are of one of the kinds, oldest first."""
        if not item_ids:
            return []
        wanted = (item.c.item_id.in_(list(item_ids)), item.c.kind.in_(list(kinds)))
        rows = self._c.execute(select(item).where(self._of(unit), *wanted).order_by(item.c.number))
        return [Leased(row.item_id, unit, row.kind, row.body) for row in rows]

    def remove(self, unit: str, item_ids: Iterable[bytes]) -> set[bytes]:
        """Delete acknowledged items of a unit; returns the ids that were there."""
        rows = self._c.execute(
            delete(item).where(self._of(unit), item.c.item_id.in_(list(item_ids))).returning(item.c.item_id)
        )
        return {row.item_id for row in rows}

    def _of(self, unit: str) -> ColumnElement[bool]:
        return item.c.unit == self._cipher.handle("inbox_item", unit)
