"""Erasing a seat: what stands against it, what goes, and what is remembered of it.

What other seats hold stays: their entries are under keys of their own, and what they gave this seat is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, insert, or_, select, update

from broker.store import tables
from broker.store.cipher import ColumnCipher
from broker.store.dialect import holds, locked
from broker.store.erasure_tables import erasure
from broker.store.inbox import Item, Leased, opened
from broker.store.join_tables import case_join, crossing
from broker.store.shared import moved
from broker.store.statute_tables import acute
from broker.store.statutes import OPEN as UNANSWERED
from schemas.codes import DeliveryState, SeatState
from schemas.identifiers import ZERO32

BEGUN, ERASED, DONE, ABSENT = "BEGUN", "ERASED", "DONE", "ABSENT"
_OPEN = (DeliveryState.PENDING.value, DeliveryState.HANDED.value)
_DELIVERY, _SEAT, _ITEM = tables.delivery.c, tables.seat.c, tables.item.c


LOOKED_AT_ONCE = 500
"""How many items of an inbox one transaction opens, or one statement deletes."""


class InboxGrew(Exception):  # noqa: N818 - an answer, not a fault: look again
    """More came into an inbox than one transaction opens."""


@dataclass(frozen=True, slots=True)
class InboxLook:
    """What was found in an inbox before: every number that was looked at, and those that are about the seat."""

    seen: frozenset[int]
    found: frozenset[int]


def is_about(one: Item, names: Iterable[bytes]) -> bool:
    """Whether an item names one of `names` (16 bytes each)."""
    return any(name in one.body for name in names)


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """One act that erases, and how far it was carried out.

    BEGUN (recorded), ERASED (nothing is left in the tables), DONE (nor in any file), or ABSENT (the seat was not here).
    `at_us` is when that was; `entries` how many lost their content.
    """

    act_number: int
    state: str
    seat_id: bytes | None
    ground: str
    act_entry: bytes
    handle: bytes | None
    begin_entry: bytes | None
    at_us: int
    entries: int = 0

    def shown(self) -> dict[str, Any]:
        """For a person or as JSON; the seat is not named."""
        return {"act": self.act_number, "state": self.state, "ground": self.ground, "at_us": self.at_us,
                "entries": self.entries}  # fmt: skip


class ErasureRows:
    """Verbs on `erasure`, and on every row of a seat that goes with it."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    # --- how far

    def put(self, row: ErasureRow) -> None:
        """Keep how far an act was carried out, in the place of what was kept before."""
        self._c.execute(delete(erasure).where(erasure.c.act_number == row.act_number))
        self._c.execute(insert(erasure).values(**{name: getattr(row, name) for name in ErasureRow.__slots__}))
        moved(self._c)

    def done(self, row: ErasureRow) -> ErasureRow:
        """Nothing is left in any file: what tied the seat to its unreadable entries goes as well; returns the rest."""
        bare = replace(row, state=DONE, handle=None, begin_entry=None)
        self.put(bare)
        return bare

    def all(self) -> dict[int, ErasureRow]:
        """Every act that was begun, by its number."""
        rows = self._c.execute(select(erasure).order_by(erasure.c.act_number))
        return {row.act_number: ErasureRow(*row) for row in rows}

    def of_seat(self, seat_id: bytes) -> ErasureRow | None:
        """The erasure of a seat, or None."""
        row = self._c.execute(select(erasure).where(erasure.c.seat_id == seat_id)).one_or_none()
        return None if row is None else ErasureRow(*row)

    def seats(self) -> list[bytes]:
        """Ids of all seats there are."""
        return list(self._c.execute(select(_SEAT.seat_id).order_by(_SEAT.seat_id)).scalars())

    # --- what stands against it

    def open_part(self, seat_id: bytes) -> str | None:
        """The first row that stands against erasing a seat, as a word of `HS-ERASE-REFUSED`; None when none.

        What waits in its unit's inbox is sealed and is looked for by itself: `InboxLook`.
        """
        of = self._c.execute(select(_SEAT.state, _SEAT.unit).where(_SEAT.seat_id == seat_id)).one()
        hold = tables.hold_seat.c
        if of.state != SeatState.CLOSED:
            return "seat"
        if self._any(select(hold.seat_id).where(hold.seat_id == seat_id, hold.state != "RELEASED")):
            return "hold"
        mine = or_(_DELIVERY.sender_seat == seat_id, _DELIVERY.recipient_seat == seat_id)
        if self._any(select(_DELIVERY.delivery_id).where(mine, _DELIVERY.state.in_(_OPEN))):
            return "delivery"
        invited = tables.invitation.c
        if self._any(
            select(invited.invitation_id).where(
                invited.inviter_seat == seat_id, invited.state.in_(("OPEN", "ACCEPTED"))
            )
        ):
            return "invitation"
        told = tables.annul_notice.c
        if self._any(select(told.notice_id).where(told.seat_id == seat_id, told.answered_at_us.is_(None))):
            return "annulment"
        # INVARIANT: test_what_a_second_person_has_not_answered_is_not_erased
        alone = or_(acute.c.seat_id == seat_id, acute.c.recipient_seat == seat_id) & (acute.c.state == UNANSWERED)
        return "second" if self._any(select(acute.c.disclosure_id).where(alone)) else None

    def _any(self, query: Select[Any]) -> bool:
        return self._c.execute(query.limit(1)).first() is not None

    # --- what waits for its unit

    def names(self, seat_id: bytes) -> frozenset[bytes]:
        """By what an item is known to be about a seat: the ids of the seat, its events and its deliveries."""
        mine = or_(_DELIVERY.sender_seat == seat_id, _DELIVERY.recipient_seat == seat_id)
        sent = self._c.execute(select(_DELIVERY.delivery_id).where(mine)).scalars()
        return frozenset({seat_id, *self._events(seat_id), *sent})

    def waiting(self, seat_id: bytes, after: int, limit: int) -> list[tuple[int, Leased]]:
        """(number, item) of what waits for the seat's unit, after a number and in order; `Sealing.opened` opens it."""
        return self._found(seat_id, (_ITEM.number > after), limit)

    def about(self, seat_id: bytes, look: InboxLook) -> set[int]:
        """Numbers of the items about a seat that wait now; those that the look had not seen are opened here.

        Raises InboxGrew when they are more than LOOKED_AT_ONCE.
        """
        # INVARIANT: test_no_transaction_opens_a_whole_inbox
        of = _ITEM.unit == self._cipher.handle("inbox_item", self._unit(seat_id))
        # Each number, not the largest: what commits late has a small one.
        now = set(self._c.execute(select(_ITEM.number).where(of)).scalars())
        new = now - look.seen
        if len(new) > LOOKED_AT_ONCE:
            raise InboxGrew
        if not new:
            return now & look.found
        names = self.names(seat_id)
        fresh = self._found(seat_id, _ITEM.number.in_(new), LOOKED_AT_ONCE)
        told = {number for number, one in fresh if is_about(opened(self._cipher, one), names)}
        return (now & look.found) | told

    def drop(self, numbers: Iterable[int]) -> int:
        """Delete items by their numbers; returns how many there were."""
        return self._delete(tables.item, _ITEM.number.in_(list(numbers)))

    def _found(self, seat_id: bytes, condition: ColumnElement[bool], limit: int) -> list[tuple[int, Leased]]:
        unit = self._unit(seat_id)
        of = _ITEM.unit == self._cipher.handle("inbox_item", unit)
        rows = self._c.execute(select(tables.item).where(of, condition).order_by(_ITEM.number).limit(limit))
        return [(row.number, Leased(row.item_id, unit, row.kind, row.body)) for row in rows]

    def _unit(self, seat_id: bytes) -> str:
        handle = self._c.execute(select(_SEAT.unit).where(_SEAT.seat_id == seat_id)).scalar_one()
        return self._cipher.code("seat", handle)

    def _events(self, seat_id: bytes) -> list[bytes]:
        of = tables.event_memory.c
        return list(self._c.execute(select(of.event_id).where(of.seat_id == seat_id)).scalars())

    # --- what goes

    def shut(self, seat_id: bytes) -> None:
        """Close a seat that a restored copy still has open: before the copy was lost it was closed and erased."""
        mine = or_(_DELIVERY.sender_seat == seat_id, _DELIVERY.recipient_seat == seat_id)
        for state, ended in (("PENDING", DeliveryState.CANCELLED), ("HANDED", DeliveryState.EXPIRED)):
            query = select(_DELIVERY.delivery_id).where(mine, _DELIVERY.state == state)
            found = self._c.execute(locked(self._c, query.order_by(_DELIVERY.delivery_id))).scalars()
            ids, gone = list(found), {"item": None, "wrapped_key": None, "live": False}
            section = tables.delivery_section
            self._c.execute(update(section).where(section.c.delivery_id.in_(ids)).values(**gone))
            values = {"state": ended.value, "body": None, "row_version": _DELIVERY.row_version + 1}
            self._c.execute(update(tables.delivery).where(_DELIVERY.delivery_id.in_(ids)).values(**values))
        self._c.execute(update(tables.seat).where(_SEAT.seat_id == seat_id).values(state=SeatState.CLOSED.value))
        self._delete(tables.hold_seat, tables.hold_seat.c.seat_id == seat_id)

    def wipe(self, seat_id: bytes, handle: bytes, look: InboxLook) -> int:
        """Delete everything of a seat but the bare row of it; returns how many entries lost their content.

        Raises InboxGrew: look again.
        """
        # INVARIANT: test_nothing_of_an_erased_seat_lies_in_any_file
        self.drop(self.about(seat_id, look))
        self._wipe_answers(seat_id)
        events = self._events(seat_id)
        sent = list(self._c.execute(select(_DELIVERY.delivery_id).where(_DELIVERY.sender_seat == seat_id)).scalars())
        for table in (tables.delivery_section, tables.earlier_ground, tables.annul_notice, tables.delivery):
            self._delete(table, table.c.delivery_id.in_(sent))
        self._delete(tables.attempt, tables.attempt.c.event_id.in_(events))
        for table in (tables.event_memory, tables.ledger_event, tables.rekey, tables.rekey_signature,
                      tables.succession, tables.annul_notice, crossing):  # fmt: skip
            self._delete(table, table.c.seat_id == seat_id)
        invited = tables.invitation
        self._delete(invited, or_(invited.c.seat_id == seat_id, invited.c.inviter_seat == seat_id))
        ended = case_join.c.ended_at_us.is_not(None)
        self._delete(case_join, or_(case_join.c.seat_id == seat_id, case_join.c.other_seat_id == seat_id) & ended)
        self._delete(acute, or_(acute.c.seat_id == seat_id, acute.c.recipient_seat == seat_id))
        self._bare(seat_id)
        entries = select(tables.entry.c.entry_id).where(
            tables.entry.c.handle == handle, tables.entry.c.operation != "ERASURE"
        )
        return self._delete(tables.payload, tables.payload.c.entry_id.in_(entries))

    def _wipe_answers(self, seat_id: bytes) -> None:
        call = tables.call.c
        unit = self._cipher.handle("call", self._unit(seat_id))
        self._delete(tables.call, (call.unit == unit) & holds(call.answer, seat_id))

    def _bare(self, seat_id: bytes) -> None:
        """Leave of the seat that it was there; of its statements what open seats of the case know each other by."""
        values = {"ledger_seq": 0, "head": ZERO32, "signing_key": b"", "seat_key_id": b"", "recipient_sealed": b"",
                  "recipient_own": b"", "previous_signing_key": None, "previous_key_id": None}  # fmt: skip
        self._c.execute(update(tables.seat).where(_SEAT.seat_id == seat_id).values(**values))
        case_id = self._c.execute(select(_SEAT.case_id).where(_SEAT.seat_id == seat_id)).scalar_one()
        query = select(_SEAT.seat_id, _SEAT.state, _SEAT.member, _SEAT.chain).where(_SEAT.case_id == case_id)
        seats = self._c.execute(query).all()
        if any(one.state != SeatState.CLOSED for one in seats):
            return
        gone = set(self._c.execute(select(erasure.c.seat_id).where(erasure.c.seat_id.is_not(None))).scalars())
        kept = {name for one in seats if one.seat_id not in gone for name in (one.member, one.chain) if name}
        of = tables.statement.c
        self._delete(tables.statement, (of.case_id == case_id) & of.member.not_in(kept))

    def _delete(self, table: Table, condition: ColumnElement[bool]) -> int:
        return self._c.execute(delete(table).where(condition)).rowcount
