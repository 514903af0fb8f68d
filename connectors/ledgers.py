"""This connector's own copies of its seats' consent ledgers: fetched, verified act by act, decided on before sealing.

A widening act counts only when this seat's own key signed it: a broker can hand out a withdrawal that nobody made,
which harms nobody's secret, and can never hand out a grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from connectors import fields, stated
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import verify
from consent.admission import WIDENING
from consent.decide import decide
from consent.ledger import LedgerView, head_after
from consent.terms import Decision, DecisionRequest, Party, SectionAsk
from schemas import codec, projection
from schemas.acts import CaseWithdrawal, ConsentAct, LedgerEvent, SeatHead
from schemas.calls import ConsentsAnswer, ConsentsRequest, FetchAnswer, LedgerFetchRequest, LedgerPage
from schemas.codes import table
from schemas.errors import HandslagError
from schemas.identifiers import authority_of

_UNSIGNED = "WITHDRAW_ALL"
_CONFIRMED = "ledgers_confirmed_at"
_NOTED_US = 30_000_000  # an idle beat need not write


async def sync(ctx: Context, seat: Seat) -> None:
    """Fetch what the broker recorded after our copy; raises `HS-TRAIL-ROLLBACK` (stopped), `HS-SIGNATURE-INVALID`."""
    while True:
        seq, _head = ctx.spool.memory.head(seat.sid)
        request = LedgerFetchRequest(seat_id=seat.sid, after_seq=seq)
        page = await ctx.link.call("/v1/ledger:fetch", request, LedgerPage, tries=2, pressing=True)
        take(ctx, seat, page.events)
        now_at, head = ctx.spool.memory.head(seat.sid)
        if now_at >= page.ledger_seq or not page.events:
            break
    if (now_at, head) != (page.ledger_seq, page.head) and now_at <= page.ledger_seq:
        _contradicted(ctx, page.to_bytes())


def take(ctx: Context, seat: Seat, events: Iterable[LedgerEvent]) -> None:
    """Append acts that follow our copy; ones we hold already are skipped.

    Raises `HS-TRAIL-ROLLBACK` for a break in the chain of heads or for another act under a number we hold,
    `HS-SIGNATURE-INVALID` for an act this seat did not sign; nothing is appended then.
    """
    # INVARIANT: test_a_broker_cannot_hand_out_a_grant
    memory = ctx.spool.memory
    with ctx.spool.transaction():
        for event in events:
            seq, head = memory.head(seat.sid)
            if event.ledger_seq <= seq:
                held = memory.ledger(seat.sid, event.ledger_seq - 1)[0]
                if held.head != event.head:
                    raise HandslagError("HS-TRAIL-ROLLBACK", check="ledger")
                continue
            linked = head_after(head, event.ledger_seq, event.act, event.holders, event.recorded_at_us)
            if event.ledger_seq != seq + 1 or linked != event.head:
                raise HandslagError("HS-TRAIL-ROLLBACK", check="ledger")
            act = ConsentAct.from_bytes(event.act)
            # INVARIANT: test_a_grant_kept_back_opens_nothing_after_a_withdrawal
            if act.act in WIDENING and act.prev != head:
                raise HandslagError("HS-TRAIL-ROLLBACK", check="ledger")
            _check_signed(ctx, seat, event)
            memory.add_ledger(seat.sid, [event])


def require_recorded(ctx: Context, seat: Seat, request: ConsentsRequest, answer: ConsentsAnswer) -> None:
    """Raise `HS-NOT-RECORDED` unless our own copy holds the act under the number and head that the broker answered.

    "Recorded" is only a word: a broker that says it and keeps the act back must not lift a local stop.
    """
    # INVARIANT: test_a_broker_that_only_says_recorded_lifts_no_stop
    held = ctx.spool.memory.ledger(seat.sid, answer.ledger_seq - 1)[:1] if answer.ledger_seq else []
    if held and held[0].ledger_seq == answer.ledger_seq and held[0].head == answer.head:
        whole = codec.name_of(request.act) == CaseWithdrawal.SCHEMA
        if ConsentAct.from_bytes(held[0].act).act == _UNSIGNED if whole else held[0].act == request.act:
            return
    raise HandslagError("HS-NOT-RECORDED")


def _check_signed(ctx: Context, seat: Seat, event: LedgerEvent) -> None:
    act = ConsentAct.from_bytes(event.act)
    if act.member != seat.member or act.case_tag != seat.case_tag:
        raise HandslagError("HS-SIGNATURE-INVALID", check="ledger")
    if act.act == _UNSIGNED and event.signature is None:
        return
    if event.signature is None:
        raise HandslagError("HS-SIGNATURE-INVALID", check="ledger")
    # An act is signed with the keys of its day; all of them stand in this seat's own statements. What came after the
    # keys were lost and replaced, the lost ones did not sign.
    # INVARIANT: test_an_act_signed_with_the_lost_key_after_its_end_is_refused
    floor = seat.key_floor if seat.active and event.ledger_seq > seat.borrowed_seq else 0
    chains = ctx.members(seat).chains
    of_own = (key for own in (seat.member, seat.chain_id) for key in chains.get(own, ()))
    earlier = {key.signing for key in of_own if key.seq >= floor} - {seat.keys.public.signing}
    if not any(_signed(key, event.signature, event.act) for key in earlier):
        seat.keys.public.verify(event.signature, event.act)


def _signed(key: bytes, signature: bytes, act: bytes) -> bool:
    try:
        verify(key, signature, act)
    except HandslagError:
        return False
    return True


async def compare(ctx: Context, heads: Iterable[SeatHead], before: dict[bytes, tuple[int, bytes]]) -> None:
    """Check the heads of an answer against what we held before the call, and fetch what is new.

    A broker that is behind us, or tells another head for the same number, has lost or changed acts: stop.
    """
    for each in heads:
        seat = ctx.identities.by_seat_id(each.seat_id)
        if seat is None:
            continue
        seq, head = before.get(each.seat_id, (0, bytes(32)))
        if each.ledger_seq < seq or (each.ledger_seq == seq and each.head != head):
            _contradicted(ctx, FetchAnswer(items=(), heads=(each,)).to_bytes())
        if each.ledger_seq > ctx.spool.memory.head(each.seat_id)[0]:
            try:
                await sync(ctx, seat)
            except HandslagError as error:
                if error.code in {"HS-TRAIL-ROLLBACK", "HS-SIGNATURE-INVALID"}:
                    _contradicted(ctx, FetchAnswer(items=(), heads=(each,)).to_bytes())
                raise


def confirmed(ctx: Context) -> None:
    """Note that the broker just told the head of every seat here and that our copies agree; kept to the half minute."""
    before = confirmed_at(ctx)
    if before is None or not 0 <= ctx.now() - before < _NOTED_US:
        ctx.spool.memory.put(_CONFIRMED, ctx.now().to_bytes(8, "big"))


def confirmed_at(ctx: Context) -> int | None:
    """When our copies were last known to be whole, in microseconds; None before the first answer."""
    held = ctx.spool.memory.get(_CONFIRMED)
    return None if held is None else int.from_bytes(held, "big")


def _contradicted(ctx: Context, evidence: bytes) -> None:
    ctx.witness.halt("HS-TRAIL-ROLLBACK", evidence, ctx.now())
    raise HandslagError("HS-TRAIL-ROLLBACK", check="ledger")


def view(ctx: Context, seat: Seat) -> LedgerView:
    """What our copy of the seat's ledger says."""
    return ctx.ledger(seat)


