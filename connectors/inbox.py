"""The way in: fetch, check, store, give once, acknowledge.

Statements and recalls of an answer are worked off before its deliveries: a key must be known before what it signed,
and what is recalled is not opened first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from connectors import (
    annulling,
    cases,
    hold,
    inviting,
    ledgers,
    opening,
    outcomes,
    recalls,
    rekeying,
    reports,
    returning,
    succession,
    transfers,
    vouching,
)
from connectors.context import Context
from connectors.fields import to_json
from connectors.identity import Seat
from connectors.opening import Keyring, OpenedEvent
from schemas import limits
from schemas.acts import ConsentAct
from schemas.calls import AckAnswer, AckRequest, FetchRequest
from schemas.checks import sha256
from schemas.codes import SeatState
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, shown
from schemas.inbox import (
    ConsentEnded,
    InboxItem,
    InvitationDelivery,
    LedgerNotice,
    Notice,
    PassNotice,
    Recall,
    Receipt,
    StatementNotice,
)
from schemas.placement import check_placement
from schemas.rekey import RekeyNotice
from schemas.said import AnnulNotice
from schemas.statements import Acceptance, MemberStatement, SignedStatement
from schemas.views import check_view

_KINDS = (
    "STATEMENT", "SUCCESSION", "RECALL", "ENDED", "LEDGER", "RECEIPT", "NOTICE", "INVITATION", "DELIVERY",
    "ANNULMENT", "REKEY",
)  # fmt: skip
_ORDER = {kind: place for place, kind in enumerate(_KINDS)}
_AT_ONCE_US, _PAUSE_S = 200_000, 1.0  # an empty answer so soon is followed by a pause, or asking would be a flood
_BODY = limits.SUBMISSION + 64 * 1024
# Faults of this machine or of the moment: the item stays with the broker and comes again.
_NOT_HEARD_OF = frozenset({"seat-key", "unconfirmed"})  # of a sender's key: its statement, or the word for it
_OWN_FAULTS = frozenset({"HS-SPOOL-FAILED", "HS-SPOOL-UNREADABLE", "HS-NOT-READY", "HS-TRAIL-ROLLBACK"})


async def poll(ctx: Context, wait_s: float | None = None) -> int:
    """One fetch: take, work off, compare heads; returns the number of items. Raises HandslagError of the call.

    The broker answers when something comes, or after `wait_s` seconds; None is the setting.
    """
    wait_s = ctx.settings.wait_s if wait_s is None else wait_s
    ctx.witness.check_running()
    hold.require_given(ctx)
    await rekeying.look(ctx, None)
    before = {seat.sid: ctx.spool.memory.head(seat.sid) for seat in ctx.identities.all() if seat.seat_id is not None}
    request = FetchRequest(limit=limits.INBOX_ITEMS, wait_ms=int(wait_s * 1000) or None, without=rekeying.without(ctx))
    asked, ctx.deferred = ctx.now(), 0
    async with ctx.link.until_leaving() if wait_s else nullcontext():
        answer = await returning.fetch(ctx, request)
    await rekeying.look(ctx, answer.heads)
    await ledgers.compare(ctx, answer.heads, before)
    ledgers.confirmed(ctx)
    take_all(ctx, answer.items)
    if not ctx.deferred and all(item.kind != "DELIVERY" for item in answer.items):
        ctx.drained_us = asked
    if wait_s and not answer.items and ctx.now() - asked < _AT_ONCE_US:
        await asyncio.sleep(_PAUSE_S)  # perhaps the broker lets nobody wait just now
    return len(answer.items)


def take_all(ctx: Context, items: Iterable[InboxItem]) -> None:
    """Work off the items of one answer in their order and make them durable together.

    Raises a fault of this machine or of the moment; what came before it is kept, the rest comes again.
    """
    fault = None
    with ctx.spool.transaction():
        for item in sorted(items, key=lambda each: _ORDER.get(each.kind, len(_ORDER))):
            try:
                take(ctx, item)
            except HandslagError as error:
                fault = error
                break
    if fault is not None:
        raise fault


def take(ctx: Context, item: InboxItem) -> None:
    """Work one item off, whole or not at all, whatever its kind; what cannot be used is rejected with a code."""
    if rekeying.waits(ctx, item):
        ctx.deferred += 1
        return
    try:
        with ctx.spool.savepoint():
            _take(ctx, item)
    except HandslagError as error:
        if error.code == "HS-TRAIL-ROLLBACK":
            # What met it is undone; the stop is not.
            ctx.witness.halt(error.code, item.body, ctx.now())
        if error.code in _OWN_FAULTS:
            raise
        if _too_early(item, error):
            ctx.deferred += 1
            return
        _reject(ctx, item, error)


def _too_early(item: InboxItem, error: HandslagError) -> bool:
    """Whether the word for a sender's key may be on its way still, with a process that died: it is there next time."""
    # INVARIANT: test_a_delivery_that_comes_before_its_senders_key_is_left_for_the_next_time
    unheard = item.kind == "DELIVERY" and error.context.get("check") in _NOT_HEARD_OF
    return unheard and Delivery.from_bytes(item.body, _BODY).hand_number <= 1


