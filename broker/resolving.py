"""Which unit sits in a seat, told to a person of the operator's: recorded and announced first, told after COMMIT.

What the broker looks up by itself to serve a unit's own call is not this. Here a human asks, names a function and a
purpose of the closed list, and the seat's agency sees it: an entry under the seat's own key, and a notice in its inbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.context import Context
from broker.queries import PURPOSES
from broker.store.inbox import Item
from broker.store.port import Rows
from schemas.errors import HandslagError
from schemas.inbox import Notice
from schemas.trail import Payload

CODE = "seat_resolved"
REFUSED = "seat_look_refused"
_ACTOR = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)  # a function, as administrators are named; never a person's name
_CASE_NUMBER = re.compile(r"[\w./:-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who asks about a seat (16 bytes) and why: `purpose` of the closed list, `case_number` of the control."""

    seat_id: bytes
    actor: str
    purpose: str
    case_number: str


def asked(arguments: Mapping[str, Any]) -> Question:
    """A question as it came over the control socket; raises `HS-GRANT-INCOMPLETE` for one with something missing."""
    try:
        return Question(
            seat_id=bytes.fromhex(arguments["seat_id"]),
            actor=str(arguments["actor"]),
            purpose=str(arguments["purpose"]),
            case_number=str(arguments["case_number"]),
        )
    except (KeyError, TypeError, ValueError):
        raise HandslagError("HS-GRANT-INCOMPLETE", field="actor") from None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The unit, and the entry (16 bytes) that the seat's agency sees."""

    unit: str
    entry_id: bytes


async def told(context: Context, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `handslag seat unit` over the control socket; raises as `asked` and `unit_of_seat`."""
    found = await unit_of_seat(context, asked(arguments))
    return {"unit": found.unit, "entry_id": found.entry_id.hex()}


async def unit_of_seat(context: Context, question: Question) -> Resolved:
    """Record the look and tell the seat's unit of it, in one transaction; answer only when that is committed.

    Raises `HS-CODE-UNKNOWN`, `HS-GRANT-INCOMPLETE`, `HS-SEAT-UNKNOWN`, `HS-NOT-RECORDED` when it is not sure that the
    agency will see it, and `HS-SEAT-PROTECTED` for a seat that came by a protected relocation, whose agency is told of
    the attempt: then nothing is told.
    """
    if question.purpose not in PURPOSES:
        raise HandslagError("HS-CODE-UNKNOWN", field="purpose")
    if not _ACTOR.fullmatch(question.actor) or not _CASE_NUMBER.fullmatch(question.case_number):
        raise HandslagError("HS-GRANT-INCOMPLETE", field="actor")
    seat = await context.store.read(lambda rows: rows.cases.seat(question.seat_id))
    if seat is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    at_us, code = context.now_us(), REFUSED if seat.protected else CODE
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        actor_ref=f"operator:{question.actor}",
        assurance="ASSERTED",
        query_purpose=question.purpose,
        case_number=question.case_number,
        code=code,
    )
    controller = context.directory.controller(seat.unit)
    entry = context.recorder.about_seat(seat, controller, "CONSULTATION", payload, at_us)
    notice = Notice(
        seat_id=seat.seat_id,
        code=code,
        categories=(),
        detail=question.purpose,
        at_us=at_us,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )

    def work(rows: Rows) -> None:
        rows.entries.insert([entry])
        rows.inbox.put([Item(context.new_id(), seat.unit, "NOTICE", notice.to_bytes())])

    # INVARIANT: test_who_sits_where_is_told_only_after_the_agency_can_see_it
    await context.store.write(work)
    # INVARIANT: test_a_seat_of_a_protected_relocation_is_told_to_nobody
    if seat.protected:
        raise HandslagError("HS-SEAT-PROTECTED")
    return Resolved(seat.unit, entry.entry_id)
