"""New keys for a seat whose connector is lost with no backup: two other seats sign, the broker makes nothing itself.

A seat asks with its unit's signature; those that may vouch are shown the statement and no unit. Only they may whom
everybody already knows that must believe it: the lead, its deputy, or a seat that all of these have met. With the
second signature the keys are the seat's, the old ones are worth nothing, and what waits for it is sealed anew by its
senders.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from broker import rotation
from broker.acts import own_seat
from broker.calls import answered, recorded, signed_by, signed_by_seat
from broker.cases import DEPUTY, LEAD, checked_hpke, key_entry, seat_answer
from broker.context import Context
from broker.instances import seen_by
from broker.recipient_seal import seal_unit
from broker.rotation import newest_statement, reseal
from broker.store.cases import SeatRow
from broker.store.gate import Bump
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.store.rekeys import RekeyRow
from broker.visibility import met, seen_statements, statement_item
from schemas.calls import SeatAnswer, StateRequest
from schemas.codes import DeliveryState, SeatState, table
from schemas.envelope import SeatKey
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.rekey import LostSeat, LostSeatsAnswer, LostSeatsRequest, Rekey, RekeyNotice, RekeyRequest
from schemas.statements import MemberStatement, SignedStatement
from schemas.trail import Payload

ASKED = "HS-REKEY-ASKED"
SEATS = 20  # of one answer: the statements of a long case fill a page


async def lost(context: Context, unit: str, request: LostSeatsRequest) -> LostSeatsAnswer:
    """Answer `POST /v1/seats:lost`: active seats of the caller's unit by id, some at a time."""

    def look(rows: Rows) -> LostSeatsAnswer:
        mine = [seat for seat in rows.cases.of_unit(unit) if seat.active and seat.seat_id > request.after]
        shown = sorted(mine, key=lambda seat: seat.seat_id)[:SEATS]
        return LostSeatsAnswer(seats=tuple(_shown(context, rows, seat) for seat in shown), more=len(mine) > len(shown))

    return await context.store.read(look)


def _shown(context: Context, rows: Rows, seat: SeatRow) -> LostSeat:
    about = [seat, *(one for one in seen_by(context, rows, seat) if one.seat_id != seat.seat_id)]
    handed = (row for row in rows.deliveries.open_to_seats([seat.seat_id]) if row.state == DeliveryState.HANDED)
    return LostSeat(
        seat_id=seat.seat_id,
        role=seat.role,
        member=seat.member,
        chain=seat.chain_id,
        case_tag=seat.case_tag,
        statements=tuple(seen_statements(context, rows, to=seat, about=about)),
        may_sign=tuple(sorted(one.role for one in _signers(context, rows, seat))),
        handed=tuple(sorted({row.event_id for row in handed})),
    )