def _take(ctx: Context, item: InboxItem) -> None:
    match item.kind:
        case "DELIVERY":
            _delivery(ctx, Delivery.from_bytes(item.body, _BODY))
        case "INVITATION":
            _invitation(ctx, item, InvitationDelivery.from_bytes(item.body, _BODY))
        case "RECEIPT":
            outcomes.receipt(ctx, item, Receipt.from_bytes(item.body, _BODY))
        case "RECALL":
            _recall(ctx, item, Recall.from_bytes(item.body, _BODY))
        case "ENDED":
            recalls.ended(ctx, item, ConsentEnded.from_bytes(item.body, _BODY))
        case "LEDGER":
            _ledger(ctx, item, LedgerNotice.from_bytes(item.body, _BODY))
        case "STATEMENT":
            _statement(ctx, item, StatementNotice.from_bytes(item.body, _BODY))
        case "NOTICE":
            outcomes.notice(ctx, item, Notice.from_bytes(item.body, _BODY))
        case "ANNULMENT":
            annulling.take(ctx, item, ctx.identities.by_seat_id(AnnulNotice.from_bytes(item.body, _BODY).seat_id))
        case _:
            _take_of_members(ctx, item)


def _take_of_members(ctx: Context, item: InboxItem) -> None:
    """What concerns who holds which seat of a case, beside the statements themselves."""
    match item.kind:
        case "REKEY":
            asked = RekeyNotice.from_bytes(item.body, _BODY)
            vouching.take(ctx, item, outcomes.seat_of(ctx, asked.seat_id), asked)
        case "SUCCESSION":
            passed = PassNotice.from_bytes(item.body, _BODY)
            succession.take(ctx, outcomes.seat_of(ctx, passed.seat_id), passed)
            ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")
        case _:
            raise HandslagError("HS-NOT-YET", field="kind")


def _reject(ctx: Context, item: InboxItem, error: HandslagError) -> None:
    """Tell the sender by a code, and the agency's own people by a file; nothing of the item is used."""
    with ctx.spool.transaction():
        hand = 0
        if item.kind == "DELIVERY":
            hand = Delivery.from_bytes(item.body, _BODY).hand_number if _decodes(item) else 0
            ctx.spool.incoming.reject(item.item_id, ZERO16, ZERO16, ctx.now())
        elif item.kind == "INVITATION" and _decodes(item):
            hand = InvitationDelivery.from_bytes(item.body, _BODY).delivery.hand_number
        ctx.spool.incoming.want_ack(item.item_id, hand, "REJECT", error.code)
        value = {"kind": "rejected", "item": item.kind, "item_id": shown(item.item_id), **reports.error_value(error)}
        ctx.spool.incoming.put(f"rejected-{item.item_id.hex()}", "receipts", value)


def _decodes(item: InboxItem) -> bool:
    try:
        if item.kind == "DELIVERY":
            Delivery.from_bytes(item.body, _BODY)
        else:
            InvitationDelivery.from_bytes(item.body, _BODY)
    except HandslagError:
        return False
    return True


