"""Consent acts: built from commands, signed by the seat, recorded by the broker, stopped here first.

A withdrawal is two facts: *stopped here*, true from the moment the command is durable, also offline; and *in force
everywhere at T*, true when the broker answered. They are told apart, never together.
"""

from __future__ import annotations

from typing import Any

from connectors import hold, ledgers, reports
from connectors.cases import drawn, keep
from connectors.commands import NARROWING
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas import codes
from schemas.acts import CaseWithdrawal, ConsentAct, RecipientRef, Reservation, Scope, Terms
from schemas.calls import ConsentsAnswer, ConsentsRequest
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown, uuid7

_ACTS = {"grant": "GRANT", "block": "BLOCK", "unblock": "UNBLOCK", "withdraw": "WITHDRAW"}
_WHOLE = ("withdraw_case", "void_case")
_ASSURANCE = "ASSERTED"  # until staff sign in at the connector


async def record(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Sign and record one act; one that others or the time overtook is signed anew and tried once more at once.

    Raises `HS-HEAD-STALE` when the ledger moved twice, so that a later try is signed anew.
    """
    try:
        return await _recorded(ctx, command)
    except HandslagError as error:
        if error.code == "HS-HEAD-LOST":
            await hold.replay_all(ctx)  # a withdrawal is taken at its place: what came before it goes first
        elif not await _unsigned(ctx, command, error):
            raise
    try:
        return await _recorded(ctx, command)
    except HandslagError as error:
        await _unsigned(ctx, command, error)
        raise


async def _recorded(ctx: Context, command: Waiting) -> dict[str, Any]:
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command) or keep(ctx, command, {"consent": _consent_id(ctx, command).hex()})
    if "act" not in made:
        if command.kind not in NARROWING and ctx.spool.commands.overtaken(command):
            raise HandslagError("HS-OVERTAKEN")
        act = _act(ctx, seat, command.value, bytes.fromhex(made["consent"]))
        signature = seat.keys.sign(act)
        made = {**made, "call_id": ctx.random(16).hex(), "act": act.hex(), "signature": signature.hex()}
        keep(ctx, command, made)
    call_id = bytes.fromhex(made["call_id"])
    request = ConsentsRequest(
        call_id=call_id,
        seat_id=seat.sid,
        act=bytes.fromhex(made["act"]),
        signature=bytes.fromhex(made["signature"]),
    )
    # A withdrawal waits for no node, nor behind a grant that does.
    answer = await ctx.kept_call("/v1/consents", call_id, request, ConsentsAnswer, pressing=True)
    # The copy is fetched before the local stop is lifted: from here on our own decision knows of the act.
    await ledgers.sync(ctx, seat)
    ledgers.require_recorded(ctx, seat, request, answer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "consent", ctx.now(), seat.sid)
    return _told(command.kind, made["consent"], answer)


async def _unsigned(ctx: Context, command: Waiting, error: HandslagError) -> bool:
    """Whether the broker's refusal means that the same act must be signed anew; the signed one is let go of then."""
    # INVARIANT: test_a_grant_noted_while_the_broker_was_away_counts_from_its_recording
    overtaken = error.code == "HS-GRANT-BACKDATED" and command.kind == "grant" and not command.value.get("valid_from")
    if error.code != "HS-HEAD-STALE" and not overtaken:
        return False
    await ledgers.sync(ctx, ctx.identities.get(command.value["ref"]))
    keep(ctx, command, {"consent": drawn(command)["consent"]})
    return True


def _method(value: dict[str, Any]) -> str:
    """How the word came; a void case has one for each ground, so that it is signed like a withdrawal of everything."""
    if value["do"] == "void_case":
        return str(codes.table()["annul_ground"][value["ground"]]["void"])
    return str(value["method"])


def _kind(value: dict[str, Any]) -> str:
    """The act of a command; annulling has one for each ground."""
    return str(codes.table()["annul_ground"][value["ground"]]["act"]) if value["do"] == "annul" else _ACTS[value["do"]]


def _consent_id(ctx: Context, command: Waiting) -> bytes:
    named = command.value.get("consent")
    return parsed(named) if named else uuid7(ctx.now(), ctx.random(10))


def _told(kind: str, consent: str, answer: ConsentsAnswer) -> dict[str, Any]:
    value: dict[str, Any] = {
        "ledger_seq": answer.ledger_seq,
        "recorded_at": shown_moment(answer.recorded_at_us),
        "counts": reports.counts(answer.counts),
        "affected": [
            {
                "event_id": shown(each.event_id),
                "role": each.role,
                "removed": each.removed,
                "state_before": each.state_before,
            }
            for each in answer.affected
        ],
    }
    if kind in _WHOLE:
        value["in_force_everywhere_at"] = shown_moment(answer.recorded_at_us)
    else:
        value["consent"] = shown(bytes.fromhex(consent))
    return value


def _act(ctx: Context, seat: Seat, value: dict[str, Any], consent_id: bytes) -> bytes:
    actor = value.get("actor_ref") or ctx.settings.actor_ref
    effective = moment(value["effective_at"], "effective_at") if value.get("effective_at") else None
    if value["do"] in _WHOLE:
        return CaseWithdrawal(
            case_tag=seat.case_tag,
            recorder=seat.member,
            withdrawal_id=consent_id,
            # A case that never was one was none from the beginning.
            effective_at_us=0 if value["do"] == "void_case" else effective,
            method=_method(value),
            actor_ref=actor,
            assurance=_ASSURANCE,
            noted_at_us=value["noted_at_us"],
        ).to_bytes()
    _seq, head = ctx.spool.memory.head(seat.sid)
    return ConsentAct(
        case_tag=seat.case_tag,
        member=seat.member,
        consent_id=consent_id,
        seq=_next_seq(ctx, seat, consent_id),
        prev=head,
        act=_kind(value),
        effective_at_us=effective,
        terms=_terms(ctx, seat, value) if value["do"] in {"grant", "block"} else None,
        scope=_scope(ctx, seat, value["scope"]) if value.get("scope") else None,
        actor_ref=actor,
        assurance=_ASSURANCE,
        noted_at_us=value["noted_at_us"],
    ).to_bytes()


def _next_seq(ctx: Context, seat: Seat, consent_id: bytes) -> int:
    """Place of the next act in its consent, from our own copy of the ledger."""
    acts = (ConsentAct.from_bytes(event.act) for event in ctx.spool.memory.ledger(seat.sid))
    return sum(1 for act in acts if act.consent_id == consent_id)


def _terms(ctx: Context, seat: Seat, value: dict[str, Any]) -> Terms:
    until = value.get("valid_until")
    since = value.get("valid_from")
    return Terms(
        recipients=_recipients(ctx, seat, value["recipients"], widening=value["do"] == "grant"),
        categories=tuple(value["categories"]),
        purposes=tuple(value["purposes"]),
        actions=tuple(value["actions"]),
        valid_from_us=moment(since, "valid_from") if since else ctx.now(),
        valid_until_us=moment(until, "valid_until") if until else None,
        reservations=tuple(Reservation(code=each["code"]) for each in value.get("reservations", [])),
        text_version=value.get("text_version", ""),
        terms_version=value.get("terms_version", ""),
        processing_acknowledged=value.get("processing_acknowledged", False),
        given_by="SELF",
        method=value["method"],
    )


def _scope(ctx: Context, seat: Seat, scope: dict[str, Any]) -> Scope:
    return Scope(
        recipients=_recipients(ctx, seat, scope["recipients"], widening=False),
        categories=tuple(scope["categories"]),
        purposes=tuple(scope["purposes"]),
    )


def _recipients(ctx: Context, seat: Seat, rows: list[dict[str, Any]], *, widening: bool) -> tuple[RecipientRef, ...]:
    """Whom an act names; a role with the member that the lead vouches for.

    Where this seat knows of none, or the act only narrows, the ledger records who held it; still nothing is ever sealed
    to a key that does not chain to the pin.
    """
    refs = []
    for row in rows:
        if row["unit"] is not None:
            refs.append(RecipientRef(kind="UNIT", id=row["unit"], follows_role=False))
            continue
        try:
            member: bytes | None = ctx.members(seat).holder(row["role"], ctx.now()).member
        except HandslagError as error:
            member = ctx.members(seat).seated(row["role"]) if error.code == "HS-KEY-EXPIRED" else None
            if widening and member is None and error.code != "HS-NO-HOLDER":
                raise  # disputed: not the moment to widen anything for this role
        known = None if member is None else ledgers.known_as(seat, row["role"], member)
        refs.append(RecipientRef(kind="ROLE", id=row["role"], member=known, follows_role=row["follows_role"]))
    return tuple(refs)
