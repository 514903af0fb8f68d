"""A discloser seat's consent ledger as a bitemporal view, built act by act.

Two axes. *Known*: which acts were recorded (`recorded_at_us`, or `ledger_seq`); `as_known` goes back along it.
*Valid*: the moment asked about, `DecisionRequest.at_us`; every record keeps from when to when it holds. An act only
adds records or ends them from a moment on, so what was known at a time never changes when the ledger grows.

A view that met something it cannot follow (a gap, a wrong head, unreadable bytes, an act it does not know) is
`broken`: nothing is released on it, and no later act mends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from consent import standing
from consent.records import (
    ALWAYS,
    Block,
    Grant,
    Withdrawal,
    block_of,
    grant_of,
    narrowed_from,
    withdrawal_of,
)
from schemas.acts import ConsentAct, HeadLink, Holder, LedgerEvent
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32


def head_after(prev: bytes, ledger_seq: int, act: bytes, holders: tuple[Holder, ...], recorded_at_us: int) -> bytes:
    """The ledger's head (32 bytes) after `act` (its bytes as received) as number `ledger_seq`."""
    link = HeadLink(
        prev=prev,
        ledger_seq=ledger_seq,
        act_hash=hashlib.sha256(act).digest(),
        holders=holders,
        recorded_at_us=recorded_at_us,
    )
    return hashlib.sha256(link.to_bytes()).digest()


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What a seat's ledger says. Build with `empty()` and `applied`, or `view_of`.

    `recorded_at_us` is the newest act's time: whoever asks about *now* asks about no earlier moment than that, or a
    slow clock would look at the time before a withdrawal. `early` holds withdrawals of consents not seen yet;
    `named_units` every unit code that any act names as recipient, to permit or to forbid.
    """

    ledger_seq: int = 0
    head: bytes = ZERO32
    recorded_at_us: int = 0
    grants: tuple[Grant, ...] = ()
    blocks: tuple[Block, ...] = ()
    early: tuple[tuple[bytes, Withdrawal], ...] = ()
    named_units: frozenset[str] = frozenset()
    events: tuple[LedgerEvent, ...] = ()
    broken: bool = False

    @classmethod
    def empty(cls) -> LedgerView:
        """The ledger of a new seat."""
        return cls()

    def applied(self, event: LedgerEvent) -> LedgerView:
        """This view after one more act; never raises for what the act contains.

        INVARIANT: test_unreadable_fails_closed.
        """
        act = _read(event) if self._follows(event) else None
        grown = replace(
            self,
            ledger_seq=event.ledger_seq,
            head=event.head,
            recorded_at_us=max(self.recorded_at_us, event.recorded_at_us),
            events=(*self.events, event),
            broken=self.broken or act is None,
            named_units=self.named_units if act is None else self.named_units | _units(act),
        )
        return grown if act is None else _act(grown, act, event)

    def as_known(self, known_at_us: int | None = None, *, ledger_seq: int | None = None) -> LedgerView:
        """The view at an earlier time of recording, or after act number `ledger_seq`; both given: the earlier."""
        kept: list[LedgerEvent] = []
        for event in self.events:
            late = known_at_us is not None and event.recorded_at_us > known_at_us
            if late or (ledger_seq is not None and event.ledger_seq > ledger_seq):
                break
            kept.append(event)
        return self if len(kept) == len(self.events) else view_of(kept)

    def _follows(self, event: LedgerEvent) -> bool:
        return (
            event.ledger_seq == self.ledger_seq + 1
            and event.recorded_at_us >= self.recorded_at_us
            and event.head == head_after(self.head, event.ledger_seq, event.act, event.holders, event.recorded_at_us)
        )


def view_of(events: Iterable[LedgerEvent], known_at_us: int | None = None) -> LedgerView:
    """The view of a whole ledger, acts in order; `known_at_us` leaves out what was recorded later."""
    view = LedgerView.empty()
    for event in events:
        if known_at_us is not None and event.recorded_at_us > known_at_us:
            break
        view = view.applied(event)
    return view


def _read(event: LedgerEvent) -> ConsentAct | None:
    try:
        return ConsentAct.from_bytes(event.act)
    except HandslagError:
        return None


def _units(act: ConsentAct) -> frozenset[str]:
    refs = (*(act.terms.recipients if act.terms else ()), *(act.scope.recipients if act.scope else ()))
    return frozenset(ref.id for ref in refs if ref.kind == "UNIT")


def _act(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    recorded = event.recorded_at_us
    match act.act:
        case "GRANT":
            return _granted(view, act, event)
        case "WITHDRAW":
            return _withdrawn(view, act.consent_id, withdrawal_of(act, recorded))
        case "ANNUL" | "ANNUL_WRONG_PERSON":
            # Never valid: asked with what is known from now on, it covered nothing at any time.
            return _withdrawn(view, act.consent_id, Withdrawal(ALWAYS, standing.INVALIDATED, None))
        case "SUSPEND" | "AMEND":
            # Neither exists yet. Whatever the new terms are, the old ones are no longer what the person said.
            return _withdrawn(view, act.consent_id, Withdrawal(narrowed_from(act, recorded), standing.SUSPENDED, None))
        case "WITHDRAW_ALL":
            stop = Withdrawal(narrowed_from(act, recorded), standing.WITHDRAWN, None)
            return replace(view, grants=tuple(_with(grant, stop) for grant in view.grants))
        case "BLOCK":
            return replace(view, blocks=(*view.blocks, block_of(act, recorded)))
        case "UNBLOCK":
            return _unblocked(view, act, event)
        case "RESUME":
            return view
        case _:
            return replace(view, broken=True)


def _granted(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """Add a consent. A consent id is granted once: other terms under it make both invalid from then on."""
    grant = grant_of(act, event, hashlib.sha256(event.act).digest())
    earlier = next((known for known in view.grants if known.consent_id == act.consent_id), None)
    if earlier is not None:
        if earlier.act_hash == grant.act_hash:
            return view
        return _withdrawn(view, act.consent_id, Withdrawal(event.recorded_at_us, standing.INVALIDATED, None))
    for consent_id, withdrawal in view.early:
        if consent_id == act.consent_id:
            grant = _with(grant, withdrawal)
    return replace(view, grants=(*view.grants, grant))


def _withdrawn(view: LedgerView, consent_id: bytes, withdrawal: Withdrawal) -> LedgerView:
    if all(grant.consent_id != consent_id for grant in view.grants):
        return replace(view, early=(*view.early, (consent_id, withdrawal)))
    return replace(
        view,
        grants=tuple(_with(grant, withdrawal) if grant.consent_id == consent_id else grant for grant in view.grants),
    )


def _with(grant: Grant, withdrawal: Withdrawal) -> Grant:
    """The grant with one more withdrawal; they only ever add up."""
    if withdrawal.reach is not None:
        return grant if withdrawal in grant.parts else replace(grant, parts=(*grant.parts, withdrawal))
    if withdrawal in grant.stops:
        return grant
    return replace(grant, stops=(*grant.stops, withdrawal), end_us=min(grant.end_us, withdrawal.from_us))


def _unblocked(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """Lift a block from now on; unsigned or partial lifting is not understood and lifts nothing."""
    if event.signature is None or act.scope is not None:
        return view
    last = max(event.recorded_at_us, event.recorded_at_us if act.effective_at_us is None else act.effective_at_us) - 1
    return replace(
        view,
        blocks=tuple(
            replace(block, until_us=min(block.until_us, last)) if block.consent_id == act.consent_id else block
            for block in view.blocks
        ),
    )
