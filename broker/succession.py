"""The lead's role changes hands: who takes it over says so in keys, and the lead signs its own chain over to them.

To the case it is the lead's rotation of that slot. What differs happens here, unseen: another seat holds the role from
that transaction on, the old one is closed, and the consents that do not follow the role are told so, without a unit.
"""

from __future__ import annotations

from hashlib import sha256

from audit.entry import SealedEntry
from broker.acks import outcome_entries
from broker.acts import own_seat, tell_shrunk
from broker.calls import answered, recorded, signed_by_seat
from broker.cases import LEAD, key_entry, seat_answer
from broker.context import Context
from broker.effects import reseal_item
from broker.narrowing import Shrunk
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow
from broker.store.gate import Bump
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.visibility import changed, statement_item
from consent.ledger import LedgerView
from schemas import codec
from schemas.calls import PassRequest, SeatAnswer
from schemas.codes import DeliveryState, SeatState
from schemas.envelope import SeatKey
from schemas.errors import HandslagError
from schemas.inbox import PassNotice
from schemas.statements import Acceptance, SignedStatement, Succession, Vouch
from schemas.trail import Payload

NEXT = "social_services_lead_next"
PASSED = "HS-ROLE-PASSED"


async def pass_on(context: Context, unit: str, request: PassRequest) -> SeatAnswer:
    """Answer `POST /v1/seats:pass`: a Vouch of the seat that invited, or the Succession of the seat that takes over.

    Both go to the lead, as keys and nothing else. Raises `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID` (not the caller's to
    say), `HS-KEY-UNTRUSTED` (not the keys that were accepted), `HS-SIGNATURE-INVALID`, PayloadRejected.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeatAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)
    signed_by_seat(seen, request.signature, request.statement)
    vouches = codec.name_of(request.statement) == Vouch.SCHEMA
    told = Vouch.from_bytes(request.statement) if vouches else Succession.from_bytes(request.statement)
    if told.case_tag != seen.case_tag or sha256(request.hpke_key).digest() != told.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED")

    def work(rows: Rows) -> SeatAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        own = rows.cases.seat(seen.seat_id)
        if own is None or not own.active:
            raise HandslagError("HS-STATE-INVALID", field="seat")
        if isinstance(told, Vouch):
            _accepted(rows, own, told)
        else:
            _offered(rows, own, told, request.hpke_key, bump)
        lead = next((seat for seat in rows.cases.of_cases([own.case_id]) if seat.active and seat.role == LEAD), None)
        if lead is None:
            raise HandslagError("HS-NO-HOLDER")
        notice = PassNotice(
            seat_id=lead.seat_id,
            statement=request.statement,
            signature=request.signature,
            hpke_key=request.hpke_key,
        )
        rows.inbox.put([Item(context.new_id(), lead.unit, "SUCCESSION", notice.to_bytes())])
        return seat_answer(rows, unit, request, own, SeatState(own.state), _said(context, own, request, bump), bump)

    return await recorded(context, unit, request, work, SeatAnswer)


def _said(context: Context, own: SeatRow, request: PassRequest, bump: Bump) -> SealedEntry:
    payload = Payload(seat_id=own.seat_id, role=own.role, act=request.statement, act_signature=request.signature)
    controller = context.directory.controller(own.unit)
    return context.recorder.about_seat(own, controller, "KEY_STATEMENT", payload, bump.clock_us)


def _accepted(rows: Rows, own: SeatRow, told: Vouch) -> None:
    """A Vouch is for exactly the keys that were accepted under the caller's own invitation to take the case over."""
    invitation = rows.cases.invitation_by_hash(told.invitation_hash)
    if invitation is None or invitation.inviter_seat != own.seat_id or invitation.role != NEXT:
        raise HandslagError("HS-STATE-INVALID", field="invitation")
    if invitation.state != "ACCEPTED" or told.voucher != own.chain_id:
        raise HandslagError("HS-STATE-INVALID", field="invitation")
    taken = Acceptance.from_bytes(invitation.acceptance or b"")
    if (taken.member, taken.signing_key, taken.hpke_key_hash) != (told.member, told.signing_key, told.hpke_key_hash):
        raise HandslagError("HS-KEY-UNTRUSTED")


def _offered(rows: Rows, own: SeatRow, told: Succession, hpke_key: bytes, bump: Bump) -> None:
    if own.role != NEXT or told.member != own.member:
        raise HandslagError("HS-STATE-INVALID", field="role")
    key_id = sha256(SeatKey(signing_key=told.signing_key, hpke_key=hpke_key).to_bytes()).digest()
    rows.cases.offer(own, key_id, bump.clock_us)