def named(ctx: Context, seat: Seat) -> frozenset[bytes]:
    """Ids of every consent and block that our copy of the seat's ledger speaks of."""
    return frozenset(ConsentAct.from_bytes(event.act).consent_id for event in view(ctx, seat).events)


def recipient(ctx: Context, seat: Seat, role: str) -> Party:
    """The role as a party of a decision, as far as this seat knows it; nobody when no key is vouched for."""
    authority = str(table()["role"][role]["authority"])
    try:
        found: bytes | None = ctx.members(seat).holder(role, ctx.now()).member
    except HandslagError as error:
        # Whose keys have lapsed for a while holds its role all the same: the consent is not touched by that.
        found = ctx.members(seat).seated(role) if error.code == "HS-KEY-EXPIRED" else None
    if found is None:
        return Party(role=role, authority=authority, unit=None, member=None, active=False, held=False)
    unit = seat.units.get(found.hex())
    return Party(role=role, authority=authority, unit=unit, member=known_as(seat, role, found), active=True, held=True)


def known_as(seat: Seat, role: str, member: bytes) -> bytes:
    """The id that stands in consents for a role's holder: of one who went on in another's chain of keys, its own."""
    return bytes.fromhex(seat.holders[role]) if role in seat.holders else member


def invited(role: str, unit: str) -> Party:
    """A unit that has no seat yet as a party of a decision."""
    return Party(role=role, authority=authority_of(unit), unit=unit, member=None, active=False, held=False)


