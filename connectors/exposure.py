"""The unit's keys are in other hands: have the broker close it, and list what whoever has them can know.

The list is made from this connector's own spool and never leaves the agency.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.membership import CaseMembers
from schemas.envelope import Core, Delivery
from schemas.errors import HandslagError
from schemas.instances import Compromise, CompromisedAnswer, CompromisedRequest
from schemas.limits import CALL, SUBMISSION
from schemas.statements import MemberStatement, SignedStatement

PATH = "/v1/compromised"
_CLOSED = "HS-UNIT-COMPROMISED"
_PAUSE_S = 2.0
_GONE = frozenset({"HS-UNIT-UNKNOWN"})


async def close_unit(ctx: Context, patience_s: float) -> CompromisedAnswer | None:
    """Tell the broker, again and again for `patience_s`; None when it says that the unit is shut out already.

    This connector stops first, whatever the broker answers. Raises the last error of the call.
    """
    # INVARIANT: test_a_stolen_key_is_worth_nothing_within_a_minute
    ctx.witness.halt_once(_CLOSED, b"", ctx.now())
    statement = Compromise(origin=ctx.settings.origin, unit=ctx.settings.unit, at_us=ctx.now()).to_bytes()
    ctx.link.open_again()  # also from a copy that was restored and never announced
    request = CompromisedRequest(statement=statement, unit_signature=ctx.unit_keys.sign(statement))
    end = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            answer = await ctx.link.call(PATH, request, CompromisedAnswer)
        except HandslagError as error:
            if error.code in _GONE:
                return None
            if not error.entry.retriable or asyncio.get_running_loop().time() + _PAUSE_S > end:
                raise
            await asyncio.sleep(_PAUSE_S)
            continue
        return answer


async def closed_again(ctx: Context) -> bool:
    """Whether this unit was closed from here, though the broker answered it: then it forgot, and is told once more."""
    # INVARIANT: test_a_unit_that_closed_itself_after_the_copy_closes_itself_again
    try:
        ctx.witness.check_running()
    except HandslagError as error:
        if error.code != _CLOSED:
            return False
        await close_unit(ctx, 0)
        return True
    return False


def exposed(ctx: Context, since_us: int) -> dict[str, Any]:
    """What the keys and this spool show from `since_us` on: per seat its role, since when its keys, what came and went.

    References are the agency's own words. Seat keys do not lose what was sealed to them before: a seat is listed with
    the moment its keys began, also when nothing came since.
    """
    rows = [_seat(ctx, seat, since_us) for seat in ctx.identities.all()]
    return {
        "since": shown_moment(since_us),
        "seats": rows,
        "received": sum(row["received"] for row in rows),
        "sent": sum(row["sent"] for row in rows),
        "categories": sorted({category for row in rows for category in row["categories"]}),
    }


def _seat(ctx: Context, seat: Seat, since_us: int) -> dict[str, Any]:
    handle = ctx.identities.handle(seat.ref)
    received, came = _received(ctx, seat, since_us)
    sent, went = 0, set()
    for event_id in ctx.spool.outgoing.of_case(handle):
        if ctx.spool.outgoing.get(event_id).accepted_at_us >= since_us:
            sent += 1
            went |= {row.category for row in ctx.spool.outgoing.sections(event_id)}
    return {
        "ref": seat.ref,
        "role": seat.role,
        "state": str(seat.state),
        "keys_since": _keys_since(ctx.members(seat), seat),
        "received": sum(received.values()),
        "received_by_type": dict(sorted(received.items())),
        "sent": sent,
        "categories": sorted(came | went),
    }


def _received(ctx: Context, seat: Seat, since_us: int) -> tuple[Counter[str], set[str]]:
    types: Counter[str] = Counter()
    categories: set[str] = set()
    if seat.seat_id is None:
        return types, categories
    for evidence in ctx.spool.incoming.evidence_of(seat.seat_id, since_us):
        delivery = Delivery.from_bytes(evidence, SUBMISSION + CALL)
        core = Core.from_bytes(delivery.core)
        types[core.event_type] += 1
        for known in ctx.spool.incoming.remembered(core.event_id).values():
            categories |= set(known.sections)
    return types, categories


def _keys_since(members: CaseMembers, seat: Seat) -> str | None:
    own = members.members.get(seat.chain_id)
    return shown_moment(own.not_before_us) if own else None


def opened_at_us(ctx: Context) -> int:
    """When the oldest keys of this connector's seats began: without `--since`, everything from then on counts."""
    starts = [
        MemberStatement.from_bytes(SignedStatement.from_bytes(seat.lead_statement).statement).not_before_us
        for seat in ctx.identities.all()
    ]
    return min(starts, default=ctx.now())
