"""What an act would do, before it is recorded: at the broker, and to what waits here. Nothing is signed, sent or kept.

The act is built from the same command that would record it. What waits here goes or stays by the same decision as when
it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from connectors import acts, command_consents, commands, fields, ledgers, reports, waiting
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.spool.outgoing import OutgoingEvent
from connectors.waiting import OutgoingState, Standing, Step
from consent import simulate
from consent.terms import Party
from schemas import event_types, projection
from schemas.acts import ConsentAct, Holder
from schemas.calls import AuditQuery
from schemas.codes import table
from schemas.errors import HandslagError
from schemas.explain import SimulateAnswer, SimulateRequest
from schemas.identifiers import ZERO16, parsed, shown

PATH = "/v1/decisions:simulate"
_KNOWN = frozenset({*command_consents.WIDENS, *command_consents.NARROWS, "annul"})
_SOMEBODY = ZERO16  # in place of the id of a holder that this seat has not met
_NOT_GONE = (OutgoingState.ACCEPTED, OutgoingState.SEALED, OutgoingState.WAITING)


class Here(NamedTuple):
    """What would become of an event that waits at this connector, for one role.

    `goes` and `stays`: categories that would be released by then, or no more. `by_itself`: it would go without anybody
    doing anything; else a named person decides. `if_held`: only if somebody holds the role, which this seat does not
    know before its first consent for it.
    """

    event_id: bytes
    event_type: str
    role: str
    goes: tuple[str, ...]
    stays: tuple[str, ...]
    by_itself: bool
    if_held: bool


def act_of(ctx: Context, seat: Seat, command: Mapping[str, Any]) -> bytes:
    """The act that a command of docs/folder-adapter.md would record in the case of this seat.

    Raises what the command's own check raises; `HS-INPUT-INVALID` (`ref`) for another case's, `HS-NOT-YET` (`do`) for a
    command that records no act of a consent, and `HS-CONSENT-UNKNOWN` for one about a consent or block that our copy of
    the ledger does not have. Recording such a one is allowed: it may have been noted elsewhere a moment ago.
    """
    if command.get("ref", seat.ref) != seat.ref:
        raise HandslagError("HS-INPUT-INVALID", field="ref")
    read = commands.read(json.dumps({**command, "ref": seat.ref}).encode())
    if read.do not in _KNOWN:
        raise HandslagError("HS-NOT-YET", field="do")
    value = {**command_consents.kept(read.model_dump(), ctx.now()), "noted_at_us": ctx.now()}
    if value.get("consent") and parsed(value["consent"]) not in ledgers.named(ctx, seat):
        raise HandslagError("HS-CONSENT-UNKNOWN")
    return acts.supposed(ctx, seat, value)


async def at_the_broker(ctx: Context, seat: Seat, query: AuditQuery, act: bytes) -> SimulateAnswer:
    """What the broker says that the act would do there; the look is an entry. Raises HandslagError of the call."""
    request = SimulateRequest(call_id=ctx.random(16), seat_id=seat.sid, query=query, act=act)
    answer = await ctx.link.call(PATH, request, SimulateAnswer, tries=3)
    if answer.call_id != request.call_id:
        raise HandslagError("HS-ANSWER-INVALID", field="call_id")
    ctx.spool.memory.want_proof(answer.leaf_hash, "query", ctx.now(), seat.sid)
    return answer


def here(ctx: Context, seat: Seat, act: bytes) -> list[Here]:
    """What the act would let go of what waits here, and what it would stop; oldest first.

    A role that the act opens and nobody is known to hold counts as held: this seat learns who holds it by recording.
    """
    # INVARIANT: test_a_grant_releases_what_simulating_it_said
    # INVARIANT: test_a_first_grant_to_a_role_releases_what_simulating_it_said
    before = ledgers.view(ctx, seat)
    strangers = {role: _somebody(role) for role in _opened(act) if not ledgers.recipient(ctx, seat, role).held}
    holders = tuple(Holder(role=role, member=_SOMEBODY) for role in sorted(strangers))
    after = simulate.after(before, act, ctx.now(), holders)
    found = []
    for event in ctx.spool.outgoing.in_state(*_NOT_GONE):
        if event.ref != ctx.identities.handle(seat.ref):
            continue
        for role, categories in sorted(ctx.spool.outgoing.open_now(event.event_id).items()):
            was = ledgers.released(ctx, seat, event.event, role, before) & categories
            will = ledgers.released(ctx, seat, event.event, role, after, strangers.get(role)) & categories
            if was == will or _name_went(event, categories):
                continue
            goes, stays = tuple(sorted(will - was)), tuple(sorted(was - will))
            by_itself = _by_itself(ctx, event)
            found.append(Here(event.event_id, event.event_type, role, goes, stays, by_itself, role in strangers))
    return found


def _name_went(event: OutgoingEvent, categories: set[str]) -> bool:
    """Whether the section that the event's name tells is open no more (`categories` are, for the role).

    It is not given twice, and the broker lets no rest go without it.
    """
    # INVARIANT: test_the_rest_of_an_event_does_not_go_and_trying_says_so
    name = event_types.type_category(event.event_type)
    sections = projection.split(event.event_type, fields.from_json(event.event_type, event.event["data"]))
    return name in sections and name not in categories


def _opened(act: bytes) -> set[str]:
    """The roles for which an act may open something."""
    said = ConsentAct.from_bytes(act)
    named = said.terms if said.act in {"GRANT", "AMEND"} else None
    return {ref.id for ref in named.recipients if ref.kind == "ROLE"} if named is not None else set()


def _somebody(role: str) -> Party:
    """A holder of a role, whoever that may be."""
    authority = str(table()["role"][role]["authority"])
    return Party(role=role, authority=authority, unit=None, member=_SOMEBODY, active=True, held=True)


def _by_itself(ctx: Context, event: OutgoingEvent) -> bool:
    """Whether what is newly covered of an event that waits here goes without a person's decision."""
    standing = Standing(
        shelf_until_us=event.shelf_until_us,
        newly_covered=True,
        later_same_type=ctx.spool.outgoing.overtaken(event.event_id),
    )
    return event.state is not OutgoingState.WAITING or waiting.step(standing, ctx.now()) is Step.SEND_AGAIN


def told(answer: SimulateAnswer, waits: list[Here]) -> dict[str, Any]:
    """Both halves as JSON."""
    return {
        "as_of": shown_moment(answer.as_of_us),
        "ledger_seq": answer.ledger_seq,
        "entry_id": shown(answer.entry_id),
        "would_be_refused": answer.refused,
        "counts": reports.counts(answer.counts),
        "deliveries": [
            {
                "event_id": shown(one.event_id),
                "event_type": one.event_type,
                "role": one.role,
                "state": one.state,
                "removed": list(one.removed),
                "kept": list(one.kept),
            }
            for one in answer.deliveries
        ],
        "here": [
            {
                "event_id": shown(one.event_id),
                "event_type": one.event_type,
                "role": one.role,
                "goes": list(one.goes),
                "stays": list(one.stays),
                "by_itself": one.by_itself,
                "if_held": one.if_held,
            }
            for one in waits
        ],
    }
