"""Rotating this connector's seat keys: one slot after the other, each seat at a moment of its own.

A new pair is durable, then kept in the backup, then published. From the lead's (or deputy's) word on it signs, and the
old signing key is destroyed in the same transaction. The old HPKE key opens what was sealed to it until nobody seals to
it any more and the inbox is empty; the broker is told first, then it is destroyed too: that is the forward secrecy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from connectors import cases, keeping, reports, rotating, succession
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.identity import Retired, Seat
from connectors.keys import SeatKeyPair
from connectors.membership import CaseMembers
from connectors.spool.commands import Waiting
from connectors.standing import DEPUTY, Member
from schemas import limits
from schemas.calls import DestroyedRequest, SeatAnswer, StateRequest
from schemas.checks import sha256
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.statements import MemberStatement, SignedStatement

KINDS = ("rotate", "confirm", "destroyed")
_PAUSE = 256  # part of a slot after which what failed is looked at again
_BODY = limits.SUBMISSION + 64 * 1024


async def step(ctx: Context) -> int:
    """Look at every seat: take over what was confirmed, queue what is due, tell of silence; how much was queued."""
    queued = 0
    for seat in ctx.identities.all():
        handle = ctx.identities.handle(seat.ref)
        if not seat.active or seat.chain_id not in ctx.members(seat).chains:
            continue
        current = taken_over(ctx, seat)
        _alarm(ctx, current)
        if ctx.pauses.get(handle, 0) > ctx.now() or ctx.spool.commands.waits(handle, KINDS):
            continue
        with ctx.spool.transaction():
            for value in _due(ctx, current):
                command = {"do": value["do"], "ref": seat.ref, **value}
                ctx.spool.commands.accept(ctx.random(16), handle, value["do"], command, narrowing=False)
                queued += 1
    return queued


def pause(ctx: Context, command: Waiting) -> None:
    """Leave a seat's rotation alone for a while, after the broker refused a step of it."""
    if command.ref is not None:
        ctx.pauses[command.ref] = ctx.now() + ctx.settings.slots.length_us // _PAUSE


def _due(ctx: Context, seat: Seat) -> Iterator[dict[str, Any]]:
    view, now = ctx.members(seat), ctx.now()
    own = view.members[seat.chain_id]
    if _rotation_due(ctx, seat, view, own):
        yield {"do": "rotate"}
        return
    for key in view.waiting(seat.chain_id):
        if _confirms(ctx, seat, view, key):
            yield {"do": "confirm", "hash": sha256(key.statement).hex()}
    for old in seat.retired:
        # INVARIANT: test_a_retired_key_is_destroyed_when_nothing_sealed_to_it_may_still_come
        if old.until_us <= now and ctx.drained_us >= old.until_us and not _still_needed(ctx, seat, old):
            yield {"do": "destroyed", "key_id": old.key.key_id.hex()}


def _rotation_due(ctx: Context, seat: Seat, view: CaseMembers, own: Member) -> bool:
    slots, now = view.slots, ctx.now()
    slot = slots.number(now)
    published = seat.coming and _key_of(view, seat.chain_id, SeatKeyPair.from_private_bytes(seat.coming).key_id)
    if published:
        return False  # waits for its word; a later one would only wait behind it
    # A seat that joined by a key already too old, of a lead that slept, rotates to be confirmed by a new one.
    lapsed = own.seq == 0 and not view.standing.counts(own, now)
    if own.slot >= slot and not lapsed:
        return False
    secret = ctx.spool.store.key.handle("slot", seat.sid)
    moment = slots.moment(slot, secret)
    if moment < ctx.started_us:
        moment = ctx.started_us + slots.catch_up(slot, secret)
    return now >= moment


def _confirms(ctx: Context, seat: Seat, view: CaseMembers, key: Member) -> bool:
    """Whether this seat vouches for another's new key now: the lead at once, the deputy for a lead that is silent."""
    now = ctx.now()
    if key.seq == 0 or key.not_after_us < now or not key.proven:
        return False
    own = _key_of(view, seat.chain_id, _signing(seat, view, key).key_id)
    if own is None:
        return False
    if seat.chain_id == view.lead:
        # With a key of this slot, or the word would end with the slot.
        return own.slot == view.slots.number(now) and view.standing.counts(own, now)
    if seat.role != DEPUTY:
        return False
    if key.member == view.lead:
        return own.covers(now)  # a lead that slept: its own old key signed, and it cannot vouch for itself
    return now >= view.slots.deputy_from(key.slot) and (seat.chain_id, own.seq) in view.standing.deputy_slots


def _signing(seat: Seat, view: CaseMembers, key: Member) -> SeatKeyPair:
    """What this seat vouches for a key with: for a lead that slept with its newest pair, for both may have slept."""
    if seat.coming and key.member == view.lead:
        pair = SeatKeyPair.from_private_bytes(seat.coming)
        if _key_of(view, seat.chain_id, pair.key_id) is not None:
            return pair
    return seat.keys


def _key_of(view: CaseMembers, member: bytes, key_id: bytes) -> Member | None:
    return next((k for k in view.chains.get(member, ()) if k.hpke is not None and k.keys.key_id == key_id), None)


def _still_needed(ctx: Context, seat: Seat, old: Retired) -> bool:
    """Whether a delivery that the adapter still waits for is sealed to the key: a recall opens it once more."""
    waiting = (Delivery.from_bytes(data, _BODY) for data in ctx.spool.incoming.stored(seat.sid))
    return any(delivery.seat_key_id == old.key.key_id for delivery in waiting)


