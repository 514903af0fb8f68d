"""Cases and seats: open, accept, state, close; invitations are in `invitations.py`."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from audit.entry import SealedEntry
from broker.acts import own_seat, tell_shrunk
from broker.calls import answered, recorded, request_hash, signed_by, signed_by_seat
from broker.context import Context
from broker.invitations import still_covered
from broker.narrowing import Shrunk
from broker.recipient_seal import seal_unit
from broker.store.cases import InvitationRow, SeatRow
from broker.store.gate import Bump
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.store.tables import BUCKETS
from broker.visibility import met, role_taken, statement_item
from schemas.calls import (
    AcceptRequest,
    CloseRequest,
    DestroyedRequest,
    OpenRequest,
    PassRequest,
    SeatAnswer,
    StateRequest,
)
from schemas.codes import SEAT_TRANSITIONS, DeliveryState, SeatState, known
from schemas.envelope import SeatKey
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.inbox import StatementNotice
from schemas.rekey import RekeyRequest
from schemas.statements import Acceptance, MemberStatement, SignedStatement
from schemas.trail import Payload

LEAD = "social_services_lead"
DEPUTY = "police_coordination"  # whose CONFIRM counts like the lead's


async def open_case(context: Context, unit: str, request: OpenRequest) -> SeatAnswer:
    """Answer `POST /v1/cases:open`: a case with the opener as lead, vouched for by its own OPEN statement.

    Raises `HS-SIGNATURE-INVALID`, `HS-KEY-UNTRUSTED` (statement and keys do not agree), `HS-STATE-INVALID` (the tag
    is taken, or the role is not the lead's).
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    statement = MemberStatement.from_bytes(request.statement.statement)
    if request.unit_role != LEAD or statement.role != LEAD or statement.kind != "OPEN":
        raise HandslagError("HS-STATE-INVALID", field="role")
    context.directory.require_role(unit, LEAD)
    if statement.signer != statement.member or statement.seq != 0:
        raise HandslagError("HS-KEY-UNTRUSTED")
    signed_by(statement.signing_key, request.statement.signature, request.statement.statement)
    hpke_key = checked_hpke(statement, request.statement.hpke_key)
    case_id, seat_id = context.random(16), context.random(16)
    seat = new_seat(context, unit, case_id, seat_id, statement, hpke_key, case_id[0] % BUCKETS, SeatState.ACTIVE)
    context.recorder.seat_keys(seat_id)  # a key is durable before the entry that uses it

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seat.bucket, 1, context.now_us())
        if rows.cases.tag_taken(statement.case_tag):
            raise HandslagError("HS-STATE-INVALID", field="case_tag")
        rows.cases.insert_case(case_id, statement.case_tag, seat.bucket, bump.clock_us)
        rows.cases.insert_seat(seat)
        rows.cases.insert_statement(case_id, statement.member, "OPEN", 0, request.statement.to_bytes())
        entry = key_entry(context, seat, request.statement, bump)
        return seat_answer(rows, unit, request, seat, SeatState.ACTIVE, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


async def accept(context: Context, unit: str, request: AcceptRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:accept`: the invited unit takes the role; the seat waits for the lead's JOIN.

    Raises `HS-INVITATION-INVALID`, `HS-SIGNATURE-INVALID`, `HS-KEY-UNTRUSTED`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    acceptance = Acceptance.from_bytes(request.acceptance)
    signed_by(context.directory.get(unit).signing_key, request.unit_signature, request.acceptance)
    if sha256(request.hpke_key).digest() != acceptance.hpke_key_hash or acceptance.unit != unit:
        raise HandslagError("HS-KEY-UNTRUSTED")
    context.directory.require_role(unit, acceptance.role)
    invited = await context.store.read(lambda rows: rows.cases.invitation(request.invitation_id))
    if invited is None or invited.unit != unit:
        raise HandslagError("HS-INVITATION-INVALID")
    seat_id = context.random(16)
    context.recorder.seat_keys(seat_id)

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(invited.bucket, 1, context.now_us())
        found, inviter = _acceptable(context, rows, request.invitation_id, acceptance, bump)
        statement = _promised(acceptance, inviter)
        seat = new_seat(
            context, unit, found.case_id, seat_id, statement, request.hpke_key, found.bucket, SeatState.ACCEPTED
        )
        rows.cases.insert_seat(replace(seat, protected=inviter.role != LEAD))
        rows.cases.accept(found.invitation_id, request.acceptance, seat_id)
        notice = StatementNotice(
            seat_id=inviter.seat_id,
            statements=(),
            acceptance=request.acceptance,
            unit_signature=request.unit_signature,
            hpke_key=request.hpke_key,
        )
        rows.inbox.put([Item(context.new_id(), inviter.unit, "STATEMENT", notice.to_bytes())])
        payload = Payload(seat_id=seat_id, role=seat.role, act=request.acceptance,
                          act_signature=request.unit_signature)  # fmt: skip
        entry = context.recorder.about_seat(
            seat, context.directory.controller(unit), "KEY_STATEMENT", payload, bump.clock_us
        )
        return seat_answer(rows, unit, request, seat, SeatState.ACCEPTED, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


async def state(context: Context, unit: str, request: StateRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:state`: the lead's JOIN makes a seat ACTIVE, its REMOVE closes one.

    Raises `HS-KEY-UNTRUSTED` (also for another kind), `HS-STATE-INVALID`, `HS-SEAT-UNKNOWN`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    lead = await own_seat(context, unit, request.seat_id)
    statement = MemberStatement.from_bytes(request.statement.statement)
    if lead.role != LEAD or not lead.active or statement.signer != lead.chain_id:
        raise HandslagError("HS-STATE-INVALID", field="signer")
    if statement.case_tag != lead.case_tag or statement.kind not in {"JOIN", "REMOVE"}:
        raise HandslagError("HS-KEY-UNTRUSTED")
    signed_by_seat(lead, request.statement.signature, request.statement.statement)

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(lead.bucket, 1, context.now_us())
        if statement.kind == "JOIN":
            seat = _join(context, rows, lead, statement, request.statement, bump)
        else:
            seat = _remove(context, rows, lead, statement, request.statement, bump)
        rows.cases.insert_statement(
            lead.case_id, statement.member, statement.kind, statement.seq, request.statement.to_bytes()
        )
        if statement.kind == "JOIN":
            rows.inbox.put([statement_item(context, rows, to=seat, about=[lead, seat])])
            _tell_inviter(context, rows, lead, seat, statement)
            role_taken(context, rows, seat, bump.clock_us)
        entry = key_entry(context, lead, request.statement, bump)
        rows.entries.insert([key_entry(context, seat, request.statement, bump)])
        return seat_answer(rows, unit, request, lead, SeatState.ACTIVE, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


async def close(context: Context, unit: str, request: CloseRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:close`: the unit leaves the case; what was open to and from it is cancelled.

    Raises `HS-SEAT-UNKNOWN`, `HS-NOT-YET` for the lead's own seat: a lead hands the case over.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    try:
        seat = await own_seat(context, unit, request.seat_id)
    except HandslagError:
        # INVARIANT: test_closing_twice_at_the_same_time_is_one_answer
        if (before := await answered(context, unit, request)) is not None:  # the same call, closing it just now
            return SeatAnswer.from_bytes(before)
        raise
    if seat.role == LEAD:
        raise HandslagError("HS-NOT-YET", field="role")

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seat.bucket, 1, context.now_us())
        now = rows.cases.seat(seat.seat_id)
        if now is None:
            raise HandslagError("HS-SEAT-UNKNOWN")
        _close_seat(context, rows, now, bump)
        payload = Payload(seat_id=seat.seat_id, role=seat.role, code="HS-SEAT-CLOSED")
        entry = context.recorder.about_seat(seat, context.directory.controller(unit), "ADMIN", payload, bump.clock_us)
        return seat_answer(rows, unit, request, seat, SeatState.CLOSED, entry, bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def _acceptable(
    context: Context, rows: Rows, invitation_id: bytes, acceptance: Acceptance, bump: Bump
) -> tuple[InvitationRow, SeatRow]:
    """The invitation and its inviter, while it is open, meant for this acceptance and still consented to."""
    found = rows.cases.invitation(invitation_id)
    if found is None or found.state != "OPEN" or found.expires_at_us <= bump.clock_us:
        raise HandslagError("HS-INVITATION-INVALID")
    if acceptance.invitation_hash != found.hash or acceptance.role != found.role:
        raise HandslagError("HS-INVITATION-INVALID")
    inviter = rows.cases.seat(found.inviter_seat)
    if inviter is None or not inviter.active or not still_covered(context, rows, inviter, found, bump.clock_us):
        raise HandslagError("HS-INVITATION-INVALID")
    return found, inviter


def _join(
    context: Context, rows: Rows, lead: SeatRow, statement: MemberStatement, signed: SignedStatement, bump: Bump
) -> SeatRow:
    """The lead vouches for exactly what the invited unit accepted, while the person still permits it.

    INVARIANT: test_nobody_joins_after_the_person_took_everything_back.
    """
    invitation = rows.cases.invitation_by_hash(statement.invitation_hash)
    if invitation is None or invitation.state != "ACCEPTED" or invitation.case_id != lead.case_id:
        raise HandslagError("HS-STATE-INVALID", field="invitation")
    inviter = rows.cases.seat(invitation.inviter_seat)
    if inviter is None or not inviter.active or not still_covered(context, rows, inviter, invitation, bump.clock_us):
        raise HandslagError("HS-INVITATION-INVALID")
    context.directory.get(invitation.unit)
    acceptance = Acceptance.from_bytes(invitation.acceptance or b"")
    accepted = (acceptance.member, acceptance.role, acceptance.signing_key, acceptance.hpke_key_hash)
    if accepted != (statement.member, statement.role, statement.signing_key, statement.hpke_key_hash):
        raise HandslagError("HS-KEY-UNTRUSTED")
    if signed.hpke_key is None or sha256(signed.hpke_key).digest() != statement.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED")
    if any(seat.active and seat.role == statement.role for seat in rows.cases.of_cases([lead.case_id])):
        raise HandslagError("HS-STATE-INVALID", field="role")
    seat = rows.cases.seat(invitation.seat_id or b"")
    if seat is None:
        raise HandslagError("HS-STATE-INVALID", field="invitation")
    _move(rows, seat, SeatState.ACTIVE)
    rows.cases.close_invitation(invitation.invitation_id, "JOINED")
    return seat


def _tell_inviter(context: Context, rows: Rows, lead: SeatRow, seat: SeatRow, statement: MemberStatement) -> None:
    """Who invited in the lead's place learns that the lead has vouched."""
    invitation = rows.cases.invitation_by_hash(statement.invitation_hash)
    inviter = None if invitation is None else rows.cases.seat(invitation.inviter_seat)
    if inviter is not None and inviter.active and inviter.seat_id != lead.seat_id:
        rows.inbox.put([statement_item(context, rows, to=inviter, about=[seat])])


def _remove(
    context: Context, rows: Rows, lead: SeatRow, statement: MemberStatement, signed: SignedStatement, bump: Bump
) -> SeatRow:
    """The lead takes a member out; final."""
    others = rows.cases.of_cases([lead.case_id])
    if lead.chain is not None and statement.member == lead.member:
        # The lead as it was before it took the role over: that member leaves, the seat does not.
        notices = [
            (other.unit, StatementNotice(seat_id=other.seat_id, statements=(signed,)))
            for other in others
            if other.role == DEPUTY
        ]
        rows.inbox.put([Item(context.new_id(), to, "STATEMENT", notice.to_bytes()) for to, notice in notices])
        return lead
    seat = next((s for s in others if s.chain_id == statement.member), None)
    if seat is None or seat.seat_id == lead.seat_id:
        raise HandslagError("HS-STATE-INVALID", field="member")
    _close_seat(context, rows, seat, bump)
    for other in others:
        if other.seat_id != lead.seat_id and met(context, rows, seat, other):
            notice = StatementNotice(seat_id=other.seat_id, statements=(signed,))
            rows.inbox.put([Item(context.new_id(), other.unit, "STATEMENT", notice.to_bytes())])
    return seat


def _close_seat(context: Context, rows: Rows, seat: SeatRow, bump: Bump) -> None:
    _move(rows, seat, SeatState.CLOSED)
    open_rows = {row.delivery_id: row for row in rows.deliveries.open_of_senders([seat.seat_id])}
    open_rows |= {row.delivery_id: row for row in rows.deliveries.open_to_seats([seat.seat_id])}
    sections = rows.deliveries.sections(open_rows)
    gone = [
        Shrunk(
            row,
            tuple(sections[delivery_id]),
            (),
            DeliveryState.CANCELLED if row.state == DeliveryState.PENDING else DeliveryState.RECALLED,
        )
        for delivery_id, row in sorted(open_rows.items())
    ]
    for one in gone:
        rows.deliveries.move(one.row, one.state)
    tell_shrunk(context, rows, gone, bump.clock_us, "SEAT_INACTIVE")


def _move(rows: Rows, seat: SeatRow, to: SeatState) -> None:
    if to not in SEAT_TRANSITIONS[SeatState(seat.state)]:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    rows.cases.set_state(seat.seat_id, to)


def _promised(acceptance: Acceptance, inviter: SeatRow) -> MemberStatement:
    """The acceptance in the shape of the statement that the lead is to sign; only used to fill the seat row."""
    return MemberStatement(
        case_tag=inviter.case_tag,
        member=acceptance.member,
        role=known("role", acceptance.role, "role"),
        kind="JOIN",
        seq=0,
        signing_key=acceptance.signing_key,
        hpke_key_hash=acceptance.hpke_key_hash,
        not_before_us=0,
        not_after_us=0,
        previous=ZERO32,
        invitation_hash=acceptance.invitation_hash,
        signer=inviter.chain_id,
    )


def checked_hpke(statement: MemberStatement, hpke_key: bytes | None) -> bytes:
    """The HPKE key beside a statement; raises `HS-KEY-UNTRUSTED` when it is not the one the statement names."""
    if hpke_key is None or sha256(hpke_key).digest() != statement.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED")
    return hpke_key


def new_seat(
    context: Context,
    unit: str,
    case_id: bytes,
    seat_id: bytes,
    statement: MemberStatement,
    hpke_key: bytes,
    bucket: int,
    state_: SeatState,
) -> SeatRow:
    """The row of a new seat; the unit behind it is sealed to the supervisor and to the unit itself."""
    return SeatRow(
        seat_id=seat_id,
        case_id=case_id,
        bucket=bucket,
        unit=unit,
        role=statement.role,
        member=statement.member,
        state=state_,
        ledger_seq=0,
        head=ZERO32,
        signing_key=statement.signing_key,
        seat_key_id=sha256(SeatKey(signing_key=statement.signing_key, hpke_key=hpke_key).to_bytes()).digest(),
        recipient_sealed=seal_unit(unit, context.supervisor_key),
        recipient_own=seal_unit(unit, context.directory.get(unit).hpke_key),
        case_tag=statement.case_tag,
    )


def key_entry(context: Context, seat: SeatRow, signed: SignedStatement, bump: Bump) -> SealedEntry:
    """The KEY_STATEMENT entry of a statement, for one of the seats it concerns."""
    payload = Payload(seat_id=seat.seat_id, role=seat.role, act=signed.statement, act_signature=signed.signature)
    controller = context.directory.controller(seat.unit)
    return context.recorder.about_seat(seat, controller, "KEY_STATEMENT", payload, bump.clock_us)


_Request = OpenRequest | AcceptRequest | StateRequest | CloseRequest | DestroyedRequest | PassRequest | RekeyRequest


def seat_answer(
    rows: Rows,
    unit: str,
    request: _Request,
    seat: SeatRow,
    state_: SeatState,
    entry: SealedEntry,
    bump: Bump,
) -> SeatAnswer:
    """Write the entry, keep the answer for a repeated call, and return it."""
    rows.entries.insert([entry])
    answer = SeatAnswer(
        call_id=request.call_id,
        seat_id=seat.seat_id,
        state=state_,
        ledger_seq=seat.ledger_seq,
        head=seat.head,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )
    rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), bump.clock_us)
    return answer


__all__ = ["LEAD", "accept", "close", "open_case", "state"]