def heir_of(rows: Rows, lead: SeatRow, seat_key_id: bytes) -> SeatRow | None:
    """The seat that offered to take the lead's role over with these very keys, or None: the lead's own rotation."""
    offered = rows.cases.offered(lead.case_id, seat_key_id)
    if lead.role != LEAD or offered is None:
        return None
    heir = rows.cases.seat(offered)
    return heir if heir is not None and heir.active and heir.role == NEXT else None


def take_over(
    context: Context, rows: Rows, lead: SeatRow, heir: SeatRow, seq: int, keys: tuple[bytes, bytes], bump: Bump
) -> SeatRow:
    """Close the lead's seat and give its role and chain of keys to the heir; returns the heir's seat as it is now.

    `keys` are signing key and key id. Raises `HS-STATE-INVALID` while something of the lead's for the heir is on its
    way: a file that is cut off by its own delivery would be lost.
    INVARIANT: test_the_role_changes_hands_in_the_slot_and_the_old_lead_learns_nothing.
    """
    sent = rows.deliveries.open_of_senders([lead.seat_id])
    if any(row.recipient_seat == heir.seat_id for row in sent):
        raise HandslagError("HS-STATE-INVALID", field="deliveries")
    came = rows.deliveries.open_to_seats([lead.seat_id])
    others = [s for s in rows.cases.of_cases([lead.case_id]) if s.seat_id not in {lead.seat_id, heir.seat_id}]
    views = context.views.of(rows, others)
    rows.cases.set_state(lead.seat_id, SeatState.CLOSED)
    rows.cases.take_over(heir, LEAD, lead.chain_id, seq, keys)
    following = {s.seat_id for s in others if _follows(views[s.seat_id], bump.clock_us)}
    _cancel(context, rows, [*sent, *(row for row in came if row.sender_seat not in following)], bump)
    _reseal(context, rows, [row for row in came if row.sender_seat in following], bump)
    now = rows.cases.seat(heir.seat_id)
    assert now is not None
    active = [seat for seat in others if seat.active]
    rows.inbox.put([
        *([statement_item(context, rows, to=now, about=active)] if active else []),
        *(changed(context, seat, now, bump.clock_us) for seat in active if _left(views[seat.seat_id], lead, bump)),
    ])  # fmt: skip
    return now


def _follows(view: LedgerView, at_us: int) -> bool:
    return any(LEAD in grant.followed for grant in view.grants if at_us < grant.end_us)


def _left(view: LedgerView, lead: SeatRow, bump: Bump) -> bool:
    """Whether a consent in force named the one who held the role, by role or by unit, and does not follow it."""
    # INVARIANT: test_a_consent_that_does_not_follow_waits_for_the_person
    held = [grant for grant in view.grants if bump.clock_us < grant.end_us]
    return any((LEAD in g.roles and LEAD not in g.followed) or lead.unit in g.units for g in held)


def _cancel(context: Context, rows: Rows, open_rows: list[DeliveryRow], bump: Bump) -> None:
    sections = rows.deliveries.sections([row.delivery_id for row in open_rows])
    gone = [
        Shrunk(
            row,
            tuple(sections[row.delivery_id]),
            (),
            DeliveryState.CANCELLED if row.state == DeliveryState.PENDING else DeliveryState.RECALLED,
        )
        for row in sorted(open_rows, key=lambda row: row.delivery_id)
    ]
    for one in gone:
        rows.deliveries.move(one.row, one.state)
    tell_shrunk(context, rows, gone, bump.clock_us, "SEAT_INACTIVE")


def _reseal(context: Context, rows: Rows, open_rows: list[DeliveryRow], bump: Bump) -> None:
    """What follows the role goes to its new holder: its sender seals it anew, as after any rotation."""
    sections = rows.deliveries.sections([row.delivery_id for row in open_rows])
    seats = rows.cases.seats({seat for row in open_rows for seat in (row.sender_seat, row.recipient_seat) if seat})
    for row in open_rows:
        ours, theirs = outcome_entries(context, row, sections[row.delivery_id], seats, bump.clock_us, PASSED)
        rows.deliveries.move(row, DeliveryState.RESEAL)
        rows.entries.insert([ours, theirs] if row.hand_number else [ours])
        rows.inbox.put([reseal_item(context, row, sections[row.delivery_id], bump.clock_us)])


def passed_entry(context: Context, heir: SeatRow, signed: SignedStatement, bump: Bump) -> SealedEntry:
    """The KEY_STATEMENT entry of the hand-over for the one who took over."""
    return key_entry(context, heir, signed, bump)
