"""The lead's role changes hands: the seat that takes over offers keys, the lead signs its own chain over to them.

In a protected relocation the police seat invited it, and its word stands for the unit's: the lead sees a key. The role
passes in the lead's rotation of a weekly slot, so to everybody else it is that rotation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from connectors import cases, keeping, transfers
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.identity import Retired, Seat
from connectors.keys import PublicKeys, SeatKeyPair, verify
from connectors.membership import CaseMembers, join_statement, remove_statement
from connectors.spool.commands import Waiting
from connectors.standing import DEPUTY, Member
from schemas import codec, limits
from schemas.calls import PassRequest, SeatAnswer, StateRequest
from schemas.checks import sha256
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.inbox import PassNotice
from schemas.statements import Acceptance, SignedStatement, Succession, Vouch

LEAD, NEXT = "social_services_lead", "social_services_lead_next"
KINDS = ("vouch", "offer", "unseat")


def step(ctx: Context) -> int:
    """Queue what a seat that takes over still has to do; returns how much."""
    queued = 0
    for seat in ctx.identities.all():
        handle = ctx.identities.handle(seat.ref)
        if not seat.active or ctx.pauses.get(handle, 0) > ctx.now() or ctx.spool.commands.waits(handle, KINDS):
            continue
        kind = _due(ctx, seat)
        if kind is not None:
            _queue(ctx, seat, kind, {})
            queued += 1
    return queued


def _due(ctx: Context, seat: Seat) -> str | None:
    if seat.role == NEXT and ctx.spool.memory.get(_mark("offered", seat)) is None:
        return "offer"
    # The member that the lead was before it took over sits in a role that another may need.
    if seat.chain and ctx.members(seat).seated(NEXT) == seat.member:
        return "unseat"
    return None


def _queue(ctx: Context, seat: Seat, kind: str, value: dict[str, Any]) -> None:
    command = {"do": kind, "ref": seat.ref, **value}
    ctx.spool.commands.accept(ctx.random(16), ctx.identities.handle(seat.ref), kind, command, narrowing=False)


def _mark(what: str, seat: Seat) -> str:
    return f"{what}-{seat.sid.hex()}"


# --- who invited in the lead's place


def accepted(ctx: Context, seat: Seat, acceptance: bytes, unit_signature: bytes, hpke_key: bytes) -> None:
    """An invitation of this seat was accepted: the lead signs the JOIN, anybody else its word for the key.

    Raises what `inviting.checked_acceptance` raises.
    """
    found = cases.accepted_invitation(ctx, seat, acceptance, unit_signature, hpke_key)
    if found is None:
        return
    invitation_id, checked = found
    if ctx.members(seat).lead == seat.chain_id:
        cases.queue_join(ctx, seat, invitation_id, checked, hpke_key)
        return
    with ctx.spool.transaction():
        ctx.spool.memory.set_invitation(invitation_id, "ACCEPTED")
        _queue(ctx, seat, "vouch", {"acceptance": acceptance.hex(), "hpke_key": hpke_key.hex()})


async def vouch(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Say to the lead which key takes the case over; the unit behind it stays here."""
    # INVARIANT: test_the_role_changes_hands_in_the_slot_and_the_old_lead_learns_nothing
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        taken = Acceptance.from_bytes(bytes.fromhex(command.value["acceptance"]))
        told = Vouch(
            case_tag=seat.case_tag,
            invitation_hash=taken.invitation_hash,
            member=taken.member,
            signing_key=taken.signing_key,
            hpke_key_hash=taken.hpke_key_hash,
            voucher=seat.chain_id,
            at_us=ctx.now(),
        ).to_bytes()
        made = keep(ctx, command, _signed(ctx, seat, told))
    await _passed(ctx, seat, made, bytes.fromhex(command.value["hpke_key"]))
    return {}


def _signed(ctx: Context, seat: Seat, statement: bytes) -> dict[str, Any]:
    signature = seat.keys.sign(statement)
    return {"call_id": ctx.random(16).hex(), "statement": statement.hex(), "signature": signature.hex()}


async def _passed(ctx: Context, seat: Seat, made: dict[str, Any], hpke_key: bytes) -> None:
    call_id = bytes.fromhex(made["call_id"])
    request = PassRequest(
        call_id=call_id,
        seat_id=seat.sid,
        statement=bytes.fromhex(made["statement"]),
        signature=bytes.fromhex(made["signature"]),
        hpke_key=hpke_key,
    )
    answer = await ctx.kept_call("/v1/seats:pass", call_id, request, SeatAnswer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "statement", ctx.now(), seat.sid)


