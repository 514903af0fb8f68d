"""Leaving a case: what was to end with it ends, then the unit's own seat closes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import acts, ledgers
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas.calls import CloseRequest, SeatAnswer
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.identifiers import uuid7

_EVENT = "CASE_CLOSED"


async def close(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Close this unit's own seat; nothing is sent or received for it any more."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command) or keep(ctx, command, {"call_id": ctx.random(16).hex()})
    await _expire(ctx, command, seat)
    call_id = bytes.fromhex(made["call_id"])
    request = CloseRequest(call_id=call_id, seat_id=seat.sid)
    answer = await ctx.kept_call("/v1/seats:close", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.identities.update(replace(seat, state=SeatState.CLOSED))
        ctx.spool.memory.want_proof(answer.leaf_hash, "seat", ctx.now(), answer.seat_id)
    return {"state": SeatState.CLOSED.value}


async def _expire(ctx: Context, command: Waiting, seat: Seat) -> None:
    """Record by this seat's own act that what was given until the case closes has ended; a closed seat signs no more.

    A broker that refuses the act keeps no seat open: once closed, nothing is released on its ledger.
    """
    # INVARIANT: test_what_was_given_until_the_case_closes_ends_when_its_seat_does
    made = drawn(command)
    if "expire" not in made:
        if not _until_closed(ctx, seat):
            return
        told = {name: command.value.get(name) for name in ("actor_ref", "noted_at_us")}
        said = {"do": "expire", "ended_event": _EVENT, **told}
        expire = acts.signed(ctx, seat, said, uuid7(ctx.now(), ctx.random(10)))
        made = keep(ctx, command, {**made, "expire": expire})
    try:
        await acts.sent(ctx, seat, made["expire"])
    except HandslagError as error:
        if error.entry.retriable:
            raise


def _until_closed(ctx: Context, seat: Seat) -> bool:
    """Whether a consent of this seat is to end with the case and has not ended."""
    grants = ledgers.view(ctx, seat).grants
    return any(grant.until_event == _EVENT and grant.end_us > ctx.now() for grant in grants)
