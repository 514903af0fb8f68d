"""Inviting a unit: a synchronous call that itself releases, so it bumps the gate first and decides afterwards."""

from __future__ import annotations

from hashlib import sha256

from broker.acts import own_seat
from broker.calls import answered, recorded, request_hash, signed_by, signed_by_seat
from broker.context import Context
from broker.effects import decision_entry, delivery_row, role_outcome, section_rows
from broker.hold import require_free
from broker.judge import Judged, own_party
from broker.narrowing import invited_party
from broker.resolve import Resolved, Waiting, waiting_of
from broker.store.cases import InvitationRow, SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.decide import decide
from consent.terms import DecisionRequest, SectionAsk
from schemas.calls import InviteAnswer, InviteRequest
from schemas.checks import check_submission
from schemas.codes import SeatState
from schemas.envelope import Delivery, Wrap
from schemas.errors import HandslagError
from schemas.event_types import check_action
from schemas.identifiers import ZERO16
from schemas.inbox import InvitationDelivery, Notice, Receipt
from schemas.statements import Invitation
from schemas.stream_record import StreamRecord

TYPE = "seat_invited"


async def invite(context: Context, unit: str, request: InviteRequest) -> InviteAnswer:
    """Answer `POST /v1/seats:invite`: decide with the unit as recipient, and deliver to the unit, in one transaction.

    Raises `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-SUBMISSION-INVALID`, `HS-INVITATION-INVALID`,
    `HS-UNIT-UNKNOWN`, `HS-ACTION-OTHER`, `HS-RULES-OTHER`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return InviteAnswer.from_bytes(before)
    seat = await own_seat(context, unit, request.seat_id)
    invitation, waiting = _checked(context, unit, request, seat)

    def work(rows: Rows) -> InviteAnswer:
        bump = rows.gate.bump(seat.bucket, 1, context.now_us())
        sender = rows.cases.seat(seat.seat_id)
        if sender is None or sender.state != SeatState.ACTIVE:
            raise HandslagError("HS-SEAT-UNKNOWN")
        if rows.units.closed([unit, invitation.unit]):  # shut out since the call was authenticated
            raise HandslagError("HS-UNIT-UNKNOWN")
        require_free(rows, sender.seat_id)
        event_id = waiting.core.event_id
        if rows.cases.invitation(invitation.invitation_id) or rows.events.fingerprints([event_id]):
            raise HandslagError("HS-INVITATION-INVALID")  # one invitation, one event: neither is used twice
        view = context.views.of(rows, [sender])[sender.seat_id]
        resolved = Resolved(waiting, sender, {}, view, context.rules_of(rows)(unit), {}, first_time=True)
        at_us = max(bump.clock_us, view.recorded_at_us)
        judged = _judged(resolved, sender, invitation, at_us)
        entry = decision_entry(context, resolved, sender, judged, at_us)
        receipt = Receipt(
            seat_id=sender.seat_id,
            event_id=waiting.core.event_id,
            attempt=waiting.attempt.attempt,
            decided_at_us=at_us,
            roles=(role_outcome(resolved, judged, entry),),
            ledger_seq=view.ledger_seq,
            entry_id=entry.entry_id,
            leaf_hash=entry.leaf_hash,
        )
        rows.events.remember([(waiting.core.event_id, sender.seat_id, waiting.fingerprint)])
        rows.entries.insert([entry])
        _release(context, rows, resolved, sender, judged, invitation, request, at_us)
        answer = InviteAnswer(call_id=request.call_id, receipt=receipt)
        rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), at_us)
        return answer

    return await recorded(context, unit, request, work, InviteAnswer)


def _checked(context: Context, unit: str, request: InviteRequest, seat: SeatRow) -> tuple[Invitation, Waiting]:
    """The invitation and its sealed event, when both signatures hold and they belong to this seat and each other."""
    invitation = Invitation.from_bytes(request.invitation)
    signed_by_seat(seat, request.seat_signature, request.invitation)
    signed_by(context.directory.get(unit).signing_key, request.unit_signature, request.invitation)
    context.directory.get(invitation.unit)
    check_submission(request.submission)
    record = StreamRecord(
        unit=unit,
        received_at_us=context.now_us(),
        bundle=request.invitation,
        unit_signature=request.unit_signature,
        index=0,
        path=(),
        submission=request.submission,
    )
    waiting = waiting_of(0, record)
    _belongs(invitation, seat, waiting, unit, request)
    # INVARIANT: test_an_invitation_goes_under_no_other_action_than_its_own
    check_action(TYPE, waiting.core.action)
    return invitation, waiting


def _belongs(invitation: Invitation, seat: SeatRow, waiting: Waiting, unit: str, request: InviteRequest) -> None:
    """The invitation names this case, this inviter and exactly these sealed sections."""
    hashes = (invitation.core_hash, invitation.digests_hash)
    sealed = (sha256(request.submission.core).digest(), sha256(request.submission.digests).digest())
    if (
        hashes != sealed
        or invitation.case_tag != seat.case_tag
        or invitation.inviter != seat.chain_id
        or invitation.inviter_unit != unit
        or waiting.core.event_type != TYPE
        or waiting.routing.seat_id != seat.seat_id
        or waiting.attempt.recipients != (invitation.role,)
    ):
        raise HandslagError("HS-INVITATION-INVALID")


def _judged(resolved: Resolved, sender: SeatRow, invitation: Invitation, at_us: int) -> Judged:
    waiting = resolved.waiting
    if waiting.attempt.rules_hash != resolved.rules.hash32:
        raise HandslagError("HS-RULES-OTHER")
    wrap: Wrap | None = next((w for w in waiting.attempt.wraps if w.role == invitation.role), None)
    digests = waiting.record.submission.digests
    given = {digests[32 * k.index : 32 * k.index + 32] for k in wrap.keys} if wrap else set()
    request = DecisionRequest(
        event_type=TYPE,
        sender=own_party(sender),
        recipient=invited_party(invitation.unit, invitation.role),
        sections=tuple(
            SectionAsk(
                category=section.category,
                persons=section.persons,
                public_interest_released=section.public_interest_released,
                sender_withheld=section.digest not in given,
                data_from_us=section.data_from_us,
                data_until_us=section.data_until_us,
            )
            for section in waiting.routing.sections
        ),
        purpose=waiting.core.purpose,
        action=waiting.core.action,
        at_us=at_us,
    )
    return Judged(invitation.role, None, request, decide(request, resolved.view, resolved.rules), wrap)


def _release(
    context: Context,
    rows: Rows,
    resolved: Resolved,
    sender: SeatRow,
    judged: Judged,
    invitation: Invitation,
    request: InviteRequest,
    at_us: int,
) -> None:
    """The delivery to the unit and the invitation that may be accepted; nothing when no section is released."""
    pairs = zip(resolved.waiting.routing.sections, judged.decision.sections, strict=True)
    given = [(section, answer) for section, answer in pairs if answer.released]
    if not given or judged.wrap is None:
        return
    delivery_id = context.new_id()
    row = delivery_row(
        resolved.waiting, sender, judged, delivery_id, invitation.unit, None, at_us, invitation.invitation_id
    )
    envelope = InvitationDelivery(
        invitation=request.invitation,
        seat_signature=request.seat_signature,
        unit_signature=request.unit_signature,
        delivery=Delivery.from_bytes(row.body or b"", 1 << 20),
    )
    rows.cases.insert_invitation(
        InvitationRow(
            invitation_id=invitation.invitation_id,
            case_id=sender.case_id,
            bucket=sender.bucket,
            inviter_seat=sender.seat_id,
            unit=invitation.unit,
            role=invitation.role,
            state="OPEN",
            hash=sha256(request.invitation).digest(),
            expires_at_us=invitation.expires_at_us,
            envelope=envelope.to_bytes(),
            acceptance=None,
            seat_id=None,
        )
    )
    rows.deliveries.insert([row], section_rows(resolved.waiting, judged, delivery_id, ZERO16, given))


async def lapse(context: Context) -> int:
    """Close invitations past their end; the inviter is told, and so is the invited unit if it had accepted."""
    now_us = context.now_us()
    found = await context.store.read(lambda rows: rows.cases.lapsed(now_us))
    for one in found:
        await context.store.write(lambda rows, one=one: _lapse_one(context, rows, one))  # type: ignore[misc]
    return len(found)


def _lapse_one(context: Context, rows: Rows, seen: InvitationRow) -> None:
    bump = rows.gate.bump(seen.bucket, 1, context.now_us())
    one = rows.cases.invitation(seen.invitation_id)
    if one is None or one.state != seen.state:
        return  # accepted or joined meanwhile: the next look decides anew
    inviter = rows.cases.seat(one.inviter_seat)
    rows.cases.close_invitation(one.invitation_id, "LAPSED")
    # A seat that is closed is told nothing more of the case.
    told = [(inviter.unit, inviter.seat_id)] if inviter and inviter.state != SeatState.CLOSED else []
    if one.seat_id:
        rows.cases.set_state(one.seat_id, SeatState.CLOSED)
        told.append((one.unit, one.seat_id))
    for unit, seat_id in told:
        notice = Notice(seat_id=seat_id, code="invitation_lapsed", categories=(), role=one.role, at_us=bump.clock_us)
        rows.inbox.put([Item(context.new_id(), unit, "NOTICE", notice.to_bytes())])


def still_covered(context: Context, rows: Rows, inviter: SeatRow, invitation: InvitationRow, at_us: int) -> bool:
    """Whether the person still permits that the invited unit knows: an invitation is worth no more than its consent.

    Raises HS-HOLD while the inviter's consents may be older than what was recorded.
    """
    require_free(rows, inviter.seat_id)
    view = context.views.of(rows, [inviter])[inviter.seat_id]
    request = DecisionRequest(
        event_type=TYPE,
        sender=own_party(inviter),
        recipient=invited_party(invitation.unit, invitation.role),
        sections=(SectionAsk(category="IC12", persons=(0,), public_interest_released=False, sender_withheld=False),),
        purpose="INTAKE",
        action="DISCLOSE",
        at_us=max(at_us, view.recorded_at_us),
    )
    return decide(request, view, context.rules_of(rows)(inviter.unit)).sections[0].released


__all__ = ["TYPE", "invite", "lapse", "still_covered"]