# --- the seat that takes over


async def offer(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Draw the keys with which this seat will hold the lead's role, make them durable and kept, and name them."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        pair = SeatKeyPair.from_private_bytes(seat.succeeding) if seat.succeeding else SeatKeyPair.generate()
        told = Succession(
            case_tag=seat.case_tag,
            member=seat.member,
            signing_key=pair.public.signing,
            hpke_key_hash=pair.public.hpke_hash,
            # INVARIANT: test_a_clock_that_runs_wrong_does_not_tell_whose_it_is. The old lead reads this, and may know
            # by how much a unit's clock is wrong: the slot's first moment says all that the statement needs.
            at_us=ctx.settings.slots.start(ctx.settings.slots.number(ctx.now())),
        ).to_bytes()
        with ctx.spool.transaction():
            ctx.identities.update(replace(seat, succeeding=pair.private_bytes()))
            made = keep(ctx, command, _signed(ctx, seat, told))
    await keeping.kept(ctx)
    seat = ctx.identities.get(seat.ref)
    await _passed(ctx, seat, made, SeatKeyPair.from_private_bytes(seat.succeeding).public.hpke)
    ctx.spool.memory.put(_mark("offered", seat), b"1")
    return {}


def took_over(ctx: Context, seat: Seat) -> Seat:
    """The seat in the lead's role once the lead's chain goes on in the keys it offered; else as it is."""
    if not seat.succeeding:
        return seat
    view, pair = ctx.members(seat), SeatKeyPair.from_private_bytes(seat.succeeding)
    key = next((k for k in view.chains[view.lead] if k.hpke is not None and k.keys.key_id == pair.key_id), None)
    if key is None or view.standing.vouched(key) is None:
        return seat
    # A rotation in its former chain of keys may have been refused just now: the lead must not wait for that.
    ctx.pauses.pop(ctx.identities.handle(seat.ref), None)
    half = seat.keys.retired()
    before = Retired(signing=half.signing.hex(), hpke=half.private.hex(), until_us=ctx.now())
    _tell(ctx, seat, LEAD, SeatState.ACTIVE)
    return ctx.identities.update(
        replace(
            seat,
            role=LEAD,
            chain=view.lead,
            private=seat.succeeding,
            succeeding=b"",
            coming=b"",
            retired=(*seat.retired, before),
        )
    )


def _tell(ctx: Context, seat: Seat, role: str, state: SeatState) -> None:
    value = {"kind": "seat", "ref": seat.ref, "role": role, "state": state.value, "passed": True}
    ctx.spool.incoming.put(sha256(b"passed" + seat.sid + role.encode() + state.encode())[:16].hex(), "receipts", value)


async def unseat(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Take the member that this lead was before out of the case, so that the role to take over is free again."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        statement = remove_statement(members=ctx.members(seat), lead=seat.keys, member=seat.member, at_us=ctx.now())
        made = keep(ctx, command, {"call_id": ctx.random(16).hex(), "statement": statement.to_bytes().hex()})
    call_id, signed = bytes.fromhex(made["call_id"]), SignedStatement.from_bytes(bytes.fromhex(made["statement"]))
    request = StateRequest(call_id=call_id, seat_id=seat.sid, statement=signed)
    answer = await ctx.kept_call("/v1/seats:state", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.spool.memory.want_proof(answer.leaf_hash, "statement", ctx.now(), seat.sid)
        cases.add_statement(ctx, seat, signed)
    return {}


# --- the lead that hands over


def take(ctx: Context, seat: Seat, told: PassNotice) -> None:
    """What the broker forwards to the lead: the police's word for a key, or the offer of the seat that has it.

    Raises `HS-STATE-INVALID` for a seat that is no lead's, `HS-KEY-UNTRUSTED`, `HS-SIGNATURE-INVALID`, PayloadRejected
    and what `join_statement` raises.
    """
    # INVARIANT: test_the_lead_signs_only_for_a_key_that_the_police_seat_vouched_for
    view = ctx.members(seat)
    if view.lead != seat.chain_id or not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    if codec.name_of(told.statement) == Vouch.SCHEMA:
        word = Vouch.from_bytes(told.statement)
        _check(ctx, view, DEPUTY, word.voucher, word, told)
        _queue_join(ctx, seat, view, word, told.hpke_key)
        return
    offered = Succession.from_bytes(told.statement)
    _check(ctx, view, NEXT, offered.member, offered, told)
    value = {"signing": offered.signing_key.hex(), "hpke": told.hpke_key.hex(), "member": offered.member.hex()}
    ctx.spool.memory.put(_mark("successor", seat), json.dumps(value).encode())
    ready = {"kind": "successor", "ref": seat.ref, "role": NEXT, "state": SeatState.ACTIVE.value}
    ctx.spool.incoming.put(sha256(told.statement)[:16].hex(), "receipts", ready)


def _check(
    ctx: Context, view: CaseMembers, role: str, member: bytes, told: Vouch | Succession, notice: PassNotice
) -> None:
    if view.seated(role) != member or told.case_tag != view.case_tag:
        raise HandslagError("HS-KEY-UNTRUSTED", check="successor")
    if PublicKeys(told.signing_key, notice.hpke_key).hpke_hash != told.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED", check="hpke-key")
    if not any(_holds(view, key, ctx.now(), notice) for key in view.chains[member]):
        raise HandslagError("HS-SIGNATURE-INVALID", check="successor")


def _holds(view: CaseMembers, key: Member, now_us: int, notice: PassNotice) -> bool:
    if not view.standing.counts(key, now_us):
        return False
    try:
        verify(key.signing, notice.signature, notice.statement)
    except HandslagError:
        return False
    return True


def _queue_join(ctx: Context, seat: Seat, view: CaseMembers, word: Vouch, hpke_key: bytes) -> None:
    taken = Acceptance(
        invitation_hash=word.invitation_hash,
        unit="",
        role=NEXT,
        member=word.member,
        signing_key=word.signing_key,
        hpke_key_hash=word.hpke_key_hash,
    )
    statement = join_statement(
        members=view,
        lead=seat.keys,
        acceptance=taken,
        hpke_key=hpke_key,
        not_before_us=max(ctx.now() - limits.SENT_AHEAD_US, view.members[view.lead].not_before_us),
        not_after_us=ctx.now() + cases.KEY_LIFE_US,
    )
    made = {"call_id": ctx.random(16).hex(), "statement": statement.to_bytes().hex()}
    _queue(ctx, seat, "join", {"role": NEXT, "drawn": made})


async def hand_over(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Note that the case passes on; it does with the lead's next rotation. `undo` takes that back until then.

    Raises `HS-STATE-INVALID` for a seat that is no lead's, `HS-SUCCESSOR-MISSING`.
    """
    seat = ctx.identities.get(command.value["ref"])
    if ctx.members(seat).lead != seat.chain_id or not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="ref")
    found = _successor(ctx, seat)
    if found is None:
        raise HandslagError("HS-SUCCESSOR-MISSING")
    handing = not command.value.get("undo", False)
    ctx.spool.memory.put(_mark("successor", seat), json.dumps({**found, "handing": handing}).encode())
    return {"role": LEAD, "state": "WAITS_FOR_SLOT" if handing else SeatState.ACTIVE.value}


def _successor(ctx: Context, seat: Seat) -> dict[str, Any] | None:
    """The offer of the seat that may take over now, as kept; None when nobody may."""
    held = ctx.spool.memory.get(_mark("successor", seat))
    found: dict[str, Any] = json.loads(held) if held else {}
    if not found or ctx.members(seat).seated(NEXT) != bytes.fromhex(found["member"]):
        return None
    return found


def heir(ctx: Context, seat: Seat) -> PublicKeys | None:
    """The keys to which this rotation passes the lead's role, None for an ordinary rotation.

    While something for the one who takes over is on its way the role stays: the file would be cut off.
    """
    found = _successor(ctx, seat) if ctx.members(seat).lead == seat.chain_id else None
    if (
        found is None
        or not found.get("handing")
        or ctx.spool.outgoing.on_its_way(ctx.identities.handle(seat.ref), NEXT)
    ):
        return None
    return PublicKeys(bytes.fromhex(found["signing"]), bytes.fromhex(found["hpke"]))


def handed_over(ctx: Context, seat: Seat) -> None:
    """After the role passed: the seat is closed here and its keys are destroyed; nothing comes that they would open."""
    # INVARIANT: test_nothing_of_the_case_can_be_signed_by_who_handed_it_over
    with ctx.spool.transaction():
        transfers.erase(ctx, seat)
        current = ctx.identities.get(seat.ref)
        nobody = SeatKeyPair.generate().private_bytes()
        ctx.identities.update(replace(current, state=SeatState.CLOSED, private=nobody, coming=b"", retired=()))
        ctx.spool.memory.drop(_mark("successor", seat))
        _tell(ctx, seat, LEAD, SeatState.CLOSED)
    ctx.spool.store.tidy()
