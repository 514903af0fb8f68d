"""What a connector does on a beat whether or not anything happens: directory, checkpoint, proofs, deadlines."""

from __future__ import annotations

import hashlib

from connectors import operators, reports, rulesets, waiting
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.waiting import OutgoingState
from consent.rules import shipped
from schemas import limits
from schemas.calls import ProofsAnswer, ProofsRequest, UnitsAnswer
from schemas.errors import HandslagError
from schemas.event_types import content_type
from schemas.identifiers import shown

# Events that somebody may be waiting for; what waits for consent or for a person is on the waiting list instead.
_ON_ITS_WAY = (OutgoingState.ACCEPTED, OutgoingState.SEALED, OutgoingState.SENT, OutgoingState.DECIDED)


async def directory(ctx: Context) -> None:
    """Fetch the whole list of units and check the rules are ours.

    Raises `HS-KEY-UNTRUSTED`, `HS-DIRECTORY-OLD` (with an alarm, once), `HS-RULES-OTHER`.
    """
    answer = await ctx.link.get("/v1/units", UnitsAnswer)
    try:
        ctx.take_units(answer)
    except HandslagError as error:
        if error.code == "HS-DIRECTORY-OLD":
            reports.alarm(ctx, error, error.code.lower())
        raise
    if hashlib.sha256(await ctx.link.raw("/v1/rules")).digest() != shipped()[1].hash32:
        raise HandslagError("HS-RULES-OTHER")


async def operator(ctx: Context) -> None:
    """Fetch what the operator's administrators signed, and look whether all that is admitted was."""
    await operators.follow(ctx)
    operators.unsigned(ctx)
    operators.unsigned_rules(ctx)
    await rulesets.follow(ctx)


async def checkpoint(ctx: Context) -> None:
    """Fetch the newest checkpoint and check that the log only grew."""
    await ctx.witness.follow(await ctx.link.raw("/v1/checkpoint"), ctx.link.raw, ctx.now())


async def proofs(ctx: Context) -> int:
    """Fetch and check proofs of what the broker said it recorded; returns how many came.

    Raises `HS-PROOF-INVALID` for a proof that does not hold; the leaf stays wanted.
    """
    wanted = ctx.spool.memory.wanted_proofs(limits.PROOFS)
    if not wanted:
        return 0
    answer = await ctx.link.call(
        "/v1/proofs", ProofsRequest(leaf_hashes=tuple(w.leaf_hash for w in wanted)), ProofsAnswer
    )
    asked = {want.leaf_hash for want in wanted}
    agreed: set[bytes] = set()
    got: dict[bytes, bytes] = {}
    try:
        for each in answer.proofs:
            if each.proof is None or each.leaf_hash not in asked:
                continue
            data = each.proof.encode()
            note = ctx.witness.check_proof(data, each.leaf_hash)
            if note not in agreed:
                await ctx.witness.agrees(note, ctx.link.raw, ctx.now())
                agreed.add(note)
            got[each.leaf_hash] = data
    finally:
        # What held before the one that did not is kept.
        with ctx.spool.transaction():
            for leaf_hash, data in got.items():
                ctx.spool.memory.got_proof(leaf_hash, data)
    return len(got)


def alarm_late(ctx: Context) -> None:
    """Raise the alarm for late proofs, once each; it needs no broker and comes also when the broker is away."""
    # INVARIANT: test_a_late_proof_raises_the_alarm_once
    limit = int(ctx.settings.proof_alarm_s * 1e6)
    for want in ctx.spool.memory.wanted_proofs(limits.PROOFS):
        if want.alarmed or ctx.now() - want.since_us < limit:
            continue
        error = HandslagError("HS-PROOF-LATE")
        with ctx.spool.transaction():
            ctx.spool.memory.alarm(want.leaf_hash)
            value = {
                "kind": "alarm",
                "code": error.code,
                "sv": error.diagnostics("sv"),
                "en": error.diagnostics("en"),
                "leaf_hash": want.leaf_hash.hex(),
                "since": shown_moment(want.since_us),
            }
            ctx.spool.incoming.put(f"proof-{want.leaf_hash.hex()}", "receipts", value)


async def warn_overdue(ctx: Context) -> None:
    """Tell of events past their deadline that nobody acknowledged, by this connector's own clock, once each.

    The broker tells the same from its side; but a broker that is away, or swallows deliveries and notices alike, must
    not be able to keep a sender waiting for a warning that never went out.
    """
    # INVARIANT: test_a_silent_broker_does_not_hide_a_late_message
    for event in ctx.spool.outgoing.in_state(*_ON_ITS_WAY):
        given = event.event.get("deadline_at")
        own = event.accepted_at_us + content_type(event.event_type).deadline_us
        if ctx.now() <= (moment(given, "deadline_at") if given else own):
            continue
        seat = ctx.identities.by_handle(event.ref)
        value = {
            "kind": "notice",
            "id": event.event.get("id", ""),
            "ref": seat.ref if seat else "",
            **reports.words("notice", "delivery_overdue"),
            "event_id": shown(event.event_id),
            "event_type": event.event_type,
            "role": None,
            "categories": [],
            "detail": "OWN_CLOCK",
            "at": shown_moment(ctx.now()),
        }
        alarm = waiting.warning("delivery_overdue", event.event_type)
        if alarm is not None:
            value["warning"] = alarm
        ctx.spool.incoming.put(f"late-{event.event_id.hex()}", "receipts", value)