def _delivery(ctx: Context, delivery: Delivery) -> None:
    known = ctx.spool.incoming.known(delivery.delivery_id)
    if known in {"STORED", "GIVEN"}:
        # Handed over again because our acknowledgement was lost: the hand number is new, the content is not.
        ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "ACK")
        return
    if known is not None:
        code = recalls.UNREAD if known == "RECALLED" else "HS-SEAL-INVALID"
        ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "REJECT", code)
        return
    seat = outcomes.seat_of(ctx, delivery.seat_id)
    opened = _opened(ctx, seat, delivery)
    held = ctx.spool.incoming.held_digests(opened.core.event_id, delivery.delivery_id)
    fresh = {section.digest for section in opened.sections} - held
    if not fresh and recalls.came_too_late(ctx, opened, delivery):
        return
    recalls.tell_usable_again(ctx, seat, opened, delivery)
    ctx.spool.incoming.store_delivery(
        delivery.delivery_id,
        delivery.seat_id,
        opened.core.event_id,
        opened.remembered,
        fresh,
        delivery.to_bytes(),
        ctx.now(),
    )
    value = reports.delivery(seat, delivery.delivery_id, opened, fresh, delivery)
    ctx.spool.incoming.put(delivery.delivery_id.hex(), "out", value, delivery.delivery_id)
    if returning.perhaps_given(ctx, seat, delivery, opened.core):
        returning.hold(ctx, delivery, value)
    if not fresh:
        # Every section was given before (or recalled): acknowledged, and nothing written twice.
        item = ctx.spool.incoming.waits_for_adapter(delivery.delivery_id)
        if item is not None:
            ctx.spool.incoming.written(item)
    ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "ACK")
    ctx.spool.memory.want_proof(delivery.leaf_hash, "delivery", ctx.now(), seat.sid)
    transfers.received(ctx, seat, opened)
    if opened.core.event_type == "seat_introduced":
        ctx.identities.introduced(seat, opened.sender.role)


def _opened(ctx: Context, seat: Seat, delivery: Delivery) -> OpenedEvent:
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    core = opening.core_of(delivery)
    opened = opening.open_delivery(
        delivery,
        keyring=Keyring(seat_id=seat.sid, role=seat.role, case_tag=seat.case_tag, keys=seat.keyring),
        members=ctx.members(seat),
        may_send=ctx.may_send(seat.role),
        now_us=ctx.now(),
        remembered=ctx.spool.incoming.remembered(core.event_id),
    )
    check_view(opened.core.event_type, opened.merged, [seat.role])
    check_placement(opened.core.event_type, opened.merged)
    return opened


def _invitation(ctx: Context, item: InboxItem, told: InvitationDelivery) -> None:
    opened = cases.opened_invitation(ctx, told)
    invitation_id = opened.invitation.invitation_id
    if ctx.spool.memory.invitation(invitation_id) is None:
        ctx.spool.memory.add_invitation(invitation_id, {"item": told.to_bytes().hex()}, "OFFERED")
        ctx.spool.memory.want_proof(told.delivery.leaf_hash, "invitation", ctx.now())
        data = {name: value for name, value in opened.event.merged.items() if name != "lead_statements"}
        value = {
            "kind": "invitation",
            "invitation": shown(invitation_id),
            "role": opened.invitation.role,
            "from_unit": opened.invitation.inviter_unit,
            "data": to_json(data),
        }
        ctx.spool.incoming.put(invitation_id.hex(), "out", value)
        if ctx.settings.accept == "automatic":
            ref = f"HS-{invitation_id.hex()[:12]}"
            command = {"do": "accept", "id": "", "ref": ref, "invitation": shown(invitation_id)}
            handle = ctx.identities.handle(ref)
            ctx.spool.commands.accept(ctx.random(16), handle, "accept", command, narrowing=False)
    ctx.spool.incoming.want_ack(item.item_id, told.delivery.hand_number, "ACK")


