"""What became of what this unit sent: receipts and notices, in whatever order they come."""

from __future__ import annotations

from connectors import incidents, receipts, reports, returning, sending, statute_book
from connectors.context import Context
from connectors.identity import Seat
from connectors.waiting import NOTICE_EFFECT, OutgoingState, SectionState
from schemas.errors import HandslagError, registry
from schemas.inbox import InboxItem, Notice, Receipt


def seat_of(ctx: Context, seat_id: bytes) -> Seat:
    """This unit's seat with the broker's id; raises `HS-SEAT-UNKNOWN`."""
    found = ctx.identities.by_seat_id(seat_id)
    if found is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return found


def receipt(ctx: Context, item: InboxItem, told: Receipt) -> None:
    """Take a receipt: what was decided about one attempt, per role and section. Raises `HS-RECEIPT-INVALID`."""
    seat = seat_of(ctx, told.seat_id)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")
    if told.refused_code == "HS-HOLD":
        return  # no decision: the same attempt goes again and gets its receipt then
    try:
        event = ctx.spool.outgoing.get(told.event_id)
    except HandslagError:
        # After a restore it may be an event that is not here; otherwise nothing of the kind ever left.
        if not returning.unknown_receipt(ctx, seat, item.item_id, reports.receipt(seat, {}, told)):
            raise
        return
    receipts.check(ctx, seat, event, told)
    if not ctx.spool.outgoing.keep_receipt(told.event_id, told.attempt, item.body):
        return
    event = sending.arrived(ctx, event, told.attempt)
    for leaf_hash in {told.leaf_hash, *(role.leaf_hash for role in told.roles)}:
        ctx.spool.memory.want_proof(leaf_hash, "receipt", ctx.now(), seat.sid)
    ctx.spool.incoming.put(item.item_id.hex(), "receipts", reports.receipt(seat, event.event, told))
    if told.refused_code is not None:
        fatal = told.refused_code in registry() and not registry()[told.refused_code].retriable
        if fatal and event.state is OutgoingState.SENT and told.attempt == event.attempt:
            ctx.spool.outgoing.move(told.event_id, OutgoingState.REFUSED)
        return
    _sections(ctx, told)
    sending.settle(ctx, told.event_id)


def _sections(ctx: Context, told: Receipt) -> None:
    states = {(row.role, row.category): row.state for row in ctx.spool.outgoing.sections(told.event_id)}
    for role in told.roles:
        for section in role.sections:
            if section.released:
                carrier = section.carried_by or told.attempt
                ctx.spool.outgoing.released(told.event_id, role.role, section.category, carrier)
            elif states.get((role.role, section.category)) is SectionState.OPEN:
                # A later attempt says of an earlier release only that it did not carry it again.
                ctx.spool.outgoing.set_section(
                    told.event_id, role.role, section.category, SectionState.OPEN, section.reasons
                )


def notice(ctx: Context, item: InboxItem, told: Notice) -> None:
    """Take a notice: what became of something afterwards, in codes."""
    seat = seat_of(ctx, told.seat_id)
    event_type, correlation = None, ""
    if told.event_id is not None:
        try:
            event = ctx.spool.outgoing.get(told.event_id)
            event_type, correlation = event.event_type, event.event.get("id", "")
            if told.code in NOTICE_EFFECT and _before_its_receipt(ctx, told):
                # A notice speaks of what a receipt released. That one was given to us before we died, say, and comes
                # again; this is not acknowledged until then, and comes again as well.
                # INVARIANT: test_a_notice_waits_for_the_receipt_it_speaks_of
                return
            _notice_effect(ctx, told)
        except HandslagError as error:
            if error.code != "HS-EVENT-UNKNOWN":
                raise
            event_type = statute_book.event_of(ctx, told.event_id)
    if told.code in {"annul_acknowledged", "annul_kept"}:
        ctx.spool.annulled.answered(seat.sid)
    if told.code == "recipient_changed" and told.member is not None and told.role is not None:
        ctx.identities.changed(seat.ref, told.role, told.member, ctx.members(seat).lead)
    if told.code == "case_void":
        incidents.heard(ctx, item.item_id, seat, told.detail or "")
    ctx.spool.memory.want_proof(told.leaf_hash, "notice", ctx.now(), seat.sid)
    ctx.spool.incoming.put(item.item_id.hex(), "receipts", reports.notice(seat, told, event_type, correlation))
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _before_its_receipt(ctx: Context, told: Notice) -> bool:
    return (
        told.event_id is not None
        and told.attempt is not None
        and not ctx.spool.outgoing.has_receipt(told.event_id, told.attempt)
    )


def _notice_effect(ctx: Context, told: Notice) -> None:
    effect = NOTICE_EFFECT.get(told.code)
    if effect is None or told.event_id is None:
        return
    for row in ctx.spool.outgoing.sections(told.event_id):
        named = row.role == told.role and (not told.categories or row.category in told.categories)
        if named and row.state is SectionState.LIVE and told.attempt in {None, row.attempt}:
            ctx.spool.outgoing.set_section(told.event_id, row.role, row.category, effect)
    sending.settle(ctx, told.event_id)
