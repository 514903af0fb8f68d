"""Two cases of one person in which this unit has a seat each: joining them, and separating them again.

Only here is it known that both are one person. What follows: the person's word that everything is taken back, noted
here in one case, stops the other as well, at once and offline; the broker carries it to everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors import incidents, ledgers, reports
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas.acts import ConsentAct
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, parsed, shown
from schemas.joins import CaseJoin, CaseSeparation, JoinAnswer, JoinRequest, SeparateAnswer, SeparateRequest
from schemas.records import Record

_ASSURANCE = "ASSERTED"  # until staff sign in at the connector
KIND = "crossing"  # what the connector notes by itself in the other case


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A join that this unit made and that stands: its id as spelled, both references, when it was recorded."""

    join: str
    refs: tuple[str, str]
    recorded_at: str


def standing(ctx: Context) -> list[Join]:
    """The joins of this unit, oldest first; not those that were separated or whose case was another person's."""
    made: dict[str, Join] = {}
    for kind, told in ctx.spool.commands.finished(("join_cases", "separate_cases")):
        if kind == "join_cases":
            pair = (told["ref"], told["other"])
            made[told["join"]] = Join(join=told["join"], refs=pair, recorded_at=told["recorded_at"])
        else:
            made.pop(told["join"], None)
    void = _another_persons(ctx)
    return [one for one in made.values() if not void & set(one.refs)]


async def again(ctx: Context) -> None:
    """Tell a restored broker every join and separation once more: it may be older than they are; done once there.

    A join that it does not take is an alarm: what the person takes back does not reach the other case any more.
    """
    # INVARIANT: test_a_restored_broker_is_told_of_joins_and_separations_again
    for kind, told in ctx.spool.commands.finished(("join_cases", "separate_cases")):
        seat, other = ctx.identities.get(told["ref"]), ctx.identities.get(told["other"])
        if kind == "separate_cases":
            await _once_more(ctx, told, "/v1/cases:separate", _separation(ctx, told, seat), SeparateAnswer)
        elif seat.active and other.active and any(one.join == told["join"] for one in standing(ctx)):
            await _once_more(ctx, told, "/v1/cases:join", _request(ctx, told, seat, other), JoinAnswer)


async def _once_more(
    ctx: Context, told: dict[str, Any], path: str, request: JoinRequest | SeparateRequest, answer: type[Record]
) -> None:
    try:
        await ctx.link.call(path, request, answer)
    except HandslagError as error:
        if error.entry.retriable:
            raise
        # HS-STATE-INVALID: it has it. A separation of a join that it does not know is done.
        if error.code != "HS-STATE-INVALID" and isinstance(request, JoinRequest):
            with ctx.spool.transaction():
                reports.alarm(ctx, error, f"join-{parsed(told['join']).hex()}", ref=told["ref"])


def _another_persons(ctx: Context) -> set[str]:
    """References of cases that their lead declared void as another person's."""
    found = (one.value for one in ctx.spool.annulled.incidents())
    return {str(v["ref"]) for v in found if v["consent"] == shown(ZERO16) and v["ground"] == "WRONG_PERSON"}


def joined(ctx: Context, ref: str) -> list[str]:
    """References of this unit's other open cases of the same person, through any number of its joins."""
    joins, found, waiting = standing(ctx), {ref}, [ref]
    while waiting:
        one = waiting.pop()
        fresh = {each for join in joins if one in join.refs for each in join.refs} - found
        found |= fresh
        waiting += sorted(fresh)
    return sorted(each for each in found - {ref} if ctx.identities.get(each).active)


def check_pair(ctx: Context, ref: str, other: str) -> None:
    """Raise `HS-STATE-INVALID` unless both seats are active and of two cases; `HS-REF-UNKNOWN`."""
    pair = ctx.identities.get(ref), ctx.identities.get(other)
    if not all(seat.active for seat in pair):
        raise HandslagError("HS-STATE-INVALID", field="seat")
    if pair[0].case_tag == pair[1].case_tag:
        raise HandslagError("HS-STATE-INVALID", field="case")
    if any({ref, other} == set(one.refs) for one in standing(ctx)):
        raise HandslagError("HS-STATE-INVALID", field="join")


def found(ctx: Context, ref: str, join: str) -> Join:
    """The standing join that a command names by its id and one of its cases; raises `HS-EVENT-UNKNOWN`."""
    for one in standing(ctx):
        if parsed(one.join) == parsed(join) and ref in one.refs:
            return one
    raise HandslagError("HS-EVENT-UNKNOWN", field="join")


def stop(ctx: Context, command_id: bytes, ref: str) -> list[str]:
    """Hold the sending of every joined case, in the transaction that notes the withdrawal; returns their references."""
    # INVARIANT: test_a_withdrawal_noted_in_one_stops_the_other_at_once_also_offline
    others = joined(ctx, ref)
    for other in others:
        after, _head = ctx.spool.memory.head(ctx.identities.get(other).sid)
        value = {"do": KIND, "ref": other, "cause": command_id.hex(), "after": after}
        ctx.spool.commands.accept(ctx.random(16), ctx.identities.handle(other), KIND, value, narrowing=True)
    return others