def _ledger(ctx: Context, item: InboxItem, told: LedgerNotice) -> None:
    seat = outcomes.seat_of(ctx, told.seat_id)
    seq, _head = ctx.spool.memory.head(seat.sid)
    if told.event.ledger_seq <= seq + 1:
        ledgers.take(ctx, seat, [told.event])
    value: dict[str, Any] = {
        "kind": "ledger",
        "ref": seat.ref,
        "ledger_seq": told.event.ledger_seq,
        "act": ConsentAct.from_bytes(told.event.act).act,
        "counts": reports.counts(told.counts),
    }
    ctx.spool.incoming.put(item.item_id.hex(), "receipts", value)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _statement(ctx: Context, item: InboxItem, told: StatementNotice) -> None:
    seat = outcomes.seat_of(ctx, told.seat_id)
    left, before = list(told.statements), -1
    while left and len(left) != before:  # each may rest on another of them, in whatever order they come
        before, again = len(left), []
        for signed in left:
            try:
                seat = _member(ctx, seat, signed)
            except HandslagError as error:
                again.append(signed)
                fault = error
        left = again
    if left:
        raise fault
    if told.acceptance is not None:
        succession.accepted(ctx, seat, told.acceptance, told.unit_signature or b"", told.hpke_key or b"")
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _member(ctx: Context, seat: Seat, signed: SignedStatement) -> Seat:
    """Keep a statement; this unit's own JOIN makes its seat active when it says exactly what was accepted."""
    statement = MemberStatement.from_bytes(signed.statement)
    own = statement.member == seat.member and seat.state == SeatState.ACCEPTED and not seat.key_floor
    if statement.kind == "JOIN" and own:
        inviting.own_join(ctx.members(seat), signed, Acceptance.from_bytes(seat.acceptance))
        cases.add_statement(ctx, seat, signed)
        value = {"kind": "seat", "ref": seat.ref, "role": seat.role, "state": SeatState.ACTIVE.value}
        ctx.spool.incoming.put(sha256(signed.statement)[:16].hex(), "receipts", value)
        return ctx.identities.update(replace(seat, state=SeatState.ACTIVE))
    cases.add_statement(ctx, seat, signed)
    if statement.kind == "REMOVE" and statement.member == seat.chain_id and seat.active:
        return ctx.identities.update(replace(seat, state=SeatState.CLOSED))
    return succession.took_over(ctx, ctx.identities.get(seat.ref))


def _recall(ctx: Context, item: InboxItem, told: Recall) -> None:
    """Drop what the agency's system was not given yet, and say so; of the rest it is told by a recall file."""
    # INVARIANT: test_a_recalled_section_not_yet_given_is_dropped
    seat = outcomes.seat_of(ctx, told.seat_id)
    waits = ctx.spool.incoming.waits_for_adapter(told.delivery_id)
    evidence = ctx.spool.incoming.evidence(told.delivery_id)
    given = ctx.spool.incoming.recalled(told.event_id, told.delivery_id, told.digests)
    if waits is not None and evidence is not None:
        _shrink(ctx, seat, told, waits, Delivery.from_bytes(evidence, _BODY))
    if given or waits is None:
        value = {
            "kind": "recall",
            "ref": seat.ref,
            "event_id": shown(told.event_id),
            "delivery_id": shown(told.delivery_id),
            # What a lost connector gave, nobody here knows: the agency's system looks for itself.
            "given": bool(given) or (waits is None and evidence is None and returning.was_lost(ctx, seat)),
            "reason": reports.words("reason", told.code),
        }
        ctx.spool.incoming.put(f"recall-{item.item_id.hex()}", "out", value)
    ctx.spool.memory.want_proof(told.leaf_hash, "recall", ctx.now(), seat.sid)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _shrink(ctx: Context, seat: Seat, told: Recall, waits: Any, delivery: Delivery) -> None:
    opened = _opened(ctx, seat, delivery)
    queued = set(waits.value["categories"])
    left = {
        section.digest
        for section in opened.sections
        if section.category in queued and section.digest not in told.digests
    }
    if left:
        ctx.spool.incoming.replace(waits, reports.delivery(seat, delivery.delivery_id, opened, left, delivery))
        return
    ctx.spool.incoming.replace(waits, None)
    ctx.spool.incoming.drop(delivery.delivery_id)
    ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "REJECT", recalls.UNREAD)


async def send_acks(ctx: Context) -> int:
    """Acknowledge what the agency's system has been given; returns how many answers came.

    One call; when it was full there may be more.
    """
    ctx.witness.check_running()
    acks = ctx.spool.incoming.acks(limits.INBOX_ITEMS)
    if not acks:
        return 0
    answer = await ctx.link.call("/v1/inbox:ack", AckRequest(acks=tuple(acks)), AckAnswer, tries=2)
    results = {result.item_id: result for result in answer.results}
    with ctx.spool.transaction():
        for ack in acks:
            result = results.get(ack.item_id)
            if result is None:
                continue
            # A refused acknowledgement is over as well: the item was recalled or taken back, and comes again if not.
            ctx.spool.incoming.acked(ack)
            seat_id = ctx.spool.incoming.seat_of(ack.item_id)
            ctx.spool.memory.want_proof(result.leaf_hash, "ack", ctx.now(), seat_id)
    return len(results)