async def asked(context: Context, unit: str, request: RekeyRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:rekey`: new keys of a lost seat are shown to those that may vouch for them.

    Raises `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID` (not active), `HS-SIGNATURE-INVALID` (not the unit's),
    `HS-KEY-UNTRUSTED` (not the next keys of this seat, or another case), `HS-REKEY-TOO-FEW`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)
    signed_by(context.directory.get(unit).signing_key, request.unit_signature, request.rekey)
    wanted = Rekey.from_bytes(request.rekey)
    statement = MemberStatement.from_bytes(wanted.statement)
    checked_hpke(statement, request.hpke_key)

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        seat = rows.cases.seat(seen.seat_id)
        if seat is None or not seat.active:
            raise HandslagError("HS-STATE-INVALID", field="seat")
        _fits(rows, seat, wanted, statement)
        signers = _signers(context, rows, seat)
        if not _enough(seat, signers):
            raise HandslagError("HS-REKEY-TOO-FEW")
        rows.rekeys.ask(RekeyRow(seat.seat_id, request.rekey, request.hpke_key, bump.clock_us))
        _show(context, rows, seat, signers, request, bump)
        payload = Payload(seat_id=seat.seat_id, role=seat.role, act=request.rekey,
                          act_signature=request.unit_signature, code=ASKED)  # fmt: skip
        entry = context.recorder.about_seat(seat, context.directory.controller(unit), "ADMIN", payload, bump.clock_us)
        return seat_answer(rows, unit, request, seat, SeatState.ACTIVE, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def _fits(rows: Rows, seat: SeatRow, wanted: Rekey, statement: MemberStatement) -> None:
    """The statement is this seat's next, in its own name, and names the case by its pin."""
    newest = newest_statement(rows, seat)
    said = (statement.kind, statement.case_tag, statement.member, statement.signer, statement.role, statement.seq)
    right = ("REPLACE", seat.case_tag, seat.chain_id, seat.chain_id, seat.role, seat.key_seq + 1)
    follows = statement.previous == sha256(newest.statement).digest() and statement.invitation_hash == ZERO32
    opened = [
        SignedStatement.from_bytes(raw).statement
        for one in rows.cases.ever_of_case(seat.case_id)
        if one.role == LEAD
        for raw in rows.cases.statements(seat.case_id, one.chain_id)
    ]
    pins = {sha256(raw).digest() for raw in opened if MemberStatement.from_bytes(raw).kind == "OPEN"}
    if said != right or not follows or wanted.pin not in pins:
        raise HandslagError("HS-KEY-UNTRUSTED")


def _signers(context: Context, rows: Rows, lost_seat: SeatRow) -> list[SeatRow]:
    """Who may vouch: active seats of other units that every seat knows which must believe the new keys.

    That a seat exists can itself tell something: a signature must not make it known to anybody new.
    INVARIANT: test_a_signature_makes_no_seat_known_to_anybody.
    """
    told = _told(context, rows, lost_seat)
    return [
        seat
        for seat in told
        if seat.unit != lost_seat.unit
        and (
            seat.role in {LEAD, DEPUTY}
            or all(one.seat_id == seat.seat_id or one.role == LEAD or met(context, rows, one, seat) for one in told)
        )
    ]


def _told(context: Context, rows: Rows, lost_seat: SeatRow) -> list[SeatRow]:
    """Active seats that have the lost one's keys: the lead, the deputy, those it has met; of a lead everybody."""
    others = [s for s in rows.cases.of_cases([lost_seat.case_id]) if s.active and s.seat_id != lost_seat.seat_id]
    known = {LEAD, DEPUTY}
    return [s for s in others if lost_seat.role == LEAD or s.role in known or met(context, rows, lost_seat, s)]


def _enough(lost_seat: SeatRow, signers: Iterable[SeatRow]) -> bool:
    """Two of them, of two units and two authorities, one of which is the lead or its deputy."""
    # INVARIANT: test_the_broker_takes_no_replacement_with_less_than_two
    ones = [seat for seat in signers if seat.seat_id != lost_seat.seat_id]
    return any(
        one.role in {LEAD, DEPUTY} and one.unit != other.unit and _authority(one.role) != _authority(other.role)
        for one in ones
        for other in ones
    )


def _authority(role: str) -> str:
    return str(table()["role"][role]["authority"])


def _show(
    context: Context, rows: Rows, seat: SeatRow, signers: list[SeatRow], request: RekeyRequest, bump: Bump
) -> None:
    """The request, after the lost seat's own statements: a deputy may vouch for one that it has not met."""
    for one in signers:
        notice = RekeyNotice(
            seat_id=one.seat_id, rekey=request.rekey, hpke_key=request.hpke_key, at_us=bump.clock_us
        ).to_bytes()
        item = Item(context.new_id(), one.unit, "REKEY", notice)
        rows.inbox.put([statement_item(context, rows, to=one, about=[seat]), item])


async def state(context: Context, unit: str, request: StateRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:state`: REPLACE here, every other kind as `rotation.state` has it; raises as both."""
    if MemberStatement.from_bytes(request.statement.statement).kind == "REPLACE":
        return await countersigned(context, unit, request)
    return await rotation.state(context, unit, request)


async def countersigned(context: Context, unit: str, request: StateRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:state` with a REPLACE: one more seat vouches for the new keys of a lost one.

    Raises `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID` (`signer`: not active, or not one that may), `HS-REKEY-NONE` (nobody
    asked for exactly this, or it is done), `HS-REKEY-SAME-UNIT`, `HS-SIGNATURE-INVALID`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)
    statement = MemberStatement.from_bytes(request.statement.statement)
    wanted = await context.store.read(
        lambda rows: next((s for s in rows.cases.of_cases([seen.case_id]) if s.chain_id == statement.member), None)
    )
    if wanted is None:
        raise HandslagError("HS-REKEY-NONE")
    own_key = context.directory.get(wanted.unit).hpke_key
    sealed = (seal_unit(wanted.unit, context.supervisor_key), seal_unit(wanted.unit, own_key))

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        own = rows.cases.seat(seen.seat_id)
        if own is None or not own.active or statement.case_tag != own.case_tag:
            raise HandslagError("HS-STATE-INVALID", field="signer")
        about, row = _asked_for(context, rows, own, statement, request.statement)
        signed_by_seat(own, request.statement.signature, request.statement.statement)
        before = rows.rekeys.signatures(about.seat_id)
        others = [s for s in rows.cases.of_cases([own.case_id]) if s.chain_id in before and s.chain_id != own.chain_id]
        if own.unit in {seat.unit for seat in others}:
            # INVARIANT: test_two_seats_of_one_unit_are_one
            raise HandslagError("HS-REKEY-SAME-UNIT")
        if own.chain_id not in before:
            rows.rekeys.sign(about.seat_id, own.chain_id, request.statement.signature)
        if _enough(about, [*(seat for seat in others if seat.active), own]):
            _replaced(context, rows, about, row, statement, sealed, bump)
        entry = key_entry(context, own, request.statement, bump)
        rows.entries.insert([key_entry(context, about, request.statement, bump)])
        return seat_answer(rows, unit, request, own, SeatState.ACTIVE, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def _asked_for(
    context: Context, rows: Rows, own: SeatRow, statement: MemberStatement, signed: SignedStatement
) -> tuple[SeatRow, RekeyRow]:
    """The lost seat and its request, when this is its very statement and the caller may vouch for it."""
    # INVARIANT: test_a_replacement_that_the_seat_did_not_ask_for_is_refused
    others = rows.cases.of_cases([own.case_id])
    about = next((seat for seat in others if seat.chain_id == statement.member and seat.active), None)
    row = rows.rekeys.get(about.seat_id) if about is not None else None
    if about is None or row is None or Rekey.from_bytes(row.rekey).statement != signed.statement:
        raise HandslagError("HS-REKEY-NONE")
    if own.unit == about.unit:
        raise HandslagError("HS-REKEY-SAME-UNIT")
    if own.seat_id not in {seat.seat_id for seat in _signers(context, rows, about)}:
        raise HandslagError("HS-STATE-INVALID", field="signer")
    return about, row


def _replaced(
    context: Context,
    rows: Rows,
    seat: SeatRow,
    row: RekeyRow,
    statement: MemberStatement,
    sealed: tuple[bytes, bytes],
    bump: Bump,
) -> None:
    """The new keys are the seat's: nothing is taken under the old ones, what waits goes back to its senders."""
    # INVARIANT: test_what_waits_for_a_lost_seat_goes_back_to_its_senders
    key_id = sha256(SeatKey(signing_key=statement.signing_key, hpke_key=row.hpke_key).to_bytes()).digest()
    rows.cases.replace_keys(seat, statement.signing_key, key_id, sealed)
    data = Rekey.from_bytes(row.rekey).statement
    for member, signature in rows.rekeys.signatures(seat.seat_id).items():
        signed = SignedStatement(statement=data, signature=signature, hpke_key=row.hpke_key)
        rows.cases.insert_statement(seat.case_id, seat.chain_id, "REPLACE", statement.seq, signed.to_bytes(), member)
    rows.rekeys.forget(seat.seat_id)
    reseal(context, rows, rows.deliveries.open_to_seats([seat.seat_id]), bump)
    items = [statement_item(context, rows, to=one, about=[seat]) for one in _told(context, rows, seat)]
    rows.inbox.put([*items, statement_item(context, rows, to=seat, about=seen_by(context, rows, seat))])


__all__ = ["asked", "countersigned", "lost", "state"]
