"""An ordinary transfer at its sender: two named officers invite, the place waits in a capsule, and all of it goes.

What stays until the case has passed: the invitation, which names the unit, and the capsule, which only the officers
open. When the role passed, both are erased here with everything else in which the unit stands.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from connectors import capsule, keeping, officers
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import UnitKeyPair
from connectors.opening import OpenedEvent
from connectors.spool.commands import Waiting
from connectors.spool.erasing import erase_words
from schemas.capsule import LookAnswer, LookRequest, Place, SealedCapsule
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit

NEXT = "social_services_lead_next"
EVENT_TYPE = "case_transfer_changed"
KINDS = ("look",)
_RENEW = "backups-to-renew"


def _name(seat: Seat) -> str:
    return f"capsule-{seat.sid.hex()}"


def _held(ctx: Context, seat: Seat) -> dict[str, Any] | None:
    kept = ctx.spool.memory.get(_name(seat))
    found: dict[str, Any] | None = json.loads(kept) if kept else None
    return found


def invite(
    ctx: Context, ref: str, unit: str, place: Place, officer: str, contact: str, person: dict[str, Any]
) -> bytes:
    """Seal the place and queue the invitation, both or neither; returns the command's id (16 bytes).

    The caller has unlocked the officer's key. Raises `HS-REF-UNKNOWN`, `HS-STATE-INVALID` (no lead's seat, or a
    transfer under way), `HS-OFFICERS-TWO`, `HS-UNIT-UNKNOWN`, `HS-TOO-LARGE`.
    """
    seat = ctx.identities.get(ref)
    if not seat.active or ctx.members(seat).lead != seat.chain_id or _held(ctx, seat) is not None:
        raise HandslagError("HS-STATE-INVALID", field="ref")
    two = officers.both(ctx.settings.keys_dir)
    to = ctx.units().keys(checked_unit(unit), ctx.now())
    made = capsule.seal(
        place, capsule_id=ctx.random(16), case_tag=seat.case_tag, to=to, officers=two, random=ctx.random
    )
    value = {
        "unit": unit,
        "sealed": made.sealed.to_bytes().hex(),
        "wraps": {name: wrap.hex() for name, wrap in made.wraps.items()},
    }
    command = {
        "do": "invite", "id": "", "ref": ref, "actor_ref": officer, "unit": unit, "role": NEXT, "contact": contact,
        "person": person, "officer": officer, "noted_at_us": ctx.now(),
    }  # fmt: skip
    command_id = ctx.random(16)
    with ctx.spool.transaction():
        ctx.spool.memory.put(_name(seat), json.dumps(value).encode())
        ctx.spool.commands.accept(command_id, ctx.identities.handle(ref), "invite", command, narrowing=False)
    return command_id


def with_capsule(ctx: Context, seat: Seat, event: dict[str, Any]) -> dict[str, Any]:
    """The event with the capsule in it, where one waits for who takes the case over; an agency states none itself."""
    if event["event_type"] != EVENT_TYPE:
        return event
    if event["data"].get("capsule") is not None:
        raise HandslagError("HS-INPUT-INVALID", field="capsule")
    held = _held(ctx, seat)
    if held is None or "wraps" not in held or NEXT not in event["to"]:
        return event
    return {**event, "data": {**event["data"], "capsule": held["sealed"]}}


def received(ctx: Context, seat: Seat, opened: OpenedEvent) -> None:
    """Keep the capsule that came with a case; an unreadable one is nobody's, and the event stays what it is."""
    data = opened.merged.get("capsule") if opened.core.event_type == EVENT_TYPE else None
    if not data:
        return
    try:
        sealed = SealedCapsule.from_bytes(data)
    except HandslagError:
        return
    if sealed.case_tag == seat.case_tag:
        ctx.spool.memory.put(_name(seat), json.dumps({"sealed": data.hex()}).encode())


