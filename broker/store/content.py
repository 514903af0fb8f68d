"""Content under keys of days: what is open is sealed anew before its day's key is destroyed, what is lost is found.

An engine that keeps the bytes of deleted and changed rows (PostgreSQL: dead tuples, write-ahead log, base backups) has
them under a key that goes; in what is still open the key is changed in place meanwhile.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, and_, false, func, literal, not_, or_, select, update

from broker.store.cipher import KEPT_HEAD, KEPT_MARK, ColumnCipher
from broker.store.deliveries import CONTENT, OPEN
from broker.store.dialect import locked
from broker.store.tables import delivery, delivery_section, stream

_DAY = 4


class ContentRows:
    """Verbs on the content columns of `delivery`, `delivery_section` and `stream`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def older(self, day: int, limit: int) -> list[bytes]:
        """Ids of open deliveries with anything in the clear, or under a key that is here and older than `day`."""
        of = delivery_section.c
        own = or_(*(self._before(of[name], day) for name in CONTENT))
        parts = select(of.delivery_id).where(of.delivery_id == delivery.c.delivery_id, own).exists()
        query = select(delivery.c.delivery_id).where(_is_open(), or_(self._before(delivery.c.body, day), parts))
        return list(self._c.execute(query.order_by(delivery.c.delivery_id).limit(limit)).scalars())

    def renew(self, delivery_ids: list[bytes]) -> int:
        """Seal content under today's key; returns in how many deliveries. What cannot be opened stays as it is.

        A delivery that somebody else holds at this moment is left for the next time.
        """
        query = select(delivery.c.delivery_id, delivery.c.body).where(delivery.c.delivery_id.in_(delivery_ids))
        rows = self._c.execute(locked(self._c, query.order_by(delivery.c.delivery_id), skip_locked=True)).all()
        for row in rows:
            self._renew(delivery, delivery.c.delivery_id == row.delivery_id, {"body": row.body})
        of = delivery_section.c
        parts = select(of.delivery_id, of.digest, *(of[name] for name in CONTENT))
        for part in self._c.execute(parts.where(of.delivery_id.in_([row.delivery_id for row in rows]))).all():
            where = and_(of.delivery_id == part.delivery_id, of.digest == part.digest)
            self._renew(delivery_section, where, {name: part._mapping[name] for name in CONTENT})
        return len(rows)

    def lost(self, limit: int) -> list[tuple[int, bytes]]:
        """(bucket, id) of open deliveries whose content cannot be opened here: its key is destroyed, or never was."""
        body = delivery.c.body
        gone = and_(_is_marked(body), or_(self._is_other(body), self._is_gone(body)))
        query = select(delivery.c.bucket, delivery.c.delivery_id)
        query = query.where(_is_open(), delivery.c.invitation_id.is_(None), gone)
        rows = self._c.execute(query.order_by(delivery.c.bucket, delivery.c.delivery_id).limit(limit))
        return [(int(row.bucket), row.delivery_id) for row in rows]

    def waiting_before(self, day: int) -> bool:
        """Whether an undecided submission in the store's own stream needs a key older than `day`."""
        query = select(stream.c.position).where(_is_marked(stream.c.record), _day(stream.c.record) < _number(day))
        return self._c.execute(query.limit(1)).first() is not None

    def of_another_chain(self) -> bool:
        """Whether keys that this node does not have sealed something that is open."""
        query = select(delivery.c.delivery_id).where(
            _is_open(), _is_marked(delivery.c.body), self._is_other(delivery.c.body)
        )
        return self._c.execute(query.limit(1)).first() is not None

    def _renew(self, table: Any, where: ColumnElement[bool], values: dict[str, bytes | None]) -> None:
        """Only what can be opened is written again: a value that is gone keeps its bytes, for `lost` to find."""
        made: dict[str, bytes | None] = {}
        for name, raw in values.items():
            column = f"{table.name}.{name}"
            found = self._cipher.kept(column, raw)
            if found is not None:
                made[name] = self._cipher.keep(column, found)
        if made:
            self._c.execute(update(table).where(where).values(**made))

    def _before(self, column: ColumnElement[bytes], day: int) -> ColumnElement[bool]:
        if self._cipher.days is None:
            return false()
        here = and_(_day(column) >= _number(self._cipher.days.first()), _day(column) < _number(day))
        return and_(column.is_not(None), or_(_is_clear(column), and_(here, not_(self._is_other(column)))))

    def _is_gone(self, column: ColumnElement[bytes]) -> ColumnElement[bool]:
        return false() if self._cipher.days is None else _day(column) < _number(self._cipher.days.first())

    def _is_other(self, column: ColumnElement[bytes]) -> ColumnElement[bool]:
        tag = b"" if self._cipher.days is None else self._cipher.days.tag
        return func.substr(column, len(KEPT_MARK) + 1, _DAY) != literal(tag, LargeBinary)


def _is_open() -> ColumnElement[bool]:
    return delivery.c.state.in_([state.value for state in OPEN])


def _is_marked(column: ColumnElement[bytes]) -> ColumnElement[bool]:
    return func.substr(column, 1, len(KEPT_MARK)) == literal(KEPT_MARK, LargeBinary)


def _is_clear(column: ColumnElement[bytes]) -> ColumnElement[bool]:
    return func.substr(column, 1, len(KEPT_MARK)) != literal(KEPT_MARK, LargeBinary)


def _day(column: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return func.substr(column, KEPT_HEAD + 1, _DAY, type_=LargeBinary)


def _number(day: int) -> ColumnElement[bytes]:
    return literal(max(0, day).to_bytes(_DAY, "big"), LargeBinary)
