"""Cases, seats, key statements and invitations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from broker.store.tables import case, invitation, seat, statement
from schemas.codes import SeatState


@dataclass(frozen=True, slots=True)
class SeatRow:
    """One seat with its case's tag."""

    seat_id: bytes
    case_id: bytes
    bucket: int
    unit: str
    role: str
    member: bytes
    state: str
    ledger_seq: int
    head: bytes
    signing_key: bytes
    seat_key_id: bytes
    recipient_sealed: bytes
    recipient_own: bytes
    case_tag: bytes = b""

    @property
    def active(self) -> bool:
        """Whether it may send and receive."""
        return self.state == SeatState.ACTIVE


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation: OPEN, ACCEPTED, JOINED or LAPSED."""

    invitation_id: bytes
    case_id: bytes
    bucket: int
    inviter_seat: bytes
    unit: str
    role: str
    state: str
    hash: bytes
    expires_at_us: int
    envelope: bytes
    acceptance: bytes | None
    seat_id: bytes | None


def _seats() -> Select[Any]:
    return select(seat, case.c.case_tag).join(case, case.c.case_id == seat.c.case_id)


class CaseRows:
    """Verbs on `exit_case`, `seat`, `statement` and `invitation`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def insert_case(self, case_id: bytes, case_tag: bytes, bucket: int, at_us: int) -> None:
        """A new case."""
        self._c.execute(insert(case).values(case_id=case_id, case_tag=case_tag, bucket=bucket, opened_at_us=at_us))

    def tag_taken(self, case_tag: bytes) -> bool:
        """Whether a case with this tag exists."""
        return self._c.execute(select(case.c.case_id).where(case.c.case_tag == case_tag)).first() is not None

    def insert_seat(self, row: SeatRow) -> None:
        """A new seat."""
        values = {field: getattr(row, field) for field in SeatRow.__slots__ if field != "case_tag"}
        self._c.execute(insert(seat).values(**values))

    def seat(self, seat_id: bytes) -> SeatRow | None:
        """One seat, or None."""
        row = self._c.execute(_seats().where(seat.c.seat_id == seat_id)).one_or_none()
        return None if row is None else SeatRow(*row)

    def seats(self, seat_ids: Iterable[bytes]) -> dict[bytes, SeatRow]:
        """Several seats by id."""
        rows = self._c.execute(_seats().where(seat.c.seat_id.in_(list(seat_ids))))
        return {row[0]: SeatRow(*row) for row in rows}

    def of_cases(self, case_ids: Iterable[bytes]) -> list[SeatRow]:
        """Every seat of these cases that is not closed, oldest ids first."""
        rows = self._c.execute(
            _seats()
            .where(seat.c.case_id.in_(list(case_ids)), seat.c.state != SeatState.CLOSED)
            .order_by(seat.c.seat_id)
        )
        return [SeatRow(*row) for row in rows]

    def of_unit(self, unit: str) -> list[SeatRow]:
        """Every open seat of a unit."""
        rows = self._c.execute(_seats().where(seat.c.unit == unit, seat.c.state != SeatState.CLOSED))
        return [SeatRow(*row) for row in rows]

    def set_state(self, seat_id: bytes, state: SeatState) -> None:
        """Move a seat; the caller has looked at the transition table."""
        self._c.execute(update(seat).where(seat.c.seat_id == seat_id).values(state=state.value))

    def set_head(self, seat_id: bytes, ledger_seq: int, head: bytes) -> None:
        """Where the seat's ledger stands after an act."""
        self._c.execute(update(seat).where(seat.c.seat_id == seat_id).values(ledger_seq=ledger_seq, head=head))

    def insert_statement(self, case_id: bytes, member: bytes, kind: str, seq: int, signed: bytes) -> None:
        """Keep a signed member statement as received."""
        self._c.execute(insert(statement).values(case_id=case_id, member=member, kind=kind, seq=seq, signed=signed))

    def statements(self, case_id: bytes, member: bytes) -> list[bytes]:
        """A member's signed statements, oldest first."""
        rows = self._c.execute(
            select(statement.c.signed)
            .where(statement.c.case_id == case_id, statement.c.member == member)
            .order_by(statement.c.seq)
        )
        return [row.signed for row in rows]

    def insert_invitation(self, row: InvitationRow) -> None:
        """A new invitation."""
        self._c.execute(insert(invitation).values(**{field: getattr(row, field) for field in InvitationRow.__slots__}))

    def invitation(self, invitation_id: bytes) -> InvitationRow | None:
        """One invitation, or None."""
        row = self._c.execute(select(invitation).where(invitation.c.invitation_id == invitation_id)).one_or_none()
        return None if row is None else InvitationRow(*row)

    def invitation_by_hash(self, digest: bytes) -> InvitationRow | None:
        """The invitation that a JOIN names, or None."""
        row = self._c.execute(select(invitation).where(invitation.c.hash == digest)).one_or_none()
        return None if row is None else InvitationRow(*row)

    def accept(self, invitation_id: bytes, acceptance: bytes, seat_id: bytes) -> None:
        """OPEN -> ACCEPTED."""
        self._c.execute(
            update(invitation)
            .where(invitation.c.invitation_id == invitation_id)
            .values(state="ACCEPTED", acceptance=acceptance, seat_id=seat_id)
        )

    def close_invitation(self, invitation_id: bytes, state: str) -> None:
        """ACCEPTED -> JOINED, or OPEN/ACCEPTED -> LAPSED."""
        self._c.execute(update(invitation).where(invitation.c.invitation_id == invitation_id).values(state=state))

    def lapsed(self, now_us: int) -> list[InvitationRow]:
        """Invitations past their end that nobody completed."""
        rows = self._c.execute(
            select(invitation).where(invitation.c.state.in_(("OPEN", "ACCEPTED")), invitation.c.expires_at_us <= now_us)
        )
        return [InvitationRow(*row) for row in rows]
