"""Vouching for the new keys of another seat: a person compared by phone first, nothing here signs by itself."""

from __future__ import annotations

from typing import Any

from connectors import cases, rekeying, replacing, reports
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from connectors.spool.rekeys import Rekeyed, RekeyState
from schemas import limits
from schemas.calls import SeatAnswer, StateRequest
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.inbox import InboxItem
from schemas.rekey import Rekey, RekeyNotice
from schemas.statements import MemberStatement, SignedStatement


def take(ctx: Context, item: InboxItem, seat: Seat, told: RekeyNotice) -> None:
    """Keep a request for a person; raises `HS-KEY-UNTRUSTED` for another case than the one this seat is pinned to."""
    wanted = Rekey.from_bytes(told.rekey)
    statement = MemberStatement.from_bytes(wanted.statement)
    if (wanted.pin, statement.case_tag) != (seat.pin, seat.case_tag):
        raise HandslagError("HS-KEY-UNTRUSTED", check="pin")
    # Not the hash itself: what is typed must come from the phone, and this name is shown.
    # INVARIANT: test_nothing_is_signed_that_was_not_read_aloud
    name = sha256(sha256(told.rekey))[:16]
    if ctx.spool.rekeys.get(name) is None:
        value = {"ref": seat.ref, "role": statement.role, "rekey": told.rekey.hex(), "hpke": told.hpke_key.hex(),
                 "at": shown_moment(told.at_us)}  # fmt: skip
        ctx.spool.rekeys.put(name, RekeyState.OPEN, value)
        # Without the fingerprint: what is typed must come from the phone.
        asked = {"kind": "rekey_asked", "ref": seat.ref, "role": statement.role, "request": shown(name)}
        asked |= reports.error_value(HandslagError("HS-REKEY-ASKED"))
        ctx.spool.incoming.put(f"rekey-asked-{name.hex()}", "receipts", asked)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _found(ctx: Context, name: bytes) -> tuple[Rekeyed, Seat]:
    row = ctx.spool.rekeys.get(name)
    seat = ctx.identities.find(row.value["ref"]) if row is not None and "ref" in row.value else None
    if row is None or seat is None:
        raise HandslagError("HS-REKEY-NONE", field="request")
    return row, seat


def check_heard(ctx: Context, name: bytes, heard: str) -> None:
    """Raise `HS-REKEY-COMPARE` when the other agency read another half; and what stands in the way of signing.

    That is `HS-REKEY-NONE`, `HS-SEAT-UNIDENTIFIED`, `HS-STATE-INVALID` (this seat is not active),
    `HS-REKEY-SAME-UNIT` (another seat of this unit in the case has signed), and what `CaseMembers.applied` raises.
    """
    # INVARIANT: test_nothing_is_signed_that_was_not_read_aloud
    row, seat = _found(ctx, name)
    rekey = bytes.fromhex(row.value["rekey"])
    if not rekeying.same(heard, rekeying.halves(rekey)[0]):
        raise HandslagError("HS-REKEY-COMPARE", field="heard")
    if not seat.identified:
        raise HandslagError("HS-SEAT-UNIDENTIFIED", field="request")
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="request")
    others = [one for one in ctx.identities.all() if one.case_tag == seat.case_tag and one.ref != seat.ref]
    signed = {one.value["ref"] for one in ctx.spool.rekeys.asked() if one.state is RekeyState.SIGNED}
    if signed & {one.ref for one in others}:
        raise HandslagError("HS-REKEY-SAME-UNIT", field="request")
    _signed(ctx, seat, row)


def _signed(ctx: Context, seat: Seat, row: Rekeyed) -> SignedStatement:
    """The statement with this seat's signature, when this seat's own view of the case takes it."""
    data = Rekey.from_bytes(bytes.fromhex(row.value["rekey"])).statement
    statement, view = MemberStatement.from_bytes(data), ctx.members(seat)
    newest = view.members.get(statement.member)
    known = newest is not None and (newest.statement == data or sha256(newest.statement) == statement.previous)
    if not known or statement.member == seat.chain_id:
        raise HandslagError("HS-KEY-UNTRUSTED", check="previous")
    now, ends = ctx.now(), view.slots.start(view.slots.number(statement.not_before_us) + 2)
    if not now - limits.SENT_BACK_US <= statement.not_before_us <= now + limits.SENT_AHEAD_US:
        raise HandslagError("HS-KEY-EXPIRED")
    if statement.not_after_us >= ends:
        raise HandslagError("HS-KEY-UNTRUSTED", check="validity")
    signed = replacing.countersigned_by(data, bytes.fromhex(row.value["hpke"]), seat.keys)
    view.applied(signed)
    return signed


async def sign(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Vouch for another seat's new keys: a named person has heard their fingerprint from the agency itself."""
    name = parsed(command.value["request"])
    check_heard(ctx, name, command.value["heard"])
    row, seat = _found(ctx, name)
    made = drawn(command)
    if not made:
        made = {"call_id": ctx.random(16).hex(), "statement": _signed(ctx, seat, row).to_bytes().hex()}
        with ctx.spool.transaction():
            keep(ctx, command, made)
            said = {"what": "rekey sign", "seat": shown(seat.sid), "actor": command.value["actor_ref"]}
            ctx.spool.memory.log_reading({**said, "request": shown(name)}, ctx.now())
    call_id, signed = bytes.fromhex(made["call_id"]), SignedStatement.from_bytes(bytes.fromhex(made["statement"]))
    request = StateRequest(call_id=call_id, seat_id=seat.sid, statement=signed)
    answer = await ctx.kept_call("/v1/seats:state", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.spool.memory.want_proof(answer.leaf_hash, "statement", ctx.now(), seat.sid)
        cases.add_statement(ctx, seat, signed)
        signed_by = {"signed_by": command.value["actor_ref"], "signed_at": shown_moment(ctx.now())}
        ctx.spool.rekeys.put(name, RekeyState.SIGNED, {**row.value, **signed_by})
    back = rekeying.halves(bytes.fromhex(row.value["rekey"]))[1]
    return {"request": shown(name), "role": row.value["role"], "read_aloud": back}


def listed(ctx: Context) -> list[dict[str, Any]]:
    """Requests of others for the command line; the half to read aloud only where it was signed."""
    return [
        {
            "request": shown(row.name), "state": row.state.value, "ref": row.value["ref"], "role": row.value["role"],
            "at": row.value["at"], "signed_by": row.value.get("signed_by"),
            "read_aloud": rekeying.halves(bytes.fromhex(row.value["rekey"]))[1] if "signed_by" in row.value else None,
        }
        for row in ctx.spool.rekeys.asked()
    ]  # fmt: skip