async def crossed(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Lift the stop when this seat's own ledger copy says that everything is taken back.

    The broker writes both in one transaction; one that says "recorded" and wrote only one lifts no stop.
    """
    # INVARIANT: test_a_broker_that_does_not_carry_it_over_lifts_no_stop
    cause = ctx.spool.commands.get(bytes.fromhex(command.value["cause"]))
    if cause.state == "ACCEPTED":
        raise HandslagError("HS-NOT-RECORDED")
    seat = ctx.identities.get(command.value["ref"])
    if not seat.active or seat.ref not in joined(ctx, cause.value["ref"]):
        return {}
    await ledgers.sync(ctx, seat)
    acts = (ConsentAct.from_bytes(event.act).act for event in ctx.spool.memory.ledger(seat.sid, command.value["after"]))
    if "WITHDRAW_ALL" in acts:
        return {}
    with ctx.spool.transaction():
        reports.alarm(ctx, HandslagError("HS-NOT-RECORDED"), command.command_id.hex(), ref=seat.ref)
    raise HandslagError("HS-NOT-RECORDED")


async def join(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Have a join recorded, signed by both seats; then look what the person had taken back in either."""
    value = command.value
    seat, other = ctx.identities.get(value["ref"]), ctx.identities.get(value["other"])
    made = drawn(command)
    if not made:
        told = {**value, "join": shown(ctx.random(16))}
        made = keep(ctx, command, {"request": _request(ctx, told, seat, other).to_bytes().hex()})
    request = JoinRequest.from_bytes(bytes.fromhex(made["request"]))
    call_id, act = request.call_id, request.act
    answer = await ctx.kept_call("/v1/cases:join", call_id, request, JoinAnswer)
    for each in (seat, other):
        await ledgers.sync(ctx, each)
    ctx.spool.memory.want_proof(answer.leaf_hash, "join", ctx.now(), seat.sid)
    ctx.spool.memory.want_proof(answer.other_leaf_hash, "join", ctx.now(), other.sid)
    return {
        "join": shown(CaseJoin.from_bytes(act).join_id),
        "other": other.ref,
        "actor_ref": value["actor_ref"],
        "noted_at_us": value["noted_at_us"],
        "recorded_at": shown_moment(answer.recorded_at_us),
    }


def _request(ctx: Context, told: dict[str, Any], seat: Seat, other: Seat) -> JoinRequest:
    act = CaseJoin(
        join_id=parsed(told["join"]),
        case_tag=seat.case_tag,
        member=seat.member,
        other_case_tag=other.case_tag,
        other_member=other.member,
        actor_ref=told["actor_ref"],
        assurance=_ASSURANCE,
        noted_at_us=told["noted_at_us"],
    ).to_bytes()
    return JoinRequest(
        call_id=ctx.random(16),
        seat_id=seat.sid,
        other_seat_id=other.sid,
        act=act,
        signature=seat.keys.sign(act),
        other_signature=other.keys.sign(act),
    )


def _separation(ctx: Context, told: dict[str, Any], seat: Seat) -> SeparateRequest:
    act = CaseSeparation(
        join_id=parsed(told["join"]),
        case_tag=seat.case_tag,
        member=seat.member,
        actor_ref=told["actor_ref"],
        assurance=_ASSURANCE,
        noted_at_us=told["noted_at_us"],
    ).to_bytes()
    return SeparateRequest(call_id=ctx.random(16), seat_id=seat.sid, act=act, signature=seat.keys.sign(act))


async def separate(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Have it recorded that the two are two persons'; returns what this unit must look through, with its 72 hours."""
    value = command.value
    seat = ctx.identities.get(value["ref"])
    made = drawn(command) or keep(ctx, command, {"request": _separation(ctx, value, seat).to_bytes().hex()})
    was = found(ctx, value["ref"], value["join"])
    request = SeparateRequest.from_bytes(bytes.fromhex(made["request"]))
    call_id = request.call_id
    answer = await ctx.kept_call("/v1/cases:separate", call_id, request, SeparateAnswer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "separation", ctx.now(), seat.sid)
    sent = _sent_since(ctx, was)
    exposed = sorted({category for row in sent for category in row["categories"]})
    return {
        "join": was.join,
        "other": next(each for each in was.refs if each != seat.ref),
        "actor_ref": value["actor_ref"],
        "noted_at_us": value["noted_at_us"],
        "recorded_at": shown_moment(answer.recorded_at_us),
        "steps": [reports.words("incident_step", step) for step in incidents.steps({"exposed": exposed, "said": []})],
        "aware_at": shown_moment(value["noted_at_us"]),
        "report_by": shown_moment(value["noted_at_us"] + incidents.CLOCK_US),
        "look_through": sent,
    }


def _sent_since(ctx: Context, was: Join) -> list[dict[str, Any]]:
    """What this unit released in either case while it took the two for one person, to be looked through."""
    # INVARIANT: test_joined_taken_back_and_found_to_be_a_namesakes
    refs = {ctx.identities.handle(ref): ref for ref in was.refs}
    sent = ctx.spool.outgoing.accepted_since(list(refs), moment(was.recorded_at, "recorded_at"))
    rows = []
    for event_id, handle, event_type in sent:
        released = [row for row in ctx.spool.outgoing.sections(event_id) if row.attempt]
        if released:
            told = {"roles": sorted({r.role for r in released}), "categories": sorted({r.category for r in released})}
            rows.append({"ref": refs[handle], "event_id": shown(event_id), "event_type": event_type, **told})
    return rows
