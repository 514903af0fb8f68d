"""The mailbox of those who left a case: what they were given was wrong, said in a code, by whoever gave it to them.

Who handed the lead's role over gets nothing more but this, in the weekly slot: the moment tells nothing.
"""

from __future__ import annotations

from hashlib import sha256

from broker.acks import outcome_entries, recipient_seat
from broker.acts import own_seat
from broker.annulments import kept, mailbox, releases
from broker.calls import answered, recorded
from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item
from broker.store.port import Rows
from schemas.codes import SeatState
from schemas.identifiers import ZERO16
from schemas.said import AnnulNotice, CorrectAnswer, CorrectRequest

CORRECTED = "CORRECTED"
_CODE = "HS-CORRECTED"


async def correct(context: Context, unit: str, request: CorrectRequest) -> CorrectAnswer:
    """Answer `POST /v1/corrections`: an event of the caller's was wrong, and who got it and left since is told so.

    In a code, in the weekly slot; who still has a seat gets the new event, which names the one it replaces. Raises
    `HS-SEAT-UNKNOWN`, `HS-CALL-CHANGED`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return CorrectAnswer.from_bytes(before)
    seen = await own_seat(context, unit, request.seat_id)

    def work(rows: Rows) -> CorrectAnswer:
        bump = rows.gate.bump(seen.bucket, 1, context.now_us())
        told = {row.delivery_id for row in rows.annulments.told(seen.seat_id, ZERO16) if row.ground == CORRECTED}
        for row, handed in releases(rows, seen.seat_id, ZERO16):
            if row.event_id == request.event_id and row.delivery_id not in told:
                _tell_who_left(context, rows, seen, row, handed, bump.clock_us)
        made = CorrectAnswer(call_id=request.call_id, recorded_at_us=bump.clock_us)
        rows.units.answer(unit, request.call_id, sha256(request.to_bytes()).digest(), made.to_bytes(), bump.clock_us)
        return made

    return await recorded(context, unit, request, work, CorrectAnswer)


def _tell_who_left(
    context: Context, rows: Rows, seat: SeatRow, row: DeliveryRow, handed: tuple[SectionRow, ...], at_us: int
) -> None:
    left = rows.cases.seat(recipient_seat(rows, row))
    if left is None or left.state != SeatState.CLOSED:
        return  # it has the new event, which names the one it replaces
    ours, theirs = outcome_entries(context, row, handed, {seat.seat_id: seat, left.seat_id: left}, at_us,
                                   _CODE)  # fmt: skip
    rows.entries.insert([ours, theirs])
    notice = AnnulNotice(
        seat_id=left.seat_id,
        notice_id=context.new_id(),
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        ground=CORRECTED,
        from_role=seat.role,
        digests=tuple(section.digest for section in handed),
        at_us=at_us,
        entry_id=theirs.entry_id,
        leaf_hash=theirs.leaf_hash,
    )
    when = mailbox(context, left, at_us)
    rows.inbox.put([Item(context.new_id(), left.unit, "ANNULMENT", notice.to_bytes(), when)])
    rows.annulments.put([kept(notice, row, handed, ZERO16, row.state)])
