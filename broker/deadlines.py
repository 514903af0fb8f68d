"""Time passes: the sender is told when a delivery is late, and what is too old is not handed over any more."""

from __future__ import annotations

from collections.abc import Sequence

from broker.acks import outcome_entries
from broker.acute import unconfirmed
from broker.context import Context
from broker.store.deliveries import DeliveryRow
from broker.store.inbox import Item
from broker.store.port import Rows
from schemas.codes import DeliveryState
from schemas.inbox import Notice

_PIECE = 200  # rows in one transaction


async def sweep(context: Context) -> tuple[int, int]:
    """Tell of late deliveries and end those past their time; returns (overdue told, expired).

    What was disclosed in acute danger and nobody confirmed in time is told here too.
    """
    await unconfirmed(context)
    return await _tell_overdue(context), await _expire(context)


async def _tell_overdue(context: Context) -> int:
    now_us = context.now_us()
    if not await context.store.read(lambda rows: rows.deliveries.overdue(now_us, 1)):
        return 0

    def work(rows: Rows) -> list[DeliveryRow]:
        late = rows.deliveries.overdue(now_us, _PIECE)
        rows.deliveries.told_overdue([row.delivery_id for row in late])
        rows.inbox.put(_notices(context, rows, late, "delivery_overdue", now_us))
        return late

    told = await context.store.write(work)
    probe = _of_probe(context, told)
    context.metrics.overdue(len(told) - probe)
    context.metrics.overdue(probe, probe=True)
    return len(told)


async def _expire(context: Context) -> int:
    now_us = context.now_us()
    if not await context.store.read(lambda rows: rows.deliveries.expired(now_us, 1)):
        return 0

    def work(rows: Rows) -> list[DeliveryRow]:
        old = rows.deliveries.expired(now_us, _PIECE)
        notices = _notices(context, rows, old, "delivery_expired", now_us)
        sections = rows.deliveries.sections([row.delivery_id for row in old])
        seats = rows.cases.seats(
            {row.sender_seat for row in old} | {row.recipient_seat for row in old if row.recipient_seat}
        )
        for row in old:
            entries = outcome_entries(context, row, sections[row.delivery_id], seats, now_us, "HS-EVENT-EXPIRED")
            rows.deliveries.move(row, DeliveryState.EXPIRED)
            # What was never handed over leaves no word of it in the recipient's own trail.
            rows.entries.insert(entries if row.hand_number else entries[:1])
        rows.inbox.put(notices)
        return old

    expired = await context.store.write(work)
    probe = _of_probe(context, expired)
    context.metrics.expired(len(expired) - probe)
    context.metrics.expired(probe, probe=True)
    return len(expired)


def _of_probe(context: Context, rows: Sequence[DeliveryRow]) -> int:
    """How many of them are the operator's own test messages."""
    return sum(context.directory.is_probe(row.recipient_unit) for row in rows)


def _notices(context: Context, rows: Rows, late: Sequence[DeliveryRow], code: str, now_us: int) -> list[Item]:
    sections = rows.deliveries.sections([row.delivery_id for row in late])
    return [
        Item(
            context.new_id(),
            row.sender_unit,
            "NOTICE",
            Notice(
                seat_id=row.sender_seat,
                code=code,
                event_id=row.event_id,
                attempt=row.attempt,
                role=row.role,
                categories=tuple(sorted(section.category for section in sections[row.delivery_id])),
                detail=row.state,
                at_us=now_us,
            ).to_bytes(),
        )
        for row in late
    ]
