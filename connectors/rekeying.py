"""This unit's seats whose keys are lost with no backup: asking for new ones, until two others have vouched for them.

What the broker tells of a lost seat is believed only as far as it chains to the pin that a person at another agency
read half of aloud. The consents it hands out are this seat's own words, and that none was held back nobody here can
know any more: they permit nothing until a named person has confirmed each (`persons.py`); what narrows is obeyed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from connectors import identity, keeping, ledgers, replacing, trust
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.keys import SeatKeyPair
from connectors.membership import CaseMembers
from connectors.spool.commands import Waiting
from connectors.spool.rekeys import RekeyState
from schemas import limits
from schemas.acts import SeatHead
from schemas.calls import SeatAnswer
from schemas.checks import sha256
from schemas.codes import SeatState
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, parsed, shown
from schemas.inbox import ConsentEnded, InboxItem, LedgerNotice, Notice, Recall, Receipt, StatementNotice
from schemas.rekey import LostSeat, LostSeatsAnswer, LostSeatsRequest, Rekey, RekeyNotice, RekeyRequest
from schemas.said import AnnulNotice
from schemas.statements import MemberStatement, SignedStatement

_LOOKED = "rekey-looked"
_BODY = limits.SUBMISSION + 64 * 1024
_OfASeat = (
    Delivery | Recall | ConsentEnded | LedgerNotice | Receipt | Notice | StatementNotice | AnnulNotice | RekeyNotice
)
_OF_A_SEAT: dict[str, type[_OfASeat]] = {
    "DELIVERY": Delivery, "RECALL": Recall, "ENDED": ConsentEnded, "LEDGER": LedgerNotice, "RECEIPT": Receipt,
    "NOTICE": Notice, "STATEMENT": StatementNotice, "ANNULMENT": AnnulNotice, "REKEY": RekeyNotice,
}  # fmt: skip


async def look(ctx: Context, heads: Iterable[SeatHead] | None) -> int:
    """Find out which seats the broker counts as this unit's and no key is here for; how many are new.

    With `heads` None before the first fetch of an empty spool: what it hands over would count as handed over before.
    """
    known = {seat.seat_id for seat in ctx.identities.all()} | {row.name for row in ctx.spool.rekeys.own()}
    unknown = sorted(one.seat_id.hex() for one in heads or () if one.seat_id not in known)
    mark = json.dumps(unknown).encode()
    before = ctx.spool.memory.get(_LOOKED)
    if before == mark or (heads is None and (before is not None or known)) or (heads is not None and not unknown):
        return 0
    mine = {seat.member for seat in ctx.identities.all()}
    found, after, more = 0, ZERO16, True
    while more:
        try:
            answer = await ctx.link.call("/v1/seats:lost", LostSeatsRequest(after=after), LostSeatsAnswer, tries=2)
        except HandslagError as error:
            if error.code == "HS-CALL-UNKNOWN":  # a broker of before: the inbox goes on as it did
                return found
            raise
        more = answer.more and bool(answer.seats) and answer.seats[-1].seat_id > after
        after = answer.seats[-1].seat_id if answer.seats else after
        with ctx.spool.transaction():
            for told in answer.seats:
                if told.seat_id not in known and told.member not in mine:
                    ctx.spool.rekeys.put(told.seat_id, RekeyState.LOST, _value(told))
                    _tell(ctx, told.seat_id, {"kind": "seat_lost", "role": told.role, "may_sign": list(told.may_sign)})
                    found += 1
    ctx.spool.memory.put(_LOOKED, mark)
    return found


def _value(told: LostSeat) -> dict[str, Any]:
    return {
        "role": told.role,
        "member": told.member.hex(),
        "chain": told.chain.hex(),
        "statements": [one.to_bytes().hex() for one in told.statements],
        "may_sign": list(told.may_sign),
        "handed": [event_id.hex() for event_id in told.handed],
    }


def waits(ctx: Context, item: InboxItem) -> bool:
    """Whether an item is left with the broker: its seat has no keys here yet, or nobody knows whose it is."""
    # INVARIANT: test_what_comes_for_a_lost_seat_stays_with_the_broker
    kind = _OF_A_SEAT.get(item.kind)
    if kind is None or ctx.spool.rekeys.empty():
        return False
    try:
        seat_id: bytes = kind.from_bytes(item.body, _BODY).seat_id
    except HandslagError:
        return False
    seat = ctx.identities.by_seat_id(seat_id)
    if seat is None:
        return ctx.spool.rekeys.get(seat_id) is not None
    return not seat.identified and item.kind != "STATEMENT"


def without(ctx: Context) -> tuple[bytes, ...] | None:
    """Seats whose deliveries the broker is to keep: nothing may count as handed over that nobody here can take."""
    # INVARIANT: test_what_comes_for_a_lost_seat_stays_with_the_broker
    if ctx.spool.rekeys.empty():
        return None
    taken = {seat.seat_id for seat in ctx.identities.all() if seat.identified}
    return tuple(row.name for row in ctx.spool.rekeys.own() if row.name not in taken)[: limits.SEATS_WITHOUT] or None


def handed_before(ctx: Context, seat: Seat, event_id: bytes) -> bool:
    """Whether the lost connector may have given an event of a seat to the agency's system: it had fetched it."""
    row = ctx.spool.rekeys.get(seat.sid) if seat.key_floor else None
    return row is not None and event_id.hex() in row.value["handed"]


