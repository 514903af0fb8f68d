"""Sections that were recalled and come again: too late, or consented to anew; and the end of what was received."""

from __future__ import annotations

from connectors import outcomes, reports
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.opening import OpenedEvent
from schemas import limits
from schemas.envelope import Delivery
from schemas.identifiers import shown
from schemas.inbox import ConsentEnded, InboxItem

UNREAD = "HS-RECALLED-UNREAD"
_BODY = limits.SUBMISSION + 64 * 1024


def came_too_late(ctx: Context, opened: OpenedEvent, delivery: Delivery) -> bool:
    """Reject a delivery all of which was recalled before it came, and of which nobody was ever given anything.

    Returns whether it was such a one. An acknowledgement would tell the sender that its recipient has what it has not.
    """
    # INVARIANT: test_a_late_copy_of_a_recalled_delivery_is_not_acknowledged
    incoming, event_id = ctx.spool.incoming, opened.core.event_id
    if not incoming.never_given(event_id, (section.digest for section in opened.sections)):
        return False
    incoming.reject(delivery.delivery_id, delivery.seat_id, event_id, ctx.now())
    incoming.want_ack(delivery.delivery_id, delivery.hand_number, "REJECT", UNREAD)
    return True


def tell_usable_again(ctx: Context, seat: Seat, opened: OpenedEvent, delivery: Delivery) -> None:
    """Tell the agency's system, which is given each section once, what of the recalled it may use again.

    In the transaction that stores the delivery; nothing when it brings nothing that was recalled.
    """
    # INVARIANT: test_what_was_recalled_and_consented_to_again_may_be_used_again
    again = _lifted(ctx, opened, delivery)
    if not again:
        return
    value = {
        "kind": "recall_lifted",
        "ref": seat.ref,
        "event_id": shown(opened.core.event_id),
        "event_type": opened.core.event_type,
        "delivery_id": shown(delivery.delivery_id),
        "categories": sorted(section.category for section in opened.sections if section.digest in again),
        "entry_id": shown(delivery.entry_id),
    }
    ctx.spool.incoming.put(f"again-{delivery.delivery_id.hex()}", "out", value)
    ctx.spool.incoming.usable_again(opened.core.event_id, delivery.delivery_id, again)


def ended(ctx: Context, item: InboxItem, told: ConsentEnded) -> None:
    """Tell the agency's system that what it was given no longer rests on a consent in force, and say that it was told.

    What it may keep of it is for its own rules to say and for the duties that came with the delivery: nothing is
    dropped here. Raises `HS-SEAT-UNKNOWN`.
    """
    # INVARIANT: test_a_withdrawal_from_the_question_to_the_last_acknowledgement
    seat = outcomes.seat_of(ctx, told.seat_id)
    value = {
        "kind": "consent_ended",
        "ref": seat.ref,
        "event_id": shown(told.event_id),
        "delivery_id": shown(told.delivery_id),
        "from_role": told.role,
        "categories": list(told.categories),
        "reason": reports.words("reason", told.code),
        "at": shown_moment(told.at_us),
        "entry_id": shown(told.entry_id),
    }
    ctx.spool.incoming.put(f"ended-{item.item_id.hex()}", "out", value)
    ctx.spool.memory.want_proof(told.leaf_hash, "ended", ctx.now(), seat.sid)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _lifted(ctx: Context, opened: OpenedEvent, delivery: Delivery) -> frozenset[bytes]:
    """Digests of sections that the agency's system has, was told not to use, and that were now sealed to it anew.

    The same wrap under another name is a copy of what was recalled and lifts nothing: only the sender can seal its `W`
    again, so that a broker by itself cannot.
    """
    # INVARIANT: test_a_copy_of_a_recalled_delivery_lifts_no_recall
    recalled = ctx.spool.incoming.recalled_of(opened.core.event_id)
    brought = {section.digest: recalled[section.digest] for section in opened.sections if section.digest in recalled}
    return frozenset(digest for digest, earlier in brought.items() if _sealed_anew(ctx, delivery, earlier))


def _sealed_anew(ctx: Context, delivery: Delivery, earlier_id: bytes) -> bool:
    evidence = ctx.spool.incoming.evidence(earlier_id)
    return evidence is not None and Delivery.from_bytes(evidence, _BODY).enc != delivery.enc
