"""Acknowledgements and rejections: the last word of the recipient about a delivery, and that it knows of its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audit.entry import SealedEntry
from broker.context import Context
from broker.pace import paced
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item, Leased
from broker.store.port import Rows
from broker.store.ready import Ready
from schemas import limits
from schemas.calls import Ack, AckAnswer, AckRequest, AckResult
from schemas.codes import DELIVERY_TRANSITIONS, DeliveryState, SeatState
from schemas.errors import HandslagError, registry
from schemas.identifiers import ZERO16
from schemas.inbox import ConsentEnded, Notice, Recall
from schemas.trail import DecidedSection, Payload

_Found = tuple[dict[bytes, DeliveryRow], dict[bytes, list[SectionRow]], dict[bytes, SeatRow]]
_TOLD: Mapping[str, type[Recall | ConsentEnded]] = {"RECALL": Recall, "ENDED": ConsentEnded}
KNOWN = "HS-END-KNOWN"
"""In the trail: the recipient's connector knows that what it was handed rests on no consent any more."""
_RETRIES = 5  # a withdrawal or a second hand-over may change a row between reading and writing; each makes progress
_VERDICTS = {"ACK": DeliveryState.ACKED, "REJECT": DeliveryState.REJECTED}


class RowMoved(Exception):  # noqa: N818 - an answer, not a fault: read the rows again
    """A delivery changed between reading and writing."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one ack does: the row as read, its new state, both entries, the sender's notice."""

    row: DeliveryRow
    state: DeliveryState
    ours: Ready[SealedEntry]
    theirs: Ready[SealedEntry]
    notice: Ready[Item]


@dataclass(frozen=True, slots=True)
class _Heard:
    """A recipient's connector has taken the word that something it was handed rests on no consent any more."""

    item_id: bytes
    ours: Ready[SealedEntry]
    theirs: Ready[SealedEntry]
    notice: Ready[Item] | None


async def ack(context: Context, unit: str, request: AckRequest) -> AckAnswer:
    """Answer `POST /v1/inbox:ack`. Repeating an ack gets the same answer; acknowledged content is deleted."""
    if len(request.acks) > limits.INBOX_ITEMS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.INBOX_ITEMS)
    if any(one.verdict not in _VERDICTS or (one.code and one.code not in registry()) for one in request.acks):
        raise HandslagError("HS-CODE-UNKNOWN", field="verdict")
    for _ in range(_RETRIES):
        try:
            return await _once(context, unit, request.acks)
        except RowMoved:
            continue
    raise HandslagError("HS-NOT-RECORDED")


async def _once(context: Context, unit: str, acks: Sequence[Ack]) -> AckAnswer:
    ids = [one.item_id for one in acks]
    at_us = context.now_us()

    (found, sections, seats), told = await context.store.read(lambda rows: _seen(rows, unit, acks))
    known = await _heard(context, told, at_us)
    plans = {
        one.item_id: _plan(context, one, found[one.item_id], sections[one.item_id], seats, at_us)
        async for one in paced(reversed(acks))  # of two words about one delivery the first counts
        if one.item_id in found and _may(found[one.item_id], _VERDICTS[one.verdict])
    }

    def work(rows: Rows) -> set[bytes]:
        now = rows.deliveries.versions(plans)
        if any(now[delivery_id] != plan.row.row_version for delivery_id, plan in plans.items()):
            raise RowMoved
        rows.deliveries.end(
            [(p.row, p.state, p.theirs.row.entry_id, p.theirs.row.leaf_hash) for _id, p in sorted(plans.items())]
        )
        rows.entries.insert([entry for plan in plans.values() for entry in (plan.ours, plan.theirs)])
        rows.inbox.put([plan.notice for plan in plans.values()])
        gone = rows.inbox.remove(unit, [i for i in ids if i not in found])
        knows = [one for one in known if one.item_id in gone]
        rows.entries.insert([entry for one in knows for entry in (one.ours, one.theirs)])
        rows.inbox.put([one.notice for one in knows if one.notice is not None])
        return gone

    removed = await context.store.write(work, shared=True)
    for plan in plans.values():
        context.metrics.acknowledged(
            rejected=plan.state is DeliveryState.REJECTED, probe=context.directory.is_probe(unit)
        )
    return AckAnswer(results=tuple(_result(one, plans, found, removed) for one in acks))


def _seen(rows: Rows, unit: str, acks: Sequence[Ack]) -> tuple[_Found, list[Leased]]:
    """The deliveries among what is acknowledged, and the words that something ended which are taken."""
    ids = [one.item_id for one in acks]
    found = {key: row for key, row in rows.deliveries.get(ids).items() if row.recipient_unit == unit}
    seats = {row.sender_seat for row in found.values()} | {
        row.recipient_seat for row in found.values() if row.recipient_seat
    }
    words = [one.item_id for one in acks if one.verdict == "ACK" and one.item_id not in found]
    told = rows.inbox.of_kinds(unit, words, _TOLD)
    return (found, rows.deliveries.sections(found), rows.cases.seats(seats)), told


async def _heard(context: Context, told: Sequence[Leased], at_us: int) -> list[_Heard]:
    """What is recorded when these recalls and ends of consents are acknowledged; nothing else waits for them."""
    # INVARIANT: test_each_recipients_acknowledgement_reaches_the_discloser_once
    if not told:
        return []
    items = [context.store.sealing.opened(one) for one in told]
    words = {one.item_id: _TOLD[one.kind].from_bytes(one.body, limits.CALL).delivery_id for one in items}

    def look(rows: Rows) -> tuple[dict[bytes, DeliveryRow], dict[bytes, SeatRow]]:
        found = {
            key: replace(row, recipient_seat=recipient_seat(rows, row))
            for key, row in rows.deliveries.get(words.values()).items()
        }
        return found, rows.cases.seats(
            {row.sender_seat for row in found.values()}
            | {row.recipient_seat for row in found.values() if row.recipient_seat}
        )

    found, seats = await context.store.read(look)
    return [
        _knows(context, item_id, found[delivery_id], seats, at_us)
        for item_id, delivery_id in words.items()
        if delivery_id in found and found[delivery_id].sender_seat in seats
    ]


