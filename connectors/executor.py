"""From a command of the agency to its answer: checked and made durable at once, executed in order, reported once."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from connectors import (
    acts,
    annulling,
    cases,
    closing,
    command_consents,
    commands,
    incidents,
    joining,
    outbound,
    persons,
    rekeying,
    reports,
    retry,
    rotation,
    spoken,
    succession,
    transfers,
    vouching,
)
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.lost_commands import Identify, Named, Reaffirm, RekeyCompare, RekeySign
from connectors.spool.commands import Waiting
from schemas.acts import ConsentAct
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.inbox import Receipt

_RUN: dict[str, Callable[[Context, Waiting], Awaitable[dict[str, Any]]]] = {
    "open_case": cases.open_case,
    **dict.fromkeys((*command_consents.WIDENS, *command_consents.NARROWS), acts.record),
    **dict.fromkeys(("request_consent", "refuse_consent", "confirm_consent"), acts.record),
    "invite": cases.invite,
    "accept": cases.accept,
    "join": cases.state,
    "remove": cases.state,
    "close": closing.close,
    "record_disclosure": spoken.record,
    "annul": annulling.record,
    "void_case": annulling.record,
    "answer_annulment": annulling.answer,
    "join_cases": joining.join,
    "separate_cases": joining.separate,
    joining.KIND: joining.crossed,
    "rotate": rotation.rotate,
    "confirm": rotation.confirm,
    "destroyed": rotation.destroyed,
    "rekey_ask": rekeying.ask,
    "rekey_compare": rekeying.compare,
    "rekey_sign": vouching.sign,
    "identify": persons.identify,
    "reaffirm": persons.reaffirm,
    "vouch": succession.vouch,
    "offer": succession.offer,
    "unseat": succession.unseat,
    "hand_over": succession.hand_over,
    "look": transfers.look,
    "correct": outbound.correct,
}


# What a connector does by itself: nobody asked for it, so nobody is told that it was done.
_BY_ITSELF = frozenset({"join", joining.KIND, *rotation.KINDS, *succession.KINDS, *transfers.KINDS, "correct"})


def must_wait(ctx: Context, command: commands.AnyCommand) -> bool:
    """Whether an earlier command of the case has no answer yet; a withdrawal or block never waits."""
    ref = getattr(command, "ref", None)
    if ref is None or command.do in commands.NARROWING:
        return False
    return ctx.spool.commands.busy(ctx.identities.handle(ref))


def submit(ctx: Context, command: commands.AnyCommand, mark: bytes | None = None) -> bytes:
    """Check a command and keep it with the mark of its file, both or neither; durable with the transaction around it.

    Returns a message's event id, else the command's id. Raises HandslagError naming the field; nothing is kept then.
    """
    with ctx.spool.savepoint():
        if mark is not None:
            ctx.spool.commands.take(mark)
        if isinstance(command, commands.Discard):
            event_id = parsed(command.event)
            outbound.discard(ctx, event_id)
            return event_id
        if isinstance(command, commands.Send | commands.Introduce):
            return outbound.accept(ctx, ctx.identities.get(command.ref), command)
        return _queue(ctx, command)


def _queue(ctx: Context, command: commands.AnyCommand) -> bytes:
    ref = getattr(command, "ref", "")
    _check(ctx, command, ref)
    command_id = ctx.random(16)
    narrowing = command.do in commands.NARROWING
    value = {**command_consents.kept(command.model_dump(), ctx.now()), "noted_at_us": ctx.now()}
    ctx.spool.commands.accept(command_id, ctx.identities.handle(ref), command.do, value, narrowing=narrowing)
    if command.do in {"withdraw_case", "void_case"}:
        _overtake(ctx, ref)
    if command.do == "withdraw_case":
        for other in joining.stop(ctx, command_id, ref):
            _overtake(ctx, other)
    if narrowing:
        # The first of the two facts, true from this transaction on, with or without a network.
        told = {"kind": "stopped_here", "do": command.do, "ref": ref, "at": shown_moment(value["noted_at_us"])}
        _report(ctx, value, command_id, told)
    if command.do in {"annul", "void_case"}:
        incidents.noted(ctx, command_id, value)
    return command_id


def _overtake(ctx: Context, ref: str) -> None:
    """What would widen and was noted before the person took everything back is not carried out any more.

    What is on its way at this moment ends by its own answer: recorded before the withdrawal, which then takes it back,
    or refused, and not signed anew (`overtaken`). Nothing is told twice.
    INVARIANT: test_a_grant_noted_before_a_case_withdrawal_is_not_recorded_after_it.
    """
    for earlier in ctx.spool.commands.widening(ctx.identities.handle(ref)):
        if "call_id" not in cases.drawn(earlier):
            give_up(ctx, earlier, HandslagError("HS-OVERTAKEN"))


def _check(ctx: Context, command: commands.AnyCommand, ref: str) -> None:
    if isinstance(command, commands.OpenCase | commands.Accept):
        if ctx.identities.find(ref) is not None or ctx.spool.commands.busy(ctx.identities.handle(ref)):
            raise HandslagError("HS-REF-TAKEN", field="ref")
        if isinstance(command, commands.Accept) and ctx.spool.memory.invitation(parsed(command.invitation)) is None:
            raise HandslagError("HS-INVITATION-INVALID", field="invitation")
        return
    if isinstance(command, commands.AnswerAnnulment):
        annulling.known(ctx, parsed(command.notice))
        return
    if isinstance(command, Named):
        _check_named(ctx, command)
        return
    seat = ctx.identities.get(ref)
    if command.do not in commands.NARROWING:
        persons.require_identified(seat)
    _check_case(ctx, command, seat)


def _check_case(ctx: Context, command: commands.AnyCommand, seat: Seat) -> None:
    if isinstance(command, commands.RecordDisclosure) and command.said_at:
        spoken.check_said_at(moment(command.said_at, "said_at"), ctx.now())
    if isinstance(command, commands.JoinCases):
        joining.check_pair(ctx, seat.ref, command.other)
        persons.require_identified(ctx.identities.get(command.other))
    if isinstance(command, commands.SeparateCases):
        joining.found(ctx, seat.ref, command.join)
    if isinstance(command, (*command_consents.ON_KNOWN, commands.Annul)):
        acts_known = (ConsentAct.from_bytes(event.act) for event in ctx.spool.memory.ledger(seat.sid))
        if parsed(command.consent) not in {act.consent_id for act in acts_known}:
            raise HandslagError("HS-EVENT-UNKNOWN", field="consent")


def _check_named(ctx: Context, command: Named) -> None:
    """What a named person does about lost seats; raises what stands in its way before it is kept."""
    if isinstance(command, RekeySign):
        vouching.check_heard(ctx, parsed(command.request), command.heard)
    elif isinstance(command, RekeyCompare):
        rekeying.check_heard(ctx, parsed(command.seat), command.heard)
    elif isinstance(command, Identify):
        persons.unknown_seat(ctx, parsed(command.seat))
        if ctx.identities.find(command.ref) is not None:
            raise HandslagError("HS-REF-TAKEN", field="ref")
    elif isinstance(command, Reaffirm):
        persons.require_identified(ctx.identities.get(command.ref))


async def run_due(ctx: Context) -> int:
    """Execute the next command of every case; returns how many got their final answer."""
    done = 0
    for command in ctx.spool.commands.due(ctx.now()):
        # A withdrawal goes out even when the log was caught lying: stopping is never the wrong direction.
        if command.kind not in commands.NARROWING:
            ctx.witness.check_running()
        done += await run(ctx, command)
    return done


async def run(ctx: Context, command: Waiting) -> bool:
    """Execute one command; False when it must be tried again later."""
    if command.kind == "invite" and command.ref is not None and ctx.spool.commands.stopped(command.ref):
        return False  # INVARIANT: test_no_invitation_leaves_while_a_withdrawal_stands_noted
    try:
        result = await _RUN[command.kind](ctx, command)
    except HandslagError as error:
        return _failed(ctx, command, error)
    with ctx.spool.transaction():
        told = {"kind": "result", "do": command.kind, "ref": command.value["ref"], **_plain(ctx, command, result)}
        command.value["result"] = told
        ctx.spool.commands.prepare(command.command_id, command.value)
        ctx.spool.commands.finish(command.command_id, failed=False)
        if command.kind not in _BY_ITSELF:
            _report(ctx, command.value, command.command_id, told)
    return True


def _plain(ctx: Context, command: Waiting, result: dict[str, Any]) -> dict[str, Any]:
    told = result.get("receipt")
    if not isinstance(told, Receipt):
        return result
    seat = ctx.identities.get(command.value["ref"])
    event = {"id": command.value.get("id", ""), "event_type": "seat_invited"}
    return {**result, "receipt": reports.receipt(seat, event, told)}


def _failed(ctx: Context, command: Waiting, error: HandslagError) -> bool:
    narrowing = command.kind in commands.NARROWING
    if retry.again(error) or narrowing:
        # A withdrawal is never given up: until it is in force everywhere, this unit stays stopped.
        asked = retry.floor_s(error)
        pause = retry.delay_s(command.tries + 1, random.random(), asked)  # noqa: S311 - spreads load, no secret
        with ctx.spool.transaction():
            ctx.spool.commands.later(command.command_id, ctx.now() + int(pause * 1e6))
            if narrowing and not retry.again(error) and command.tries == 0:
                told = {"kind": "not_recorded_yet", "do": command.kind, **reports.error_value(error)}
                ctx.spool.incoming.put(ctx.random(16).hex(), "receipts", told)
        return False
    give_up(ctx, command, error)
    return True


def give_up(ctx: Context, command: Waiting, error: HandslagError) -> None:
    """End a command that will not be carried out, and say why."""
    with ctx.spool.transaction():
        if command.kind in {"open_case", "accept", "rekey_ask"}:
            ctx.identities.forget_opening(cases.drawn(command).get("ref", command.value["ref"]))
        told = {
            "kind": "refused",
            "do": command.kind,
            "ref": command.value.get("ref", ""),
            **reports.error_value(error),
        }
        command.value["error"] = error.code
        ctx.spool.commands.prepare(command.command_id, command.value)
        ctx.spool.commands.finish(command.command_id, failed=True)
        if command.kind in {*rotation.KINDS, *succession.KINDS}:
            rotation.pause(ctx, command)  # looked at anew then: a word that another has given meanwhile is no fault
            return
        _report(ctx, command.value, command.command_id, told)


def _report(ctx: Context, value: dict[str, Any], command_id: bytes, told: dict[str, Any]) -> None:
    name = f"{command_id.hex()}-{told['kind'].replace('_', '-')}"
    told = {**told, "id": value.get("id", ""), "command": shown(command_id)}
    ctx.spool.incoming.put(name, "receipts", told)
