"""Seat keys that a restored broker lacks: taken back from any seat of the case that holds their statements.

A ROTATE proves itself: the keys before it signed it, and it names the statement before it. So it does not matter who
of the case gives it back, and a word for it can come with it. Nothing is taken that a connector would not take too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from broker import rotation
from broker.calls import signed_by
from broker.cases import DEPUTY, LEAD, key_entry
from broker.context import Context
from broker.instances import seen_by
from broker.recipient_seal import seal_unit
from broker.store.cases import SeatRow
from broker.store.gate import Bump
from broker.store.port import Rows
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.hold import KeyNumber
from schemas.statements import MemberStatement, SignedStatement

_KEYS = frozenset({"OPEN", "JOIN", "ROTATE"})
Sealed = Mapping[bytes, tuple[bytes, bytes]]
"""By member: its unit, sealed to the supervisor and to the unit itself."""


def signed_by_member(rows: Rows, seat: SeatRow, signature: bytes, message: bytes) -> None:
    """Check a signature with any key that the seat ever had; raises `HS-SIGNATURE-INVALID`.

    Only for what is given back: it was signed when that key was the seat's, and the seat confirms the whole of it with
    its present one before anything rests on it.
    """
    # INVARIANT: test_acts_signed_with_keys_that_are_gone_are_given_back
    ever = [MemberStatement.from_bytes(one.statement) for one in _statements(rows, seat)]
    keys = {*seat.signing_keys, *(one.signing_key for one in ever if one.kind in _KEYS)}
    for key in keys:
        try:
            signed_by(key, signature, message)
        except HandslagError:
            continue
        return
    raise HandslagError("HS-SIGNATURE-INVALID")


def numbers(context: Context, rows: Rows, seat: SeatRow) -> tuple[KeyNumber, ...]:
    """The newest number of every member whose statements this seat was ever given."""
    newest: dict[bytes, int] = {}
    for one in seen_by(context, rows, seat):
        newest[one.chain_id] = max(one.key_seq, newest.get(one.chain_id, 0))
    return tuple(KeyNumber(member=chain, seq=seq) for chain, seq in sorted(newest.items()))


async def sealed_units(context: Context, seat: SeatRow, statements: Iterable[SignedStatement]) -> Sealed:
    """What goes with each rotation, outside the transaction: the unit sealed anew; nothing for one not admitted."""
    members = {read.member for read in map(_read, statements) if read.kind == "ROTATE"}
    seats = await context.store.read(lambda rows: rows.cases.ever_of_case(seat.case_id)) if members else []
    units = {row.unit: row for row in context.directory.all()}
    found = {}
    for one in seats:
        if one.chain_id in members and one.active and one.unit in units:
            for_supervisor = await asyncio.to_thread(seal_unit, one.unit, context.supervisor_key)
            found[one.chain_id] = (
                for_supervisor,
                await asyncio.to_thread(seal_unit, one.unit, units[one.unit].hpke_key),
            )
    return found


def take(
    context: Context, rows: Rows, seat: SeatRow, statements: Sequence[SignedStatement], sealed: Sealed, bump: Bump
) -> None:
    """Record every statement that is not here yet.

    One about another member that does not fit is left out: it must not keep this seat's own acts out. One about the
    seat itself raises `HS-KEY-UNTRUSTED` (another case, another kind, or a second statement of a number that is here),
    `HS-STATE-INVALID` (it does not follow), `HS-SIGNATURE-INVALID`.
    """
    for signed in statements:
        statement = _read(signed)
        try:
            about = _taken(context, rows, seat, signed, sealed, bump)
        except HandslagError:
            if statement.member == seat.chain_id:
                raise
            continue
        if about is not None:
            rows.entries.insert([key_entry(context, about, signed, bump)])


def _taken(
    context: Context, rows: Rows, seat: SeatRow, signed: SignedStatement, sealed: Sealed, bump: Bump
) -> SeatRow | None:
    """The seat that a statement is about when it was recorded now; None when it was here."""
    statement = _read(signed)
    # Of those who held the role of one chain after each other, the one that holds it now.
    ever = sorted(rows.cases.ever_of_case(seat.case_id), key=lambda one: one.state != SeatState.CLOSED)
    every = {one.chain_id: one for one in ever}
    about, signer = every.get(statement.member), every.get(statement.signer)
    if statement.case_tag != seat.case_tag or about is None or signer is None:
        raise HandslagError("HS-KEY-UNTRUSTED")
    if statement.kind == "ROTATE":
        return about if _rotation(context, rows, about, signed, sealed, bump) else None
    if statement.kind == "CONFIRM":
        return about if _word(context, rows, about, signer, signed) else None
    raise HandslagError("HS-KEY-UNTRUSTED")


def _rotation(
    context: Context, rows: Rows, about: SeatRow, signed: SignedStatement, sealed: Sealed, bump: Bump
) -> bool:
    # INVARIANT: test_only_the_keys_that_followed_are_given_back
    statement = _read(signed)
    if statement.signer != about.chain_id:
        raise HandslagError("HS-STATE-INVALID", field="signer")
    if statement.seq <= about.key_seq:
        if all(one.statement != signed.statement for one in _statements(rows, about)):
            raise HandslagError("HS-KEY-UNTRUSTED", check="fork")
        return False
    kept = (about.recipient_sealed, about.recipient_own)
    rotation.rotate(context, rows, about, statement, signed, sealed.get(about.chain_id, kept), bump)
    return True


def _word(context: Context, rows: Rows, about: SeatRow, signer: SeatRow, signed: SignedStatement) -> bool:
    statement = _read(signed)
    if signer.role not in {LEAD, DEPUTY} or signer.seat_id == about.seat_id:
        raise HandslagError("HS-STATE-INVALID", field="signer")
    if rows.cases.confirmed(about.case_id, about.chain_id, statement.seq, signer.chain_id):
        return False
    rotated = next((o for o in _statements(rows, about) if sha256(o.statement).digest() == statement.previous), None)
    if rotated is None:
        raise HandslagError("HS-STATE-INVALID", field="seq")
    read = _read(rotated)
    said = (statement.role, statement.seq, statement.signing_key, statement.hpke_key_hash)
    if read.kind != "ROTATE" or said != (read.role, read.seq, read.signing_key, read.hpke_key_hash):
        raise HandslagError("HS-STATE-INVALID", field="seq")
    signed_by_member(rows, signer, signed.signature, signed.statement)
    rotation.vouched(context, rows, signer, about, (rotated, signed))
    return True


def _statements(rows: Rows, seat: SeatRow) -> list[SignedStatement]:
    return [SignedStatement.from_bytes(raw) for raw in rows.cases.statements(seat.case_id, seat.chain_id)]


def _read(signed: SignedStatement) -> MemberStatement:
    return MemberStatement.from_bytes(signed.statement)
