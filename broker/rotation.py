"""Rotation: a member's next keys, the word of the lead or deputy for them, and the end of the keys before.

The broker stores and forwards statements and cannot make one. It takes a wrap to a seat's present key or the one before
until the seat says that one is destroyed; what is open and sealed to a destroyed key becomes RESEAL, and its sender
seals the same W to the new key. No grant and no ledger is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from broker import succession
from broker.acks import outcome_entries
from broker.acts import own_seat
from broker.calls import answered, recorded, signed_by, signed_by_seat
from broker.cases import DEPUTY, LEAD, checked_hpke, key_entry, seat_answer
from broker.cases import state as join_or_remove
from broker.context import Context
from broker.effects import reseal_item
from broker.hold import require_keys
from broker.recipient_seal import seal_unit
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow
from broker.store.gate import Bump
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.visibility import in_order, met
from schemas import limits
from schemas.calls import DestroyedRequest, SeatAnswer, StateRequest
from schemas.codes import DeliveryState, SeatState
from schemas.envelope import Delivery, SeatKey
from schemas.errors import HandslagError
from schemas.inbox import StatementNotice
from schemas.statements import MemberStatement, SignedStatement
from schemas.trail import Payload

DESTROYED = "HS-KEY-DESTROYED"


async def state(context: Context, unit: str, request: StateRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:state`: ROTATE and CONFIRM here, the lead's JOIN and REMOVE as `cases` has them.

    Raises `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID` (not the caller's to sign, or not the next number), `HS-KEY-UNTRUSTED`
    (another case, or not the keys that the statement before leads to), `HS-SIGNATURE-INVALID`.
    """
    statement = MemberStatement.from_bytes(request.statement.statement)
    if statement.kind not in {"ROTATE", "CONFIRM"}:
        return await join_or_remove(context, unit, request)
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)
    # With every rotation, so that a role that moved to another unit does not show by it; outside the transaction.
    sealed = (seal_unit(unit, context.supervisor_key), seal_unit(unit, context.directory.get(unit).hpke_key))

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        own = rows.cases.seat(seen.seat_id)
        if own is None or not own.active or statement.signer != own.chain_id:
            raise HandslagError("HS-STATE-INVALID", field="signer")
        if statement.case_tag != own.case_tag:
            raise HandslagError("HS-KEY-UNTRUSTED")
        require_keys(rows, own.case_id, {statement.signer, statement.member})
        if statement.kind == "ROTATE":
            heir = rotate(context, rows, own, statement, request.statement, sealed, bump)
            if heir is not None:
                rows.entries.insert([key_entry(context, heir, request.statement, bump)])
                entry = key_entry(context, own, request.statement, bump)
                return seat_answer(rows, unit, request, own, SeatState.CLOSED, entry, bump)
        else:
            about = _confirm(context, rows, own, statement, request.statement)
            rows.entries.insert([key_entry(context, about, request.statement, bump)])
        entry = key_entry(context, own, request.statement, bump)
        return seat_answer(rows, unit, request, own, SeatState.ACTIVE, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def rotate(
    context: Context,
    rows: Rows,
    own: SeatRow,
    statement: MemberStatement,
    signed: SignedStatement,
    sealed: tuple[bytes, bytes],
    bump: Bump,
) -> SeatRow | None:
    """Record a seat's own next keys, signed with its present ones; told to those who can vouch, the lead's to all.

    `sealed` is its unit, sealed anew. Keys that another seat offered take the lead's role to it: that seat is returned.
    Raises as `state` does.
    """
    hpke_key = checked_hpke(statement, signed.hpke_key)
    if statement.seq == own.key_seq and newest_statement(rows, own).statement == signed.statement:
        return None  # another seat of the case has given it back
    if statement.member != own.chain_id or statement.role != own.role or statement.seq != own.key_seq + 1:
        raise HandslagError("HS-STATE-INVALID", field="seq")
    if statement.previous != sha256(newest_statement(rows, own).statement).digest():
        raise HandslagError("HS-KEY-UNTRUSTED")
    # The key before the present one signs acts that were on their way, and no key any more.
    signed_by(own.signing_key, signed.signature, signed.statement)
    key_id = sha256(SeatKey(signing_key=statement.signing_key, hpke_key=hpke_key).to_bytes()).digest()
    heir = succession.heir_of(rows, own, key_id)
    rows.cases.insert_statement(own.case_id, own.chain_id, "ROTATE", statement.seq, signed.to_bytes())
    if heir is None:
        rows.cases.rotate(own, statement.signing_key, key_id, sealed)
    else:
        keys = (statement.signing_key, key_id)
        heir = succession.take_over(context, rows, own, heir, statement.seq, keys, bump)
    others = [seat for seat in rows.cases.of_cases([own.case_id]) if seat.seat_id != own.seat_id]
    if own.role != LEAD:
        # A deputy goes on by itself while the lead is silent; another member's keys wait for a word, told with it.
        others = [
            seat
            for seat in others
            if seat.active and (seat.role in {LEAD, DEPUTY} or (own.role == DEPUTY and met(context, rows, own, seat)))
        ]
    _tell(context, rows, others, [signed])
    return heir


def _confirm(
    context: Context, rows: Rows, own: SeatRow, statement: MemberStatement, signed: SignedStatement
) -> SeatRow:
    """The word of the lead or the deputy for another member's newest keys; told to whom that member's keys concern."""
    others = [seat for seat in rows.cases.of_cases([own.case_id]) if seat.seat_id != own.seat_id]
    about = next((seat for seat in others if seat.chain_id == statement.member), None)
    if own.role not in {LEAD, DEPUTY} or about is None:
        raise HandslagError("HS-STATE-INVALID", field="signer")
    newest = newest_statement(rows, about)
    rotated = MemberStatement.from_bytes(newest.statement)
    said = (statement.role, statement.seq, statement.signing_key, statement.hpke_key_hash, statement.previous)
    wanted = (about.role, rotated.seq, rotated.signing_key, rotated.hpke_key_hash, sha256(newest.statement).digest())
    if said != wanted or rotated.kind != "ROTATE":
        raise HandslagError("HS-STATE-INVALID", field="seq")
    signed_by_seat(own, signed.signature, signed.statement)
    if not rows.cases.confirmed(own.case_id, about.chain_id, statement.seq, own.chain_id):
        vouched(context, rows, own, about, (newest, signed))
    return about


def vouched(
    context: Context, rows: Rows, own: SeatRow, about: SeatRow, word: tuple[SignedStatement, SignedStatement]
) -> None:
    """Record a seat's checked word for another's keys (the ROTATE, the CONFIRM), and tell whom they concern."""
    newest, signed = word
    seq = MemberStatement.from_bytes(signed.statement).seq
    rows.cases.insert_statement(own.case_id, about.chain_id, "CONFIRM", seq, signed.to_bytes(), own.chain_id)
    others = [seat for seat in rows.cases.of_cases([own.case_id]) if seat.seat_id != own.seat_id]
    told = [seat for seat in others if about.role == LEAD or _concerned(context, rows, about, seat)]
    chain = [newest, signed]
    if own.role != LEAD:  # whoever is to believe a deputy must know it
        chain = [*(SignedStatement.from_bytes(raw) for raw in rows.cases.statements(own.case_id, own.chain_id)), *chain]
    _tell(context, rows, told, chain)


def _concerned(context: Context, rows: Rows, about: SeatRow, seat: SeatRow) -> bool:
    own = seat.seat_id == about.seat_id
    return own or (seat.active and (seat.role in {LEAD, DEPUTY} or met(context, rows, about, seat)))


def _tell(context: Context, rows: Rows, seats: Iterable[SeatRow], statements: list[SignedStatement]) -> None:
    rows.inbox.put([
        Item(
            context.new_id(),
            seat.unit,
            "STATEMENT",
            StatementNotice(seat_id=seat.seat_id, statements=tuple(in_order(statements))).to_bytes(),
        )
        for seat in seats
    ])  # fmt: skip


def newest_statement(rows: Rows, seat: SeatRow) -> SignedStatement:
    """The statement that brought the seat's present keys."""
    for raw in reversed(rows.cases.statements(seat.case_id, seat.chain_id)):
        signed = SignedStatement.from_bytes(raw)
        if MemberStatement.from_bytes(signed.statement).kind in {"OPEN", "JOIN", "ROTATE", "REPLACE"}:
            return signed
    raise HandslagError("HS-STATE-INVALID", field="seat")


async def destroyed(context: Context, unit: str, request: DestroyedRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:destroyed`: nothing is handed over any more that is sealed to this key of the seat.

    What is open becomes RESEAL and its senders are told. Only then does the connector destroy the key. Raises
    `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID` for the seat's present key.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        own = rows.cases.seat(seen.seat_id)
        if own is not None:
            require_keys(rows, own.case_id, {own.chain_id})
        if own is None or own.seat_key_id == request.seat_key_id:
            raise HandslagError("HS-STATE-INVALID", field="seat_key_id")
        if own.previous_key_id == request.seat_key_id:
            rows.cases.previous_destroyed(own.seat_id)
        found = [
            row
            for row in rows.deliveries.open_to_seats([own.seat_id])
            if row.body is None or Delivery.from_bytes(row.body, limits.SUBMISSION).seat_key_id == request.seat_key_id
        ]
        reseal(context, rows, found, bump)
        payload = Payload(seat_id=own.seat_id, role=own.role, code=DESTROYED)
        entry = context.recorder.about_seat(own, context.directory.controller(unit), "ADMIN", payload, bump.clock_us)
        return seat_answer(rows, unit, request, own, SeatState(own.state), entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def reseal(context: Context, rows: Rows, found: list[DeliveryRow], bump: Bump) -> None:
    """End open deliveries as RESEAL, tell their senders, and record it; the rows are locked by the caller's read."""
    # INVARIANT: test_what_is_sealed_to_a_destroyed_key_is_sealed_anew
    sections = rows.deliveries.sections([row.delivery_id for row in found])
    seats = rows.cases.seats({row.sender_seat for row in found} | {r.recipient_seat for r in found if r.recipient_seat})
    for row in found:
        entries = outcome_entries(context, row, sections[row.delivery_id], seats, bump.clock_us, DESTROYED)
        rows.deliveries.move(row, DeliveryState.RESEAL)
        # What was never handed over leaves no word of it in the recipient's own trail.
        rows.entries.insert(entries if row.hand_number else entries[:1])
        rows.inbox.put([reseal_item(context, row, sections[row.delivery_id], bump.clock_us)])
