"""Which seats a restored broker holds back, what was given back to it, and how its log goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.store.dialect import has_row_locks
from broker.store.shared import moved
from broker.store.tables import BUCKETS, bucket, continuation, delivery, hold, hold_seat, hold_withdrawal, seat, stream
from schemas.codes import DeliveryState, SeatState

HELD, REPLAYED, CONFIRMED, RELEASED = "HELD", "REPLAYED", "CONFIRMED", "RELEASED"


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One hold: why, since when, the largest tree head anybody showed of what was lost, when it ended."""

    hold_id: bytes
    cause: str
    began_at_us: int
    seen_origin: str
    seen_size: int
    seen_root: bytes
    seen_note: str | None
    ended_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class ContinuationRow:
    """One continuation of the log: part number (2 for the first), in which hold, statement, signature, its entry."""

    number: int
    hold_id: bytes
    statement: bytes
    signature: bytes
    entry_id: bytes


class HoldRows:
    """Verbs on `hold`, `hold_seat`, `hold_withdrawal` and `continuation`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def begin(self, row: HoldRow) -> None:
        """Hold every open seat and its open deliveries back, and forget what waits undecided.

        The gate of every bucket moves first, so that no batch under way is committed. What waited has no receipt: its
        sender still has it and sends it again.
        """
        # INVARIANT: test_nothing_undecided_is_decided_after_a_restore
        if has_row_locks(self._c):  # ascending, as everybody locks them: one UPDATE takes them as they lie
            self._c.execute(select(bucket.c.bucket).order_by(bucket.c.bucket).with_for_update())
        self._c.execute(update(bucket).where(bucket.c.bucket < BUCKETS).values(gate_version=bucket.c.gate_version + 1))
        self._c.execute(update(hold).where(hold.c.ended_at_us.is_(None)).values(ended_at_us=row.began_at_us))
        self._c.execute(insert(hold).values(**{name: getattr(row, name) for name in HoldRow.__slots__}))
        self._c.execute(delete(hold_seat))
        self._c.execute(delete(hold_withdrawal))
        open_seats = self._c.execute(
            select(seat.c.seat_id, seat.c.case_id).where(seat.c.state != SeatState.CLOSED)
        ).all()
        if open_seats:
            self._c.execute(
                insert(hold_seat),
                [
                    {"seat_id": one.seat_id, "hold_id": row.hold_id, "case_id": one.case_id, "state": HELD}
                    for one in open_seats
                ],
            )
        # INVARIANT: test_a_held_delivery_is_not_handed_over
        self._c.execute(
            update(delivery)
            .where(delivery.c.state.in_([DeliveryState.PENDING.value, DeliveryState.HANDED.value]))
            .values(held=True, row_version=delivery.c.row_version + 1)
        )
        self._c.execute(delete(stream))
        moved(self._c)

    def active(self) -> HoldRow | None:
        """The hold that has not ended, or None."""
        row = self._c.execute(select(hold).where(hold.c.ended_at_us.is_(None))).one_or_none()
        return None if row is None else HoldRow(*row)

    def saw(self, hold_id: bytes, origin: str, size: int, root: bytes, note: str) -> None:
        """Keep the newest checkpoint that anybody showed; the caller has compared."""
        self._c.execute(
            update(hold)
            .where(hold.c.hold_id == hold_id)
            .values(seen_origin=origin, seen_size=size, seen_root=root, seen_note=note)
        )
        moved(self._c)

    def end(self, hold_id: bytes, at_us: int) -> None:
        """Every seat is free again."""
        self._c.execute(update(hold).where(hold.c.hold_id == hold_id).values(ended_at_us=at_us))
        moved(self._c)

    # --- seats

    def state(self, seat_id: bytes) -> str | None:
        """HELD, REPLAYED, CONFIRMED or RELEASED; None for a seat that no hold concerns."""
        return self._c.execute(select(hold_seat.c.state).where(hold_seat.c.seat_id == seat_id)).scalar_one_or_none()

    def held(self, seat_ids: Iterable[bytes]) -> set[bytes]:
        """Those of these seats for which nothing is released."""
        query = select(hold_seat.c.seat_id).where(
            hold_seat.c.seat_id.in_(list(seat_ids)), hold_seat.c.state != RELEASED
        )
        return set(self._c.execute(query).scalars())

    def unreplayed(self, case_id: bytes) -> set[bytes]:
        """Seats of a case whose connector has not yet given back what the broker lacks."""
        query = select(hold_seat.c.seat_id).where(hold_seat.c.case_id == case_id, hold_seat.c.state == HELD)
        return set(self._c.execute(query).scalars())

    def of_case(self, case_id: bytes) -> dict[bytes, str]:
        """State by seat of a case."""
        rows = self._c.execute(select(hold_seat.c.seat_id, hold_seat.c.state).where(hold_seat.c.case_id == case_id))
        return {row.seat_id: row.state for row in rows}

    def cases(self) -> list[bytes]:
        """Cases that are still held."""
        query = select(hold_seat.c.case_id).where(hold_seat.c.state != RELEASED).distinct()
        return list(self._c.execute(query).scalars())

    def counts(self) -> dict[str, int]:
        """Number of seats by state."""
        rows = self._c.execute(select(hold_seat.c.state, func.count()).group_by(hold_seat.c.state))
        return {str(row[0]): int(row[1]) for row in rows}

    def held_seats(self) -> int:
        """Number of seats that nothing is released for."""
        query = select(func.count()).select_from(hold_seat).where(hold_seat.c.state != RELEASED)
        return int(self._c.execute(query).scalar_one())

    def move(self, seat_ids: Iterable[bytes], state: str) -> None:
        """Move seats on."""
        self._c.execute(update(hold_seat).where(hold_seat.c.seat_id.in_(list(seat_ids))).values(state=state))

    def hold_again(self, seat_ids: Iterable[bytes]) -> None:
        """What an older instance of a connector gave back and confirmed does not count; free seats stay free."""
        of = hold_seat.c
        self._c.execute(
            update(hold_seat).where(of.seat_id.in_(list(seat_ids)), of.state != RELEASED).values(state=HELD)
        )

    def confirm(self, seat_id: bytes, statement: bytes, signature: bytes) -> None:
        """Keep a seat's confirmation as received."""
        self._c.execute(
            update(hold_seat)
            .where(hold_seat.c.seat_id == seat_id)
            .values(state=CONFIRMED, confirmation=statement, signature=signature)
        )

    def members(self, case_id: bytes) -> dict[bytes, str]:
        """State by member of every seat that a case ever had here."""
        rows = self._c.execute(select(seat.c.member, seat.c.state).where(seat.c.case_id == case_id))
        return {row.member: row.state for row in rows}

    def free(self, seat_ids: Iterable[bytes]) -> None:
        """Let the open deliveries of these disclosers go again; the caller has decided them anew."""
        self._c.execute(
            update(delivery)
            .where(delivery.c.sender_seat.in_(list(seat_ids)), delivery.c.held)
            .values(held=False, row_version=delivery.c.row_version + 1)
        )

    # --- withdrawals of everything, given back by one seat before others have spoken

    def note_withdrawal(self, hold_id: bytes, case_id: bytes, recorded_at_us: int, effective_at_us: int | None) -> None:
        """Keep a withdrawal for the seats of the case that have not given back their ledgers yet."""
        of = hold_withdrawal.c
        known = select(of.case_id).where(of.case_id == case_id, of.recorded_at_us == recorded_at_us)
        if self._c.execute(known).first() is None:
            self._c.execute(
                insert(hold_withdrawal).values(
                    hold_id=hold_id, case_id=case_id, recorded_at_us=recorded_at_us, effective_at_us=effective_at_us
                )
            )

    def withdrawals(self, case_id: bytes) -> list[tuple[int, int | None]]:
        """(recorded at, effective at) of each, oldest first."""
        rows = self._c.execute(
            select(hold_withdrawal.c.recorded_at_us, hold_withdrawal.c.effective_at_us)
            .where(hold_withdrawal.c.case_id == case_id)
            .order_by(hold_withdrawal.c.recorded_at_us)
        )
        return [(row[0], row[1]) for row in rows]

    # --- the log

    def continuations(self) -> list[ContinuationRow]:
        """Every continuation, oldest first."""
        return [ContinuationRow(*row) for row in self._c.execute(select(continuation).order_by(continuation.c.number))]

    def add_continuation(self, row: ContinuationRow) -> None:
        """State once how the log goes on; a second statement of one number fails the transaction."""
        self._c.execute(insert(continuation).values(**{name: getattr(row, name) for name in ContinuationRow.__slots__}))
        moved(self._c)