def _knows(context: Context, item_id: bytes, row: DeliveryRow, seats: dict[bytes, SeatRow], at_us: int) -> _Heard:
    ours, theirs = outcome_entries(context, row, (), seats, at_us, KNOWN)
    notice = Notice(
        seat_id=row.sender_seat,
        code="end_acknowledged",
        event_id=row.event_id,
        role=row.role,
        categories=(),
        at_us=at_us,
        entry_id=ours.entry_id,
        leaf_hash=ours.leaf_hash,
    )
    by = context.store.sealing
    item = by.item(Item(context.new_id(), row.sender_unit, "NOTICE", notice.to_bytes()))
    # INVARIANT: test_who_left_is_told_nothing_of_what_came_after
    left = seats[row.sender_seat].state == SeatState.CLOSED
    return _Heard(item_id, by.entry(ours), by.entry(theirs), None if left else item)


def _may(row: DeliveryRow, to: DeliveryState) -> bool:
    return to in DELIVERY_TRANSITIONS[DeliveryState(row.state)]


def _result(one: Ack, plans: dict[bytes, _Plan], found: dict[bytes, DeliveryRow], removed: set[bytes]) -> AckResult:
    plan, row = plans.get(one.item_id), found.get(one.item_id)
    if plan is not None and plan.state is _VERDICTS[one.verdict]:
        return AckResult(item_id=one.item_id, entry_id=plan.theirs.row.entry_id, leaf_hash=plan.theirs.row.leaf_hash)
    if plan is None and row is not None and _VERDICTS[one.verdict] == row.state:
        return AckResult(item_id=one.item_id, entry_id=row.ack_entry, leaf_hash=row.ack_leaf)
    if row is not None:
        return AckResult(item_id=one.item_id, code="HS-STATE-INVALID")
    # an item acknowledged before is gone: saying so again does no harm and tells nothing
    return AckResult(item_id=one.item_id, code=None if one.item_id in removed else "HS-ITEM-GONE")


def _plan(
    context: Context,
    one: Ack,
    row: DeliveryRow,
    sections: Sequence[SectionRow],
    seats: dict[bytes, SeatRow],
    at_us: int,
) -> _Plan:
    ours, theirs = outcome_entries(context, row, sections, seats, at_us, one.code)
    notice = Notice(
        seat_id=row.sender_seat,
        code="delivery_acknowledged" if one.verdict == "ACK" else "delivery_rejected",
        event_id=row.event_id,
        attempt=row.attempt,
        role=row.role,
        categories=tuple(sorted(section.category for section in sections)),
        detail=one.code,
        at_us=at_us,
        entry_id=ours.entry_id,
        leaf_hash=ours.leaf_hash,
    )
    item = Item(context.new_id(), row.sender_unit, "NOTICE", notice.to_bytes())
    by = context.store.sealing
    return _Plan(row, _VERDICTS[one.verdict], by.entry(ours), by.entry(theirs), by.item(item))


def recipient_seat(rows: Rows, row: DeliveryRow) -> bytes:
    """The recipient's seat; of an invitation the seat that it led to, zeros where it led to none."""
    if row.recipient_seat is not None:
        return row.recipient_seat
    invitation = None if row.invitation_id is None else rows.cases.invitation(row.invitation_id)
    return invitation.seat_id if invitation is not None and invitation.seat_id is not None else ZERO16


def outcome_entries(
    context: Context,
    row: DeliveryRow,
    sections: Sequence[SectionRow],
    seats: dict[bytes, SeatRow],
    at_us: int,
    code: str | None,
    ledger_seq: int | None = None,
) -> tuple[SealedEntry, SealedEntry]:
    """The ACK entries of a delivery's end or recall, for the discloser and for the recipient.

    `ledger_seq`: of what the discloser's own act did, its number on that ledger, for the discloser alone.
    """
    sender = seats[row.sender_seat]
    recipient = seats.get(row.recipient_seat) if row.recipient_seat else None
    decided = tuple(
        DecidedSection(
            category=section.category,
            # INVARIANT: test_the_trail_of_an_end_names_every_person_it_is_about
            persons=tuple(map(int, section.persons.split(","))),
            released=True,
            reasons=(),
            grants=(),
            public_interest_released=section.public_interest_released,
            sender_withheld=False,
        )
        for section in sections
    )
    about = Payload(
        event_id=row.event_id,
        event_type=row.event_type,
        delivery_id=row.delivery_id,
        hand_number=row.hand_number,
        sections=decided,
        code=code,
    )
    own = replace(about, seat_id=sender.seat_id, role=sender.role, counter_role=row.role, ledger_seq=ledger_seq)
    ours = context.recorder.about_seat(sender, context.directory.controller(sender.unit), "ACK", own, at_us)
    controller = context.directory.controller(row.recipient_unit)
    other = replace(about, seat_id=recipient.seat_id if recipient else None, role=row.role, counter_role=sender.role)
    if recipient:
        return ours, context.recorder.about_seat(recipient, controller, "ACK", other, at_us)
    return ours, context.recorder.about_unit(row.recipient_unit, controller, "ACK", other, at_us)
