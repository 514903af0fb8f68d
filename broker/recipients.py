"""A discloser asks which unit received what it disclosed: told and recorded, and of the lead refused.

Who must know who got a datum may ask (brottsdataförordningen 3:4), for a purpose of the closed list, and each request
is an entry of its own trail. Who leads the case is named to nobody, whether it moved or not: a refusal that came with a
protected relocation would tell of it.
"""

from __future__ import annotations

from broker.acts import own_seat
from broker.calls import answered, recorded, request_hash
from broker.cases import LEAD
from broker.context import Context
from broker.queries import PURPOSES
from broker.quota import QUERIES
from broker.store.cases import SeatRow
from broker.store.port import Rows
from broker.succession import NEXT
from schemas.calls import RecipientAnswer, RecipientRequest
from schemas.errors import HandslagError
from schemas.trail import Payload

PROTECTED = "HS-UNIT-PROTECTED"


async def name(context: Context, unit: str, request: RecipientRequest) -> RecipientAnswer:
    """Answer `POST /v1/recipients:name`; the refusal is an answer, so that it is recorded like any other.

    Raises `HS-SEAT-UNKNOWN`, `HS-EVENT-UNKNOWN` (nothing of it was handed to the role), `HS-CODE-UNKNOWN`,
    `HS-GRANT-INCOMPLETE`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return RecipientAnswer.from_bytes(before)
    seat = await own_seat(context, unit, request.seat_id)
    query = request.query
    if query.purpose not in PURPOSES:
        raise HandslagError("HS-CODE-UNKNOWN", field="purpose")
    if not query.actor_ref or not query.case_number:
        raise HandslagError("HS-GRANT-INCOMPLETE", field="actor")
    context.quotas.take(unit, {QUERIES: 1})
    found = await context.store.read(lambda rows: _recipient(rows, seat, request))
    # INVARIANT: test_the_recipient_unit_is_named_on_request_and_the_lead_never
    refused = PROTECTED if found is None else None
    at_us = context.now_us()
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        counter_role=request.role,
        event_id=request.event_id,
        actor_ref=query.actor_ref,
        assurance=query.assurance,
        query_purpose=query.purpose,
        case_number=query.case_number,
        code=refused,
    )
    entry = context.recorder.about_seat(seat, context.directory.controller(unit), "AUDIT_QUERY", payload, at_us)
    answer = RecipientAnswer(
        call_id=request.call_id, unit=found, refused=refused, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash
    )

    def work(rows: Rows) -> RecipientAnswer:
        rows.entries.insert([entry])
        rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), at_us)
        return answer

    return await recorded(context, unit, request, work, RecipientAnswer)


def _recipient(rows: Rows, seat: SeatRow, request: RecipientRequest) -> str | None:
    """The unit of the newest hand-over of the event to the role; None when it is not told."""
    handed = [
        row
        for row, _sections in rows.deliveries.handed_since(seat.seat_id, 0)
        if row.event_id == request.event_id and row.role == request.role
    ]
    if not handed:
        raise HandslagError("HS-EVENT-UNKNOWN")
    recipient = rows.cases.seat(handed[-1].recipient_seat) if handed[-1].recipient_seat else None
    hidden = request.role in {LEAD, NEXT} or (recipient is not None and recipient.protected)
    return None if hidden else handed[-1].recipient_unit
