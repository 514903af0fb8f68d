"""An event of the agency, checked and made durable before anything else happens to it; `sending.py` takes it on."""

from __future__ import annotations

from typing import Any

from connectors import commands, fields, persons, transfers, waiting
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from connectors.waiting import OutgoingState
from schemas import projection
from schemas.errors import HandslagError
from schemas.identifiers import parsed, uuid7
from schemas.placement import check_placement
from schemas.said import CorrectAnswer, CorrectRequest
from schemas.views import check_view

_HELD = {OutgoingState.ACCEPTED, OutgoingState.SEALED, OutgoingState.WAITING, OutgoingState.EXPIRED}


def accept(ctx: Context, seat: Seat, command: commands.Send | commands.Introduce) -> bytes:
    """Check an event and make it durable; returns its event id (UUIDv7).

    Raises `HS-SEAT-UNIDENTIFIED`, `HS-STATE-INVALID` (no active seat), `HS-NOT-CONFIRMED`, PayloadRejected,
    `HS-INPUT-INVALID`, `HS-EVENT-UNKNOWN` (`replaces`), `HS-VIEW-OTHER`, `HS-CHILD-ALONE`.
    """
    persons.require_identified(seat)
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="ref")
    event = transfers.with_capsule(ctx, seat, _event_of(seat, command))
    data = fields.from_json(event["event_type"], event["data"])
    sections = projection.split(event["event_type"], data)
    check_view(event["event_type"], data, event["to"])
    check_placement(event["event_type"], {"child_placed": None, "with_guardian": None, **data})
    for name in ("public_interest_released", "persons", "data_periods"):
        if not set(event.get(name, ())) <= set(sections):
            raise HandslagError("HS-INPUT-INVALID", field=name)
    now = ctx.now()
    valid_until = fields.moment(event["valid_until"], "valid_until") if event["valid_until"] else None
    event_id = uuid7(now, ctx.random(10))
    with ctx.spool.transaction():
        if event["replaces"]:
            _replace(ctx, parsed(event["replaces"]))
            _correct(ctx, seat, parsed(event["replaces"]))
        ctx.spool.outgoing.accept(
            event_id,
            ctx.identities.handle(seat.ref),
            event["event_type"],
            event,
            [(role, category) for role in event["to"] for category in sections],
            now_us=now,
            shelf_until_us=waiting.shelf_until_us(event["event_type"], now, valid_until),
        )
    return event_id


def _event_of(seat: Seat, command: commands.Send | commands.Introduce) -> dict[str, Any]:
    if len(set(command.to)) != len(command.to) or seat.role in command.to:
        raise HandslagError("HS-INPUT-INVALID", field="to")
    if isinstance(command, commands.Introduce):
        data = {"unit_name": command.unit_name, "function": command.function, "phone": command.phone}
        dumped = command.model_dump(include={"id", "ref", "to", "purpose", "valid_until", "deadline_at", "actor_ref"})
        return {
            **dumped,
            "event_type": "seat_introduced",
            "action": "DISCLOSE",
            "occurred_at": None,
            "reliability": None,
            "statement_kind": "FACT",
            "in_reply_to": None,
            "replaces": None,
            "public_interest_released": [],
            "data": data,
        }
    # INVARIANT: test_a_role_that_is_a_stranger_needs_confirmation
    if not command.confirmed and not set(command.to) <= set(seat.introduced):
        raise HandslagError("HS-NOT-CONFIRMED", field="to")
    return command.model_dump(exclude={"do", "confirmed"})


def _replace(ctx: Context, event_id: bytes) -> None:
    """The named person's new event takes the place of one that still waits here."""
    if ctx.spool.outgoing.get(event_id).state in _HELD:
        ctx.spool.outgoing.move(event_id, OutgoingState.REPLACED)


def _correct(ctx: Context, seat: Seat, event_id: bytes) -> None:
    """Who got the event that is replaced and has left the case since is told so, in a code, by the broker."""
    value = {"do": "correct", "ref": seat.ref, "event": event_id.hex()}
    ctx.spool.commands.accept(ctx.random(16), None, "correct", value, narrowing=False)


async def correct(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Tell the broker that an event of this seat was wrong."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command) or keep(ctx, command, {"call_id": ctx.random(16).hex()})
    call_id = bytes.fromhex(made["call_id"])
    request = CorrectRequest(call_id=call_id, seat_id=seat.sid, event_id=bytes.fromhex(command.value["event"]))
    await ctx.kept_call("/v1/corrections", call_id, request, CorrectAnswer)
    return {}


def discard(ctx: Context, event_id: bytes) -> None:
    """A named person decided that an event on the waiting list is not sent; raises `HS-STATE-INVALID`."""
    ctx.spool.outgoing.move(event_id, OutgoingState.DONE)