def asked(
    ctx: Context,
    seat: Seat,
    to: Party,
    *,
    event_type: str,
    categories: Iterable[str],
    purpose: str,
    action: str,
    at_us: int,
    public_interest: frozenset[str] = frozenset(),
    persons: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    periods: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({}),
) -> DecisionRequest:
    """The question whether this seat may disclose these categories at a moment.

    `persons`: whom a category concerns, the person of the case where it is silent; `periods`: when its data are from.
    """
    unit = ctx.settings.unit
    return DecisionRequest(
        event_type=event_type,
        sender=Party(
            role=seat.role, authority=authority_of(unit), unit=unit, member=seat.member, active=seat.active, held=True
        ),
        recipient=to,
        sections=tuple(
            SectionAsk(
                category,
                persons.get(category, (0,)),
                category in public_interest,
                False,
                *periods.get(category, (None, None)),
            )
            for category in categories
        ),
        purpose=purpose,
        action=action,
        at_us=at_us,
    )


def decided(
    ctx: Context,
    seat: Seat,
    to: Party,
    *,
    event_type: str,
    categories: Iterable[str],
    purpose: str,
    action: str,
    public_interest: frozenset[str] = frozenset(),
    persons: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    periods: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({}),
    known: LedgerView | None = None,
) -> Decision:
    """This sender's own decision, now, on its own ledger copy or on one that is only supposed (`known`)."""
    # INVARIANT: test_what_is_not_consented_does_not_leave
    known = view(ctx, seat) if known is None else known
    request = asked(
        ctx,
        seat,
        to,
        event_type=event_type,
        categories=categories,
        purpose=purpose,
        action=action,
        # A slow clock must not look at the time before the newest act.
        at_us=max(ctx.now(), known.recorded_at_us),
        public_interest=public_interest,
        persons=persons,
        periods=periods,
    )
    return decide(request, known, ctx.rules)


def released(
    ctx: Context,
    seat: Seat,
    event: Mapping[str, Any],
    role: str,
    known: LedgerView | None = None,
    to: Party | None = None,
) -> frozenset[str]:
    """Categories of an event as it was handed in that this sender's own decision releases to a role, as `decided`.

    `to`: who is supposed to hold the role, where that is not who does.
    """
    decision = decided(
        ctx,
        seat,
        recipient(ctx, seat, role) if to is None else to,
        event_type=event["event_type"],
        categories=sorted(projection.split(event["event_type"], fields.from_json(event["event_type"], event["data"]))),
        purpose=event["purpose"],
        action=event["action"],
        public_interest=frozenset(event["public_interest_released"]),
        known=known,
        **stated.of(event),
    )
    return frozenset(section.category for section in decision.sections if section.released)