def tried(ctx: Context, seat: Seat, officer: str, *, allowed: bool) -> bytes:
    """Note a look, or an attempt, in this connector's own log and for the trail; returns the command's id."""
    held = _held(ctx, seat)
    capsule_id = SealedCapsule.from_bytes(bytes.fromhex(held["sealed"])).capsule_id if held else bytes(16)
    command_id = ctx.random(16)
    value = {"do": "look", "ref": seat.ref, "capsule": capsule_id.hex(), "allowed": allowed, "officer": officer}
    with ctx.spool.transaction():
        ctx.spool.memory.log_reading({"what": "capsule", "allowed": allowed, "actor": officer}, ctx.now())
        ctx.spool.commands.accept(command_id, None, "look", value, narrowing=False)
    return command_id


async def look(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Have a look, or an attempt, recorded in the trail."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command) or keep(ctx, command, {"call_id": ctx.random(16).hex()})
    call_id = bytes.fromhex(made["call_id"])
    request = LookRequest(
        call_id=call_id,
        seat_id=seat.sid,
        capsule_id=bytes.fromhex(command.value["capsule"]),
        allowed=command.value["allowed"],
        actor_ref=command.value["officer"],
        assurance="OWN_KEY" if command.value["allowed"] else "ASSERTED",
    )
    answer = await ctx.kept_call("/v1/capsules:look", call_id, request, LookAnswer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "look", ctx.now(), seat.sid)
    return {"recorded": True}


def place(ctx: Context, seat: Seat, officer: str, pair: UnitKeyPair) -> Place:
    """The place in the capsule of a case, for a named officer; raises `HS-CAPSULE-MISSING`, `HS-OFFICER-NOT-NAMED`.

    At the sender it opens with the officer's own key; at the receiving unit with the unit's.
    """
    held = _held(ctx, seat)
    if held is None:
        raise HandslagError("HS-CAPSULE-MISSING")
    sealed = SealedCapsule.from_bytes(bytes.fromhex(held["sealed"]))
    if "wraps" not in held:
        return capsule.opened(sealed, sealed.enc, ctx.unit_keys)
    if officer not in held["wraps"]:
        raise HandslagError("HS-OFFICER-NOT-NAMED")  # named since: not for this capsule
    try:
        return capsule.opened(sealed, bytes.fromhex(held["wraps"][officer]), pair)
    except HandslagError:
        raise HandslagError("HS-OFFICER-NOT-NAMED") from None


def erase(ctx: Context, seat: Seat) -> None:
    """Erase capsule and invitation, and every row in which the receiving unit stands; in the caller's transaction.

    The list of units, which is the same for everybody, stays; backups are renewed afterwards (`finish`).
    INVARIANT: test_when_the_case_has_passed_nothing_here_names_place_or_unit.
    """
    held = _held(ctx, seat)
    if held is None or "unit" not in held:
        return
    ctx.spool.memory.drop(_name(seat))
    current = ctx.identities.get(seat.ref)
    units = {member: unit for member, unit in current.units.items() if unit != held["unit"]}
    ctx.identities.update(replace(current, units=units))
    erase_words(ctx.spool.store, seat.sid, [held["unit"].encode(), bytes.fromhex(held["sealed"])])
    ctx.spool.memory.put(_RENEW, b"1")


def cancel(ctx: Context, ref: str) -> None:
    """Take a transfer back before the case has passed: the capsule is destroyed; raises `HS-CAPSULE-MISSING`."""
    seat = ctx.identities.get(ref)
    if _held(ctx, seat) is None:
        raise HandslagError("HS-CAPSULE-MISSING")
    with ctx.spool.transaction():
        ctx.spool.memory.drop(_name(seat))
    ctx.spool.store.tidy()


async def finish(ctx: Context) -> None:
    """After an erasure: the backups of this unit hold what was erased, so one is made anew and the others removed."""
    if ctx.spool.memory.get(_RENEW) is not None:
        ctx.spool.store.tidy()
        await keeping.renewed(ctx)
        ctx.spool.memory.drop(_RENEW)
