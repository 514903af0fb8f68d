"""Consent acts: built from commands, signed by the seat, recorded by the broker, stopped here first.

A withdrawal is two facts: *stopped here*, true from the moment the command is durable, also offline; and *in force
everywhere at T*, true when the broker answered. They are told apart, never together.
"""

from __future__ import annotations

from typing import Any

from connectors import command_consents, hold, ledgers, reports
from connectors.cases import drawn, keep
from connectors.commands import NARROWING
from connectors.consent_terms import terms_of
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas import codes
from schemas.acts import CaseWithdrawal, ConsentAct, RecipientRef, Scope, Terms
from schemas.calls import ConsentsAnswer, ConsentsRequest
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, ZERO32, parsed, shown, uuid7

_TERMS = ("grant", "amend", "block", "refuse_consent")
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
        made = {**made, **signed(ctx, seat, command.value, bytes.fromhex(made["consent"]))}
        keep(ctx, command, made)
    return _told(command.kind, made["consent"], await sent(ctx, seat, made))


def signed(ctx: Context, seat: Seat, value: dict[str, Any], consent_id: bytes) -> dict[str, str]:
    """The act that a command's value says, signed by the seat now, with the id of the call that will record it."""
    act = _act(ctx, seat, value, consent_id)
    return {"call_id": ctx.random(16).hex(), "act": act.hex(), "signature": seat.keys.sign(act).hex()}


async def sent(ctx: Context, seat: Seat, made: dict[str, Any]) -> ConsentsAnswer:
    """Have what `signed` made recorded, and fetch our copy; raises what the call and the copy raise."""
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
    return answer


async def _unsigned(ctx: Context, command: Waiting, error: HandslagError) -> bool:
    """Whether the broker's refusal means that the same act must be signed anew; the signed one is let go of then."""
    # INVARIANT: test_a_grant_noted_while_the_broker_was_away_counts_from_its_recording
    given = command.kind in {"grant", "amend"} and not command.value.get("valid_from")
    overtaken = error.code == "HS-GRANT-BACKDATED" and given
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
    if value["do"] == "annul":
        return str(codes.table()["annul_ground"][value["ground"]]["act"])
    return str(value["do"]).removesuffix("_consent").upper()


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
        terms=_terms(ctx, seat, value) if value["do"] in _TERMS else None,
        scope=_scope(ctx, seat, value),
        actor_ref=actor,
        assurance=_ASSURANCE,
        noted_at_us=value["noted_at_us"],
        lift_until_us=moment(value["lift_until"], "lift_until") if value.get("lift_until") else None,
        ended_event=value.get("ended_event"),
        review_by_us=_confirmed_until(value),
    ).to_bytes()


def supposed(ctx: Context, seat: Seat, value: dict[str, Any]) -> bytes:
    """The act that a command would have recorded, for trying what it would do: neither signed nor sent nor kept.

    Of the person's withdrawal of everything, the act that would come on this seat's own ledger.
    """
    consent_id = parsed(value["consent"]) if value.get("consent") else uuid7(ctx.now(), ctx.random(10))
    if value["do"] != "withdraw_case":
        return _act(ctx, seat, value, consent_id)
    return ConsentAct(
        case_tag=seat.case_tag,
        member=seat.member,
        consent_id=ZERO16,
        seq=0,
        prev=ZERO32,
        act="WITHDRAW_ALL",
        effective_at_us=moment(value["effective_at"], "effective_at") if value.get("effective_at") else None,
        actor_ref="",
        assurance=_ASSURANCE,
        noted_at_us=value["noted_at_us"],
    ).to_bytes()


def _confirmed_until(value: dict[str, Any]) -> int | None:
    said = value.get("review_by") if value["do"] == "confirm_consent" else None
    return moment(said, "review_by") if said else None


def _next_seq(ctx: Context, seat: Seat, consent_id: bytes) -> int:
    """Place of the next act in its consent, from our own copy of the ledger."""
    acts = (ConsentAct.from_bytes(event.act) for event in ctx.spool.memory.ledger(seat.sid))
    return sum(1 for act in acts if act.consent_id == consent_id)


def _terms(ctx: Context, seat: Seat, value: dict[str, Any]) -> Terms | None:
    if value["do"] == "refuse_consent" and not value["all_agencies_required"]:
        return None
    widening = value["do"] in command_consents.WIDENS
    return terms_of(value, _recipients(ctx, seat, value.get("recipients", []), widening=widening), ctx.now())


def _scope(ctx: Context, seat: Seat, value: dict[str, Any]) -> Scope | None:
    if value["do"] == "lapse" and value["givers"]:
        return Scope(recipients=(), categories=(), purposes=(), givers=tuple(value["givers"]))
    if not (scope := value.get("scope")):
        return None
    return Scope(
        recipients=_recipients(ctx, seat, scope["recipients"], widening=value["do"] == "lift"),
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
