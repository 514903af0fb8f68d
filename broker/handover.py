"""Hand-over and acknowledgement: what leaves the broker, and what came back.

A hand-over is the commit of HANDED, not the arrival of bytes. Everything slow (reading, sealing entries, encoding) is
prepared before the transaction from row versions that its one UPDATE names again; a row that changed meanwhile is
simply not handed over this time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from audit.entry import SealedEntry
from broker.context import Context
from broker.pace import paced
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Leased
from broker.store.port import Rows
from broker.store.ready import Ready
from schemas import limits
from schemas.acts import SeatHead
from schemas.calls import FetchAnswer, FetchRequest
from schemas.envelope import DeliveredSection, Delivery
from schemas.inbox import InboxItem, InvitationDelivery
from schemas.statute import BASIS, TYPE
from schemas.trail import DecidedSection, Payload

PAUSES_S = (0.05, 0.1)  # what is being changed is so for some hundredths of a second


@dataclass(frozen=True, slots=True)
class Prepared:
    """One delivery ready to go: the row as read, its bytes, and the entries of both sides."""

    row: DeliveryRow
    item: InboxItem
    entries: tuple[Ready[SealedEntry], Ready[SealedEntry]]


@dataclass(frozen=True, slots=True)
class _Read:
    rows: list[DeliveryRow]
    sections: dict[bytes, list[SectionRow]]
    seats: dict[bytes, SeatRow]
    envelopes: dict[bytes, bytes]
    heads: tuple[SeatHead, ...]


async def fetch(context: Context, unit: str, request: FetchRequest) -> FetchAnswer:
    """Answer `POST /v1/inbox:fetch`: leased items, oldest first, deliveries after notices.

    What changed between look and hand-over is looked at again: who waits for it must not wait for other news.
    """
    answer, changed = await _handed(context, unit, request)
    for pause_s in PAUSES_S:
        if answer.items or not changed:
            break
        await asyncio.sleep(pause_s)
        answer, changed = await _handed(context, unit, request)
    return answer


async def _handed(context: Context, unit: str, request: FetchRequest) -> tuple[FetchAnswer, bool]:
    """One look and one hand-over, and whether something that was looked at did not go."""
    limit = max(1, min(request.limit, limits.INBOX_ITEMS))
    now_us = context.now_us()
    read = await context.store.read(lambda rows: _read(rows, unit, now_us, limit, request.without or ()))
    prepared = [_prepare(context, row, read, now_us) async for row in paced(_that_fit(read))]
    lease_until = now_us + context.lease_us
    if not prepared and not await context.store.read(lambda rows: rows.inbox.any(unit, now_us)):
        return FetchAnswer(items=(), heads=read.heads), False

    def work(rows: Rows) -> tuple[list[Leased], set[bytes]]:
        leased = rows.inbox.lease(unit, limit, now_us, lease_until)
        # the ledger clock never runs back: a node whose own clock does hands over nothing that has ended by it
        clock = max(context.now_us(), rows.gate.clock({p.row.bucket for p in prepared}))
        handed = rows.deliveries.hand([(p.row.delivery_id, p.row.row_version) for p in prepared], clock, lease_until)
        # INVARIANT: test_record_with_release, the entries of exactly what was handed over, in the same transaction
        rows.entries.insert([entry for p in prepared if p.row.delivery_id in handed for entry in p.entries])
        return leased, handed

    leased, handed = await context.store.write(work, shared=True)
    items = [context.store.sealing.opened(one) for one in leased]
    context.metrics.handed_over(len(handed), probe=context.directory.is_probe(unit))
    answered = [InboxItem(item_id=item.item_id, kind=item.kind, body=item.body) for item in items]
    answered += [p.item for p in prepared if p.row.delivery_id in handed]
    return FetchAnswer(items=tuple(answered), heads=read.heads), len(handed) < len(prepared)


def _that_fit(read: _Read) -> list[DeliveryRow]:
    """The first deliveries that one answer has room for, at least one: large ones must not keep all others back."""
    room = limits.INBOX_BYTES
    fit: list[DeliveryRow] = []
    for row in read.rows:
        room -= len(row.body or b"") + sum(len(section.item or b"") for section in read.sections[row.delivery_id])
        if fit and room < 0:
            break
        fit.append(row)
    return fit


def _read(rows: Rows, unit: str, now_us: int, limit: int, without: Sequence[bytes]) -> _Read:
    due = rows.deliveries.due_for(unit, now_us, limit, without)
    closed = rows.units.closed({row.sender_unit for row in due})
    due = [row for row in due if row.sender_unit not in closed]  # held as well; whoever lets go does not let these go
    due = [row for row in due if row.body is not None]  # its key is destroyed: its sender is asked to seal it anew
    seat_ids = {row.sender_seat for row in due} | {row.recipient_seat for row in due if row.recipient_seat}
    return _Read(
        rows=due,
        sections=rows.deliveries.sections([row.delivery_id for row in due]),
        seats=rows.cases.seats(seat_ids),
        envelopes={
            row.invitation_id: found.envelope
            for row in due
            if row.invitation_id and (found := rows.cases.invitation(row.invitation_id))
        },
        heads=tuple(SeatHead(seat_id=i, ledger_seq=n, head=head) for i, n, head in rows.cases.heads(unit)),
    )


def _prepare(context: Context, row: DeliveryRow, read: _Read, at_us: int) -> Prepared:
    sections = read.sections[row.delivery_id]
    disclosure, hand_over = disclosure_entries(context, row, sections, read.seats, at_us)
    assert row.body is not None
    delivery = replace(
        Delivery.from_bytes(row.body, limits.SUBMISSION),
        hand_number=row.hand_number + 1,
        sections=tuple(
            DeliveredSection(item=s.item or b"", index=s.digest_index, wrapped=s.wrapped_key or b"") for s in sections
        ),
        entry_id=hand_over.entry_id,
        leaf_hash=hand_over.leaf_hash,
    )
    if row.invitation_id is None:
        item = InboxItem(item_id=row.delivery_id, kind="DELIVERY", body=delivery.to_bytes())
    else:
        envelope = InvitationDelivery.from_bytes(read.envelopes[row.invitation_id], limits.SUBMISSION)
        item = InboxItem(
            item_id=row.delivery_id, kind="INVITATION", body=replace(envelope, delivery=delivery).to_bytes()
        )
    seal = context.store.sealing.entry
    return Prepared(row, item, (seal(disclosure), seal(hand_over)))


def disclosure_entries(
    context: Context,
    row: DeliveryRow,
    sections: Sequence[SectionRow],
    seats: dict[bytes, SeatRow],
    at_us: int,
) -> tuple[SealedEntry, SealedEntry]:
    """DISCLOSURE for the discloser and HAND_OVER for the recipient; the latter names released categories only."""
    sender = seats[row.sender_seat]
    recipient = seats.get(row.recipient_seat) if row.recipient_seat else None
    payload = Payload(
        seat_id=sender.seat_id,
        role=sender.role,
        counter_role=row.role,
        counter_member=recipient.member if recipient else None,
        event_id=row.event_id,
        event_type=row.event_type,
        attempt=row.attempt,
        delivery_id=row.delivery_id,
        hand_number=row.hand_number + 1,
        purpose=row.purpose,
        action=row.action,
        basis=BASIS if row.event_type == TYPE else "CONSENT",
        sections=tuple(_recorded(section, with_grants=True) for section in sections),
        ledger_seq=sender.ledger_seq,
        recipient_sealed=recipient.recipient_sealed if recipient else None,
        recipient_own=recipient.recipient_own if recipient else None,
        counter_unit=None if recipient else row.recipient_unit,
    )
    theirs = replace(
        payload,
        seat_id=recipient.seat_id if recipient else None,
        role=row.role,
        counter_role=sender.role,
        counter_member=sender.chain_id,
        counter_unit=None,
        sections=tuple(_recorded(section, with_grants=False) for section in sections),
        ledger_seq=None,
        recipient_sealed=None,
        recipient_own=None,
    )
    first = context.recorder.about_seat(
        sender, context.directory.controller(sender.unit), "DISCLOSURE", payload, at_us, outcome="RELEASED"
    )
    controller = context.directory.controller(row.recipient_unit)
    if recipient:
        second = context.recorder.about_seat(recipient, controller, "HAND_OVER", theirs, at_us, outcome="RELEASED")
    else:
        second = context.recorder.about_unit(
            row.recipient_unit, controller, "HAND_OVER", theirs, at_us, outcome="RELEASED"
        )
    return first, second


def _recorded(section: SectionRow, *, with_grants: bool) -> DecidedSection:
    grants = tuple(section.grants[i : i + 16] for i in range(0, len(section.grants), 16)) if with_grants else ()
    return DecidedSection(
        category=section.category,
        persons=tuple(map(int, section.persons.split(","))),
        released=True,
        reasons=(),
        grants=grants,
        public_interest_released=section.public_interest_released,
        sender_withheld=False,
        data_from_us=section.data_from_us,
        data_until_us=section.data_until_us,
    )
