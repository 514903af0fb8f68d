"""Cases, seats, key statements and invitations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select, update
from sqlalchemy import case as sqlcase

from broker.store.cipher import ColumnCipher
from broker.store.tables import case, invitation, seat, statement, succession
from schemas.codes import SeatState
from schemas.envelope import SeatKey
from schemas.statements import MemberStatement, SignedStatement


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
    previous_signing_key: bytes | None = None
    previous_key_id: bytes | None = None
    key_seq: int = 0
    chain: bytes | None = None
    protected: bool = False
    case_tag: bytes = b""

    @property
    def chain_id(self) -> bytes:
        """The member id in its statements: its own, or that of the lead whose role and chain of keys it took over."""
        return self.chain or self.member

    @property
    def active(self) -> bool:
        """Whether it may send and receive."""
        return self.state == SeatState.ACTIVE

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """Ids of the keys that may be sealed to: the present one, and the one before until it is destroyed."""
        return (self.seat_key_id,) if self.previous_key_id is None else (self.seat_key_id, self.previous_key_id)

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Keys whose signature of an act is taken: what was signed before a rotation may come after it."""
        before = self.previous_signing_key
        return (self.signing_key,) if before is None else (self.signing_key, before)


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


_SEAT_UNIT = SeatRow.__slots__.index("unit")


def _seats() -> Select[Any]:
    return select(seat, case.c.case_tag).join(case, case.c.case_id == seat.c.case_id)