async def ask(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Draw new keys for a lost seat, make them durable here and in a backup, and ask two others to vouch for them."""
    seat_id = parsed(command.value["seat"])
    row = ctx.spool.rekeys.get(seat_id)
    if row is None or row.state not in {RekeyState.LOST, RekeyState.ASKED}:
        raise HandslagError("HS-REKEY-NONE", field="seat")
    made = drawn(command) or _drawn(ctx, command, seat_id, row.value)
    # INVARIANT: test_a_new_key_of_a_lost_seat_is_published_only_after_it_is_kept
    await keeping.kept(ctx)
    seat = ctx.identities.get(made["ref"])
    rekey, call_id = bytes.fromhex(made["rekey"]), bytes.fromhex(made["call_id"])
    request = RekeyRequest(
        call_id=call_id,
        seat_id=seat_id,
        rekey=rekey,
        unit_signature=ctx.unit_keys.sign(rekey),
        hpke_key=seat.keys.public.hpke,
    )
    answer = await ctx.kept_call("/v1/seats:rekey", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.identities.update(replace(seat, state=SeatState.ACCEPTED))
        ctx.spool.rekeys.put(seat_id, RekeyState.ASKED, {**row.value, "rekey": made["rekey"]})
        ctx.spool.memory.want_proof(answer.leaf_hash, "seat", ctx.now(), seat_id)
    return {"seat": shown(seat_id), "read_aloud": halves(rekey)[0], "may_sign": row.value["may_sign"]}


def _drawn(ctx: Context, command: Waiting, seat_id: bytes, value: dict[str, Any]) -> dict[str, Any]:
    keys, member, chain = SeatKeyPair.generate(), bytes.fromhex(value["member"]), bytes.fromhex(value["chain"])
    view, used, opening = _view(ctx, [SignedStatement.from_bytes(bytes.fromhex(one)) for one in value["statements"]])
    newest = view.members.get(chain)
    if newest is None:
        raise HandslagError("HS-KEY-UNTRUSTED", check="member")
    statement = replacing.statement_of(
        case_tag=view.case_tag, newest=newest, keys=keys.public, slots=view.slots, at_us=ctx.now()
    )
    rekey = Rekey(pin=view.pin, statement=statement).to_bytes()
    seat = Seat(
        ref=f"lost-{seat_id.hex()[:16]}",
        seat_id=seat_id,
        state=identity.OPENING,
        role=newest.role,
        case_tag=view.case_tag,
        member=member,
        chain=chain if chain != member else b"",
        private=keys.private_bytes(),
        pin=view.pin,
        lead_statement=opening.to_bytes(),
        acceptance=b"",
        units={member.hex(): ctx.settings.unit},
        identified=False,
        key_floor=newest.seq + 1,
    )
    with ctx.spool.transaction():
        before = ctx.identities.find(seat.ref)
        if before is None:
            ctx.identities.add(seat)
        else:
            ctx.identities.update(replace(seat, state=before.state))
        handle = ctx.identities.case_handle(view.case_tag)
        for one in used:
            ctx.spool.memory.add_statement(handle, sha256(one.to_bytes()), one.to_bytes())
        return keep(ctx, command, {"call_id": ctx.random(16).hex(), "ref": seat.ref, "rekey": rekey.hex()})


def _view(
    ctx: Context, statements: Iterable[SignedStatement]
) -> tuple[CaseMembers, list[SignedStatement], SignedStatement]:
    """The case as the broker tells it, what of it holds together in its order, and the opening that it begins with."""
    ones = list(statements)
    opening = next((one for one in ones if MemberStatement.from_bytes(one.statement).kind == "OPEN"), None)
    if opening is None:
        raise HandslagError("HS-KEY-UNTRUSTED", check="pin")
    view = CaseMembers.pinned(opening, sha256(opening.statement), ctx.settings.slots)
    used, left, before = [], [one for one in ones if one is not opening], -1
    while left and len(left) != before:
        before, again = len(left), []
        for one in left:
            try:
                grown = view.applied(one)
            except HandslagError:
                again.append(one)
                continue
            if grown is not view:
                used.append(one)
            view = grown
        left = again
    return view, used, opening


def halves(rekey: bytes) -> tuple[str, str]:
    """What the asking side reads aloud, and what it must hear back: each types the half that the other reads."""
    digits = sha256(rekey).hex()
    words = [" ".join(part[at : at + 4] for at in range(0, 32, 4)) for part in (digits[:32], digits[32:])]
    return words[0], words[1]


def same(heard: str, half: str) -> bool:
    """Whether a half as typed is that half, however it is grouped."""
    return trust.normal(heard) == trust.normal(half)


def check_heard(ctx: Context, seat_id: bytes, heard: str) -> None:
    """Raise `HS-REKEY-COMPARE` for another half than the one that must come back, `HS-REKEY-NONE` for no request."""
    # INVARIANT: test_a_seat_is_not_taken_back_on_the_brokers_word
    row = ctx.spool.rekeys.get(seat_id)
    if row is None or row.state not in {RekeyState.ASKED, RekeyState.COMPARED}:
        raise HandslagError("HS-REKEY-NONE", field="seat")
    if not same(heard, halves(bytes.fromhex(row.value["rekey"]))[1]):
        raise HandslagError("HS-REKEY-COMPARE", field="heard")


async def compare(ctx: Context, command: Waiting) -> dict[str, Any]:
    """A person typed what a vouching agency read back: the case is the one that this agency sits in."""
    seat_id = parsed(command.value["seat"])
    check_heard(ctx, seat_id, command.value["heard"])
    row = ctx.spool.rekeys.get(seat_id)
    assert row is not None
    with ctx.spool.transaction():
        told = {**row.value, "compared_by": command.value["actor_ref"], "compared_at_us": ctx.now()}
        ctx.spool.rekeys.put(seat_id, RekeyState.COMPARED, told)
    await step(ctx)
    return {"seat": shown(seat_id), "state": RekeyState.COMPARED.value}


async def step(ctx: Context) -> int:
    """Take seats back whose new keys two others have vouched for and a person has compared; returns how many."""
    done = 0
    for row in ctx.spool.rekeys.own():
        seat = ctx.identities.by_seat_id(row.name)
        if row.state is not RekeyState.COMPARED or seat is None or not _vouched(ctx, seat):
            continue
        await ledgers.sync(ctx, seat)
        with ctx.spool.transaction():
            seat = ctx.identities.get(seat.ref)
            seq, _head = ctx.spool.memory.head(seat.sid)
            ctx.identities.update(replace(seat, state=SeatState.ACTIVE, borrowed_seq=seq))
            ctx.spool.rekeys.put(row.name, RekeyState.DONE, row.value)
            _tell(ctx, row.name, {"kind": "seat_rekeyed", "role": seat.role, "identified": False})
        done += 1
    return done


def _vouched(ctx: Context, seat: Seat) -> bool:
    view = ctx.members(seat)
    keys = (key for key in view.chains.get(seat.chain_id, ()) if key.signing == seat.keys.public.signing)
    return any(view.standing.vouched(key) is not None for key in keys)


def _tell(ctx: Context, seat_id: bytes, value: dict[str, Any]) -> None:
    name = f"{value['kind'].replace('_', '-')}-{seat_id.hex()}"
    ctx.spool.incoming.put(name, "receipts", {**value, "seat": shown(seat_id), "at": shown_moment(ctx.now())})


def listed(ctx: Context) -> list[dict[str, Any]]:
    """Lost seats for the command line: state, role, who may vouch, and what is to be read aloud."""
    found = []
    for row in ctx.spool.rekeys.own():
        asked = row.state in {RekeyState.ASKED, RekeyState.COMPARED}
        read = halves(bytes.fromhex(row.value["rekey"]))[0] if asked else None
        found.append({
            "seat": shown(row.name), "state": row.state.value, "role": row.value["role"],
            "may_sign": row.value["may_sign"], "read_aloud": read,
        })  # fmt: skip
    return found
