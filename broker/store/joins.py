"""Joined cases of one person, and the withdrawals that went from one to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, insert, or_, select, update

from broker.store.cipher import ColumnCipher
from broker.store.join_tables import case_join, crossing
from broker.store.tables import seat, void_case

_OTHER_PERSON = "WRONG_PERSON"  # the ground on which a void case is nobody's of whom it was joined with


@dataclass(frozen=True, slots=True)
class JoinRow:
    """One join: the unit that sits in both cases, its two seats, and when it ended (None: it stands)."""

    join_id: bytes
    unit: str
    seat_id: bytes
    other_seat_id: bytes
    case_id: bytes
    other_case_id: bytes
    at_us: int
    ended_at_us: int | None = None

    @property
    def seats(self) -> tuple[bytes, bytes]:
        """The unit's two seats."""
        return self.seat_id, self.other_seat_id


@dataclass(frozen=True, slots=True)
class CrossingRow:
    """A withdrawal of everything on a ledger that was noted in another case; `told`: it was another person's."""

    seat_id: bytes
    ledger_seq: int
    origin_case: bytes
    told: bool = False


class JoinRows:
    """Verbs on `case_join` and `crossing`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def put(self, row: JoinRow) -> None:
        """A new join."""
        values = {name: getattr(row, name) for name in JoinRow.__slots__}
        values["unit"] = self._cipher.handle("case_join", row.unit)
        self._c.execute(insert(case_join).values(**values))

    def get(self, join_id: bytes) -> JoinRow | None:
        """One join, standing or ended; or None. Whoever changes one holds the gates of both its cases."""
        row = self._c.execute(select(case_join).where(case_join.c.join_id == join_id)).one_or_none()
        if row is None:
            return None
        found = JoinRow(*row)
        return replace(found, unit=self._cipher.code("case_join", found.unit))

    def stands(self, seats: Iterable[bytes]) -> bool:
        """Whether a join between these two seats stands, whichever was named first."""
        of, both = case_join.c, list(seats)
        query = select(of.join_id).where(of.seat_id.in_(both), of.other_seat_id.in_(both), of.ended_at_us.is_(None))
        return self._c.execute(query).first() is not None

    def end(self, join_id: bytes, at_us: int) -> None:
        """The join stands no more; the row stays."""
        self._c.execute(update(case_join).where(case_join.c.join_id == join_id).values(ended_at_us=at_us))

    def linked(self, case_id: bytes) -> frozenset[bytes]:
        """Every other case of the person of a case, through any number of standing joins.

        A case that was void for being another person's leads nowhere and is led to from nowhere.
        """
        # INVARIANT: test_a_case_of_another_person_is_no_bridge
        of, found, waiting = case_join.c, {case_id}, [case_id]
        other_person = set(
            self._c.execute(select(void_case.c.case_id).where(void_case.c.ground == _OTHER_PERSON)).scalars()
        )
        while waiting:
            one = waiting.pop()
            if one in other_person:
                continue
            query = select(of.case_id, of.other_case_id)
            query = query.where(or_(of.case_id == one, of.other_case_id == one), of.ended_at_us.is_(None))
            for pair in self._c.execute(query):
                fresh = set(pair) - found - other_person
                found |= fresh
                waiting += fresh
        return frozenset(found - {case_id})

    def crossed(self, row: CrossingRow) -> None:
        """Keep that a withdrawal of everything came from another case."""
        self._c.execute(insert(crossing).values(**{name: getattr(row, name) for name in CrossingRow.__slots__}))

    def crossings(self, seat_ids: Iterable[bytes]) -> list[CrossingRow]:
        """What reached these seats' ledgers from other cases, by seat and number."""
        query = select(crossing).where(crossing.c.seat_id.in_(list(seat_ids)))
        rows = self._c.execute(query.order_by(crossing.c.seat_id, crossing.c.ledger_seq))
        return [CrossingRow(*row) for row in rows]

    def untold(self, origin_cases: Iterable[bytes]) -> list[tuple[CrossingRow, bytes]]:
        """What went out from these cases and was not called another person's, each with the case that it reached."""
        query = select(crossing, seat.c.case_id).join(seat, seat.c.seat_id == crossing.c.seat_id)
        query = query.where(crossing.c.told.is_(False), crossing.c.origin_case.in_(list(origin_cases)))
        return [(CrossingRow(*row[:4]), row[4]) for row in self._c.execute(query)]

    def told(self, row: CrossingRow) -> None:
        """Its discloser was told that it was another person's."""
        of = crossing.c
        self._c.execute(
            update(crossing).where(of.seat_id == row.seat_id, of.ledger_seq == row.ledger_seq).values(told=True)
        )