class CaseRows:
    """Verbs on `exit_case`, `seat`, `statement` and `invitation`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def insert_case(self, case_id: bytes, case_tag: bytes, bucket: int, at_us: int) -> None:
        """A new case."""
        self._c.execute(insert(case).values(case_id=case_id, case_tag=case_tag, bucket=bucket, opened_at_us=at_us))

    def tag_taken(self, case_tag: bytes) -> bool:
        """Whether a case with this tag exists."""
        return self._c.execute(select(case.c.case_id).where(case.c.case_tag == case_tag)).first() is not None

    def insert_seat(self, row: SeatRow) -> None:
        """A new seat."""
        values = {field: getattr(row, field) for field in SeatRow.__slots__ if field != "case_tag"}
        values["unit"] = self._cipher.handle("seat", row.unit)
        self._c.execute(insert(seat).values(**values))

    def seat(self, seat_id: bytes) -> SeatRow | None:
        """One seat, or None."""
        row = self._c.execute(_seats().where(seat.c.seat_id == seat_id)).one_or_none()
        return None if row is None else self._seat(row)

    def seats(self, seat_ids: Iterable[bytes]) -> dict[bytes, SeatRow]:
        """Several seats by id."""
        rows = self._c.execute(_seats().where(seat.c.seat_id.in_(list(seat_ids))))
        return {row[0]: self._seat(row) for row in rows}

    def of_cases(self, case_ids: Iterable[bytes]) -> list[SeatRow]:
        """Every seat of these cases that is not closed, oldest ids first."""
        rows = self._c.execute(
            _seats()
            .where(seat.c.case_id.in_(list(case_ids)), seat.c.state != SeatState.CLOSED)
            .order_by(seat.c.seat_id)
        )
        return [self._seat(row) for row in rows]

    def ever_of_case(self, case_id: bytes) -> list[SeatRow]:
        """Every seat that a case ever had, closed ones too, oldest ids first."""
        rows = self._c.execute(_seats().where(seat.c.case_id == case_id).order_by(seat.c.seat_id))
        return [self._seat(row) for row in rows]

    def every(self, *, case_ids: Iterable[bytes] = (), unit: str | None = None) -> list[SeatRow]:
        """Every seat of these cases, or of a unit, closed ones too, by id."""
        of = self._of(unit) if unit is not None else seat.c.case_id.in_(list(case_ids))
        return [self._seat(row) for row in self._c.execute(_seats().where(of).order_by(seat.c.seat_id))]

    def invited_buckets(self, unit: str) -> set[int]:
        """Buckets of the cases that a unit is invited to and has not answered."""
        rows = self._c.execute(
            select(invitation.c.bucket).where(
                invitation.c.unit == self._cipher.handle("invitation", unit), invitation.c.state == "OPEN"
            )
        )
        return {row.bucket for row in rows}

    def of_unit(self, unit: str) -> list[SeatRow]:
        """Every open seat of a unit."""
        rows = self._c.execute(_seats().where(self._of(unit), seat.c.state != SeatState.CLOSED))
        return [self._seat(row) for row in rows]

    def heads(self, unit: str) -> list[tuple[bytes, int, bytes]]:
        """(seat id, ledger_seq, head) of every open seat of a unit: what each answer to it carries."""
        query = select(seat.c.seat_id, seat.c.ledger_seq, seat.c.head)
        rows = self._c.execute(query.where(self._of(unit), seat.c.state != SeatState.CLOSED))
        return [(row.seat_id, row.ledger_seq, row.head) for row in rows]

    def set_state(self, seat_id: bytes, state: SeatState) -> None:
        """Move a seat; the caller has looked at the transition table."""
        self._c.execute(update(seat).where(seat.c.seat_id == seat_id).values(state=state.value))

    def set_head(self, seat_id: bytes, ledger_seq: int, head: bytes) -> None:
        """Where the seat's ledger stands after an act."""
        self._c.execute(update(seat).where(seat.c.seat_id == seat_id).values(ledger_seq=ledger_seq, head=head))

    def rotate(self, row: SeatRow, signing_key: bytes, seat_key_id: bytes, sealed: tuple[bytes, bytes]) -> None:
        """The seat's next keys; those it has become the ones before. `sealed` is its unit, sealed anew."""
        values = {"signing_key": signing_key, "seat_key_id": seat_key_id, "key_seq": row.key_seq + 1}
        values |= {"recipient_sealed": sealed[0], "recipient_own": sealed[1]}
        before = {"previous_signing_key": row.signing_key, "previous_key_id": row.seat_key_id}
        self._c.execute(update(seat).where(seat.c.seat_id == row.seat_id).values(**values, **before))

    def replace_keys(self, row: SeatRow, signing_key: bytes, seat_key_id: bytes, sealed: tuple[bytes, bytes]) -> None:
        """Keys that two others vouched for; those the seat had are lost, and nothing is taken under them."""
        values = {"signing_key": signing_key, "seat_key_id": seat_key_id, "key_seq": row.key_seq + 1}
        values |= {"recipient_sealed": sealed[0], "recipient_own": sealed[1]}
        before = {"previous_signing_key": None, "previous_key_id": None}
        self._c.execute(update(seat).where(seat.c.seat_id == row.seat_id).values(**values, **before))

    def take_over(self, row: SeatRow, role: str, chain: bytes, seq: int, keys: tuple[bytes, bytes]) -> None:
        """A seat takes a role over with the keys it offered, in the chain of the one who held it."""
        values = {"role": role, "chain": chain, "key_seq": seq, "signing_key": keys[0], "seat_key_id": keys[1]}
        before = {"previous_signing_key": row.signing_key, "previous_key_id": None}
        self._c.execute(update(seat).where(seat.c.seat_id == row.seat_id).values(**values, **before))
        self._c.execute(delete(succession).where(succession.c.seat_id == row.seat_id))

    def offer(self, row: SeatRow, seat_key_id: bytes, at_us: int) -> None:
        """The keys with which a seat will hold the lead's role; a later offer replaces the one before."""
        self._c.execute(delete(succession).where(succession.c.seat_id == row.seat_id))
        values = {"seat_id": row.seat_id, "case_id": row.case_id, "seat_key_id": seat_key_id, "at_us": at_us}
        self._c.execute(insert(succession).values(**values))

    def offered(self, case_id: bytes, seat_key_id: bytes) -> bytes | None:
        """The seat that offered these keys in a case, or None."""
        query = select(succession.c.seat_id)
        return self._c.execute(
            query.where(succession.c.case_id == case_id, succession.c.seat_key_id == seat_key_id)
        ).scalar_one_or_none()

    def previous_destroyed(self, seat_id: bytes) -> None:
        """The key before the present one is not sealed to any more; what it signed may still come."""
        self._c.execute(update(seat).where(seat.c.seat_id == seat_id).values(previous_key_id=None))

    def insert_statement(
        self, case_id: bytes, member: bytes, kind: str, seq: int, signed: bytes, signer: bytes = b""
    ) -> None:
        """Keep a signed member statement as received; `signer` of a CONFIRM or REPLACE, which several may make."""
        values = {"case_id": case_id, "member": member, "kind": kind, "seq": seq, "signed": signed}
        self._c.execute(insert(statement).values(**values, signer=signer))

    def confirmed(self, case_id: bytes, member: bytes, seq: int, signer: bytes) -> bool:
        """Whether a signer's CONFIRM of a key is here."""
        key = (statement.c.case_id == case_id, statement.c.member == member, statement.c.seq == seq)
        query = select(statement.c.seq).where(*key, statement.c.kind == "CONFIRM", statement.c.signer == signer)
        return self._c.execute(query).first() is not None

    def replacers(self, case_id: bytes, member: bytes, seq: int) -> frozenset[bytes]:
        """Members whose signatures replaced a member's keys by statement number `seq`."""
        of = (statement.c.case_id == case_id, statement.c.member == member, statement.c.seq == seq)
        rows = self._c.execute(select(statement.c.signer).where(*of, statement.c.kind == "REPLACE"))
        return frozenset(row.signer for row in rows)

    def statements(self, case_id: bytes, member: bytes) -> list[bytes]:
        """A member's signed statements, oldest first, each before the words for it."""
        rows = self._c.execute(
            select(statement.c.signed)
            .where(statement.c.case_id == case_id, statement.c.member == member)
            .order_by(statement.c.seq, sqlcase((statement.c.kind == "CONFIRM", 1), else_=0), statement.c.signer)
        )
        return [row.signed for row in rows]

    def key_ids(self, case_id: bytes, member: bytes) -> frozenset[bytes]:
        """Ids of every key that a member ever had, by its own statements."""
        found = set()
        for raw in self.statements(case_id, member):
            signed = SignedStatement.from_bytes(raw)
            if signed.hpke_key is not None:
                key = MemberStatement.from_bytes(signed.statement).signing_key
                found.add(sha256(SeatKey(signing_key=key, hpke_key=signed.hpke_key).to_bytes()).digest())
        return frozenset(found)

    def insert_invitation(self, row: InvitationRow) -> None:
        """A new invitation."""
        values = {field: getattr(row, field) for field in InvitationRow.__slots__}
        values["unit"] = self._cipher.handle("invitation", row.unit)
        for name in ("envelope", "acceptance"):
            values[name] = self._cipher.maybe(self._cipher.seal, f"invitation.{name}", values[name])
        self._c.execute(insert(invitation).values(**values))

    def invitation(self, invitation_id: bytes) -> InvitationRow | None:
        """One invitation, or None."""
        row = self._c.execute(select(invitation).where(invitation.c.invitation_id == invitation_id)).one_or_none()
        return None if row is None else self._invitation(row)

    def invitation_by_hash(self, digest: bytes) -> InvitationRow | None:
        """The invitation that a JOIN names, or None."""
        row = self._c.execute(select(invitation).where(invitation.c.hash == digest)).one_or_none()
        return None if row is None else self._invitation(row)

    def accept(self, invitation_id: bytes, acceptance: bytes, seat_id: bytes) -> None:
        """OPEN -> ACCEPTED."""
        self._c.execute(
            update(invitation)
            .where(invitation.c.invitation_id == invitation_id)
            .values(
                state="ACCEPTED", acceptance=self._cipher.seal("invitation.acceptance", acceptance), seat_id=seat_id
            )
        )

    def close_invitation(self, invitation_id: bytes, state: str) -> None:
        """ACCEPTED -> JOINED, or OPEN/ACCEPTED -> LAPSED."""
        self._c.execute(update(invitation).where(invitation.c.invitation_id == invitation_id).values(state=state))

    def lapsed(self, now_us: int) -> list[InvitationRow]:
        """Invitations past their end that nobody completed."""
        rows = self._c.execute(
            select(invitation).where(invitation.c.state.in_(("OPEN", "ACCEPTED")), invitation.c.expires_at_us <= now_us)
        )
        return [self._invitation(row) for row in rows]

    def _of(self, unit: str) -> ColumnElement[bool]:
        return seat.c.unit == self._cipher.handle("seat", unit)

    def _seat(self, row: Row[Any]) -> SeatRow:
        values = list(row)
        values[_SEAT_UNIT] = self._cipher.code("seat", values[_SEAT_UNIT])
        return SeatRow(*values)

    def _invitation(self, row: Any) -> InvitationRow:
        found, cipher = InvitationRow(*row), self._cipher
        return replace(
            found,
            unit=cipher.code("invitation", found.unit),
            envelope=cipher.open("invitation.envelope", found.envelope),
            acceptance=cipher.maybe(cipher.open, "invitation.acceptance", found.acceptance),
        )
