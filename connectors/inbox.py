"""The way in: fetch, check, store, give once, acknowledge.

Statements and recalls of an answer are worked off before its deliveries: a key must be known before what it signed,
and what is recalled is not opened first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from connectors import cases, inviting, ledgers, opening, reports, sending
from connectors.context import Context
from connectors.fields import to_json
from connectors.identity import Seat
from connectors.opening import Keyring, OpenedEvent
from connectors.waiting import NOTICE_EFFECT, OutgoingState, SectionState
from schemas import limits
from schemas.acts import ConsentAct
from schemas.calls import AckAnswer, AckRequest, FetchAnswer, FetchRequest
from schemas.checks import sha256
from schemas.codes import SeatState
from schemas.envelope import Delivery
from schemas.errors import HandslagError, registry
from schemas.identifiers import ZERO16, shown
from schemas.inbox import (
    InboxItem,
    InvitationDelivery,
    LedgerNotice,
    Notice,
    Recall,
    Receipt,
    StatementNotice,
)
from schemas.statements import Acceptance, MemberStatement, SignedStatement

_ORDER = {"STATEMENT": 0, "RECALL": 1, "LEDGER": 2, "RECEIPT": 3, "NOTICE": 4, "INVITATION": 5, "DELIVERY": 6}
_BODY = limits.SUBMISSION + 64 * 1024
# Faults of this machine or of the moment: the item stays with the broker and comes again.
_OWN_FAULTS = frozenset({"HS-SPOOL-FAILED", "HS-SPOOL-UNREADABLE", "HS-NOT-READY", "HS-TRAIL-ROLLBACK"})


async def poll(ctx: Context) -> int:
    """One fetch: take, work off, compare heads; returns the number of items. Raises HandslagError of the call."""
    ctx.witness.check_running()
    before = {seat.sid: ctx.spool.memory.head(seat.sid) for seat in ctx.identities.all() if seat.seat_id is not None}
    answer = await ctx.link.call("/v1/inbox:fetch", FetchRequest(limit=limits.INBOX_ITEMS), FetchAnswer)
    await ledgers.compare(ctx, answer.heads, before)
    take_all(ctx, answer.items)
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
    try:
        with ctx.spool.savepoint():
            _take(ctx, item)
    except HandslagError as error:
        if error.code == "HS-TRAIL-ROLLBACK":
            # What met it is undone; the stop is not.
            ctx.witness.halt(error.code, item.body, ctx.now())
        if error.code in _OWN_FAULTS:
            raise
        _reject(ctx, item, error)


def _take(ctx: Context, item: InboxItem) -> None:
    match item.kind:
        case "DELIVERY":
            _delivery(ctx, Delivery.from_bytes(item.body, _BODY))
        case "INVITATION":
            _invitation(ctx, item, InvitationDelivery.from_bytes(item.body, _BODY))
        case "RECEIPT":
            _receipt(ctx, item, Receipt.from_bytes(item.body, _BODY))
        case "RECALL":
            _recall(ctx, item, Recall.from_bytes(item.body, _BODY))
        case "LEDGER":
            _ledger(ctx, item, LedgerNotice.from_bytes(item.body, _BODY))
        case "STATEMENT":
            _statement(ctx, item, StatementNotice.from_bytes(item.body, _BODY))
        case "NOTICE":
            _notice(ctx, item, Notice.from_bytes(item.body, _BODY))
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


def _seat(ctx: Context, seat_id: bytes) -> Seat:
    found = ctx.identities.by_seat_id(seat_id)
    if found is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return found


def _delivery(ctx: Context, delivery: Delivery) -> None:
    known = ctx.spool.incoming.known(delivery.delivery_id)
    if known in {"STORED", "GIVEN"}:
        # Handed over again because our acknowledgement was lost: the hand number is new, the content is not.
        ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "ACK")
        return
    if known is not None:
        code = "HS-RECALLED-UNREAD" if known == "RECALLED" else "HS-SEAL-INVALID"
        ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "REJECT", code)
        return
    seat = _seat(ctx, delivery.seat_id)
    opened = _opened(ctx, seat, delivery)
    held = ctx.spool.incoming.held_digests(opened.core.event_id, delivery.delivery_id)
    fresh = {section.digest for section in opened.sections} - held
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
    if not fresh:
        # Every section was given before (or recalled): acknowledged, and nothing written twice.
        item = ctx.spool.incoming.waits_for_adapter(delivery.delivery_id)
        assert item is not None
        ctx.spool.incoming.written(item)
    ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "ACK")
    ctx.spool.memory.want_proof(delivery.leaf_hash, "delivery", ctx.now(), seat.sid)
    if opened.core.event_type == "seat_introduced":
        ctx.identities.introduced(seat, opened.sender.role)


def _opened(ctx: Context, seat: Seat, delivery: Delivery) -> OpenedEvent:
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    keys = seat.keys
    core = opening.core_of(delivery)
    return opening.open_delivery(
        delivery,
        keyring=Keyring(seat_id=seat.sid, role=seat.role, case_tag=seat.case_tag, keys={keys.key_id: keys}),
        members=ctx.members(seat),
        may_send=ctx.may_send(seat.role),
        now_us=ctx.now(),
        remembered=ctx.spool.incoming.remembered(core.event_id),
    )


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


def _receipt(ctx: Context, item: InboxItem, told: Receipt) -> None:
    seat = _seat(ctx, told.seat_id)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")
    try:
        event = ctx.spool.outgoing.get(told.event_id)
    except HandslagError:
        return  # an invitation's receipt came with its own answer
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


def _notice(ctx: Context, item: InboxItem, told: Notice) -> None:
    seat = _seat(ctx, told.seat_id)
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


def _ledger(ctx: Context, item: InboxItem, told: LedgerNotice) -> None:
    seat = _seat(ctx, told.seat_id)
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
    seat = _seat(ctx, told.seat_id)
    for signed in told.statements:
        seat = _member(ctx, seat, signed)
    if told.acceptance is not None:
        cases.queue_join(ctx, seat, told.acceptance, told.unit_signature or b"", told.hpke_key or b"")
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _member(ctx: Context, seat: Seat, signed: SignedStatement) -> Seat:
    """Keep a statement; this unit's own JOIN makes its seat active when it says exactly what was accepted."""
    statement = MemberStatement.from_bytes(signed.statement)
    if statement.kind == "JOIN" and statement.member == seat.member and seat.state == SeatState.ACCEPTED:
        inviting.own_join(ctx.members(seat), signed, Acceptance.from_bytes(seat.acceptance))
        cases.add_statement(ctx, seat, signed)
        value = {"kind": "seat", "ref": seat.ref, "role": seat.role, "state": SeatState.ACTIVE.value}
        ctx.spool.incoming.put(sha256(signed.statement)[:16].hex(), "receipts", value)
        return ctx.identities.update(replace(seat, state=SeatState.ACTIVE))
    cases.add_statement(ctx, seat, signed)
    if statement.kind == "REMOVE" and statement.member == seat.member and seat.active:
        return ctx.identities.update(replace(seat, state=SeatState.CLOSED))
    return seat


def _recall(ctx: Context, item: InboxItem, told: Recall) -> None:
    """Drop what the agency's system was not given yet, and say so; of the rest it is told by a recall file."""
    # INVARIANT: test_a_recalled_section_not_yet_given_is_dropped
    seat = _seat(ctx, told.seat_id)
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
            "given": bool(given),
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
    ctx.spool.incoming.want_ack(delivery.delivery_id, delivery.hand_number, "REJECT", "HS-RECALLED-UNREAD")


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