def taken_over(ctx: Context, seat: Seat) -> Seat:
    """The seat with its coming keys in use once they are vouched for; the old signing key is gone with that.

    Keys that nobody vouched for in their time are taken over as well: they sign nothing but the next rotation.
    """
    if not seat.coming:
        return seat
    view, pair = ctx.members(seat), SeatKeyPair.from_private_bytes(seat.coming)
    key = _key_of(view, seat.chain_id, pair.key_id)
    if key is None or (view.standing.vouched(key) is None and ctx.now() <= key.not_after_us):
        return seat
    old = _key_of(view, seat.chain_id, seat.keys.key_id)
    vouched = view.standing.vouched(old) if old is not None else None
    until = ctx.now() if vouched is None else max(ctx.now(), view.slots.start(vouched + 2))
    half = seat.keys.retired()
    retired = Retired(signing=half.signing.hex(), hpke=half.private.hex(), until_us=until)
    # INVARIANT: test_an_old_signing_key_is_gone_from_the_connectors_files
    with ctx.spool.transaction():
        current = ctx.identities.update(
            replace(seat, private=seat.coming, coming=b"", retired=(*seat.retired, retired))
        )
    ctx.spool.store.tidy()
    return current


async def rotate(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Draw new keys for a seat, make them durable here and in the backup, and publish them.

    Or, where the lead's role passes on, sign its chain over to the keys of the one who takes it.
    """
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        heir = succession.heir(ctx, seat)
        own = None if heir else SeatKeyPair.generate()
        new = heir or (own.public if own else seat.keys.public)
        statement = rotating.rotate_statement(
            members=ctx.members(seat), member=seat.chain_id, old=seat.keys, new=new, at_us=ctx.now()
        )
        made = {"call_id": ctx.random(16).hex(), "statement": statement.to_bytes().hex(), "passes": own is None}
        with ctx.spool.transaction():
            if own is not None:
                ctx.identities.update(replace(seat, coming=own.private_bytes()))
            keep(ctx, command, made)
    elif MemberStatement.from_bytes(SignedStatement.from_bytes(bytes.fromhex(made["statement"])).statement).member != (
        seat.chain_id
    ):
        return {}  # drawn before this seat took the lead's role over, in another chain of keys
    # INVARIANT: test_a_new_key_is_published_only_after_it_is_kept
    await keeping.kept(ctx)
    await _posted(ctx, seat, made)
    if made.get("passes"):
        succession.handed_over(ctx, seat)
    else:
        taken_over(ctx, ctx.identities.get(seat.ref))
    return {}


async def confirm(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Vouch for another member's new keys."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        view = ctx.members(seat)
        key = next((k for k in view.waiting(seat.chain_id) if sha256(k.statement).hex() == command.value["hash"]), None)
        if key is None:
            return {}  # somebody else has vouched for it, or it was removed
        statement = rotating.confirm_statement(
            members=view, signer=seat.chain_id, keys=_signing(seat, view, key), rotated=key, at_us=ctx.now()
        )
        made = keep(ctx, command, {"call_id": ctx.random(16).hex(), "statement": statement.to_bytes().hex()})
    await _posted(ctx, seat, made)
    return {}


async def _posted(ctx: Context, seat: Seat, made: dict[str, Any]) -> None:
    call_id, signed = bytes.fromhex(made["call_id"]), SignedStatement.from_bytes(bytes.fromhex(made["statement"]))
    request = StateRequest(call_id=call_id, seat_id=seat.sid, statement=signed)
    answer = await ctx.kept_call("/v1/seats:state", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.spool.memory.want_proof(answer.leaf_hash, "statement", ctx.now(), seat.sid)
        cases.add_statement(ctx, seat, signed)


async def destroyed(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Tell the broker that a retired key is destroyed, and destroy it: in this order, or what comes would be lost."""
    seat, key_id = ctx.identities.get(command.value["ref"]), bytes.fromhex(command.value["key_id"])
    made = drawn(command) or keep(ctx, command, {"call_id": ctx.random(16).hex()})
    call_id = bytes.fromhex(made["call_id"])
    request = DestroyedRequest(call_id=call_id, seat_id=seat.sid, seat_key_id=key_id)
    answer = await ctx.kept_call("/v1/seats:destroyed", call_id, request, SeatAnswer)
    seat = ctx.identities.get(seat.ref)
    with ctx.spool.transaction():
        ctx.spool.memory.want_proof(answer.leaf_hash, "seat", ctx.now(), seat.sid)
        left = tuple(old for old in seat.retired if old.key.key_id != key_id)
        ctx.identities.update(replace(seat, retired=left))
    ctx.spool.store.tidy()
    return {}


def _alarm(ctx: Context, seat: Seat) -> None:
    """Tell once a slot of keys that nobody confirmed, and of a lead that has not rotated, for a whole slot."""
    view = ctx.members(seat)
    slot = view.slots.number(ctx.now())
    own = view.members[seat.chain_id]
    if view.standing.vouched(own) is None and own.slot < slot:
        _tell(ctx, seat, "HS-KEY-UNCONFIRMED", slot)
    if seat.chain_id != view.lead and view.standing.lead_newest < slot - 1:
        _tell(ctx, seat, "HS-LEAD-SILENT", slot)


def _tell(ctx: Context, seat: Seat, code: str, slot: int) -> None:
    error = HandslagError(code)
    name = sha256(b"|".join([code.encode(), seat.sid, str(slot).encode()]))[:16].hex()
    ctx.spool.incoming.put(name, "receipts", {"kind": "alarm", "ref": seat.ref, **reports.error_value(error)})
