"""A discloser seat's consent ledger as a bitemporal view, built act by act.

Two axes. *Known*: which acts were recorded (`recorded_at_us`, or `ledger_seq`); `as_known` goes back along it.
*Valid*: the moment asked about, `DecisionRequest.at_us`; every record keeps from when to when it holds. An act only
adds records or ends them from a moment on, so what was known at a time never changes when the ledger grows.

A view that met something it cannot follow (a gap, a wrong head, unreadable bytes, an act it does not know) is
`broken`: nothing is released on it, and no later act mends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from consent import standing
from consent.conditions import opens
from consent.records import (
    ALWAYS,
    FOREVER,
    Block,
    Grant,
    Part,
    Pause,
    Withdrawal,
    block_of,
    grant_of,
    lift_of,
    narrowed_from,
    withdrawal_of,
)
from schemas import codes
from schemas.acts import ConsentAct, HeadLink, Holder, LedgerEvent, Terms
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


STEP = 32
"""Acts between two marks of a view."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What was recorded and neither opens nor closes anything; `kind` is a word of list `record`."""

    consent_id: bytes
    kind: str
    recorded_at_us: int


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What a seat's ledger says. Build with `empty()` and `applied`, or `view_of`.

    `recorded_at_us` is the newest act's time: whoever asks about *now* asks about no earlier moment than that, or a
    slow clock would look at the time before a withdrawal. `grants` holds an amended consent once for each of its terms;
    `noted` is what only stands in the history; `early` what narrows consents not seen yet; `named_units` every unit
    code that any act names as recipient, to permit or to forbid. `marks`: this view after every `STEP` of its acts, so
    that going back in a long history reads a few acts anew and not all.
    """

    ledger_seq: int = 0
    head: bytes = ZERO32
    recorded_at_us: int = 0
    grants: tuple[Grant, ...] = ()
    blocks: tuple[Block, ...] = ()
    early: tuple[tuple[bytes, Withdrawal | Part | Pause], ...] = ()
    noted: tuple[Noted, ...] = ()
    named_units: frozenset[str] = frozenset()
    events: tuple[LedgerEvent, ...] = ()
    broken: bool = False
    marks: tuple[LedgerView, ...] = field(default=(), repr=False, compare=False)

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
        if self.events and len(self.events) % STEP == 0:
            grown = replace(grown, marks=(*self.marks, self))
        return grown if act is None else _act(grown, act, event)

    def as_known(self, known_at_us: int | None = None, *, ledger_seq: int | None = None) -> LedgerView:
        """The view at an earlier time of recording, or after act number `ledger_seq`; both given: the earlier."""
        kept: list[LedgerEvent] = []
        for event in self.events:
            late = known_at_us is not None and event.recorded_at_us > known_at_us
            if late or (ledger_seq is not None and event.ledger_seq > ledger_seq):
                break
            kept.append(event)
        if len(kept) == len(self.events):
            return self
        # INVARIANT: test_going_back_is_reading_anew
        passed = min(len(kept) // STEP, len(self.marks))
        return view_of(kept[passed * STEP :], start=self.marks[passed - 1] if passed else None)

    def _follows(self, event: LedgerEvent) -> bool:
        return (
            event.ledger_seq == self.ledger_seq + 1
            and event.recorded_at_us >= self.recorded_at_us
            and event.head == head_after(self.head, event.ledger_seq, event.act, event.holders, event.recorded_at_us)
        )


def view_of(
    events: Iterable[LedgerEvent], known_at_us: int | None = None, *, start: LedgerView | None = None
) -> LedgerView:
    """The view of a whole ledger, acts in order; `known_at_us` leaves out what was recorded later.

    With `start` the acts that follow that view.
    """
    view = LedgerView.empty() if start is None else start
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
    if act.act in codes.consent_acts("NEITHER"):
        return frozenset()  # asked for and not given: it names nobody
    refs = (*(act.terms.recipients if act.terms else ()), *(act.scope.recipients if act.scope else ()))
    return frozenset(ref.id for ref in refs if ref.kind == "UNIT")


def _act(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    match act.act:
        case "GRANT":
            return _granted(view, act, event)
        case "AMEND":
            return _amended(view, act, event)
        case "RESUME":
            return _resumed(view, act, event)
        case "UNBLOCK":
            return _unblocked(view, act, event)
        case "LIFT":
            return _lifted(view, act, event)
        case "REQUEST" | "REFUSE" | "CONFIRM":
            return _noted(view, act, event.recorded_at_us)
        case _:
            return _narrowed(view, act, event.recorded_at_us)


def _noted(view: LedgerView, act: ConsentAct, recorded: int) -> LedgerView:
    """Keep it for the history; a confirmation says when to ask the person next."""
    if act.act == "CONFIRM" and act.review_by_us is not None:
        view = replace(
            view,
            grants=tuple(
                replace(grant, review_us=act.review_by_us) if grant.consent_id == act.consent_id else grant
                for grant in view.grants
            ),
        )
    return replace(view, noted=(*view.noted, Noted(act.consent_id, act.act, recorded)))


def _narrowed(view: LedgerView, act: ConsentAct, recorded: int) -> LedgerView:
    since = narrowed_from(act, recorded)
    match act.act:
        case "WITHDRAW":
            return _withdrawn(view, act.consent_id, withdrawal_of(act, recorded))
        case "ANNUL" | "ANNUL_WRONG_PERSON":
            # Never valid: asked with what is known from now on, it covered nothing at any time.
            return _withdrawn(view, act.consent_id, Withdrawal(ALWAYS, standing.INVALIDATED))
        case "SUSPEND":
            return _withdrawn(view, act.consent_id, Pause(since, FOREVER))
        case "WITHDRAW_ALL":
            return _ended(view, Withdrawal(since, standing.WITHDRAWN), lambda one: ends(act, one))
        case "EXPIRE":
            return _ended(view, Withdrawal(since, standing.EXPIRED), lambda one: ends(act, one))
        case "LAPSE":
            stop = Withdrawal(since, standing.GUARDIAN_AUTHORITY_ENDED)
            return _ended(view, stop, lambda one: ends(act, one))
        case "BLOCK":
            return replace(view, blocks=(*view.blocks, block_of(act, recorded)))
        case _:
            return replace(view, broken=True)


def ends(act: ConsentAct, grant: Grant) -> bool:
    """Whether a narrowing act that was recorded after a grant ends it, rests it, or takes a part of it."""
    match act.act:
        case "WITHDRAW_ALL":
            return True
        case "EXPIRE":  # of an event nobody knows: whatever was to end with one
            unknown = act.ended_event not in codes.table()["ending_event"]
            return grant.until_event is not None and (unknown or grant.until_event == act.ended_event)
        case "LAPSE":
            return lapses(act, grant.represented_by)
        case _:
            return act.consent_id == grant.consent_id


def lapses(act: ConsentAct, representatives: frozenset[int]) -> bool:
    """Whether a LAPSE ends what these persons gave as representatives; one that names nobody means all.

    INVARIANT: test_when_anybody_s_authority_ends_what_rests_on_it_ends.
    """
    whose = frozenset((act.scope.givers or ()) if act.scope else ())
    return bool(representatives & whose if whose else representatives)


def _granted(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """Add a consent. A consent id is granted once: other terms under it make both invalid from then on."""
    view = _superseding(view, act.terms, event.recorded_at_us)
    if act.terms is not None and not opens(act.terms):
        # INVARIANT: test_what_is_no_waiver_opens_nothing. Nor does a waiver under the same id, before it or after.
        view = _withdrawn(view, act.consent_id, Withdrawal(event.recorded_at_us, standing.INVALIDATED))
        return replace(view, noted=(*view.noted, Noted(act.consent_id, str(act.terms.kind), event.recorded_at_us)))
    grant = grant_of(act, event, hashlib.sha256(event.act).digest())
    earlier = [known for known in view.grants if known.consent_id == act.consent_id]
    if earlier:
        if any(known.act_hash == grant.act_hash for known in earlier):
            return view
        return _withdrawn(view, act.consent_id, Withdrawal(event.recorded_at_us, standing.INVALIDATED))
    for consent_id, narrowing in view.early:
        if consent_id == act.consent_id:
            grant = _with(grant, narrowing)
    return replace(view, grants=(*view.grants, grant))


def _superseding(view: LedgerView, terms: Terms | None, recorded: int) -> LedgerView:
    if terms is None or terms.supersedes is None:
        return view
    return _withdrawn(view, terms.supersedes, Withdrawal(recorded, standing.SUPERSEDED))


def _amended(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """New terms of a consent from now on; what narrowed the consent narrows them too.

    INVARIANT: test_an_amendment_revives_nothing. Terms that were in force once do not come back by being sent again.
    """
    view = _superseding(view, act.terms, event.recorded_at_us)
    known = [grant for grant in view.grants if grant.consent_id == act.consent_id]
    if not known:
        return _withdrawn(view, act.consent_id, Withdrawal(event.recorded_at_us, standing.INVALIDATED))
    new = grant_of(act, event, hashlib.sha256(event.act).digest())
    if any(one.act_hash == new.act_hash for one in known):
        return view
    old = known[-1]
    if act.terms is not None and not opens(act.terms):
        new = replace(new, fault=new.fault | standing.INVALIDATED)
    new = replace(
        new,
        since_us=event.recorded_at_us,
        stops=old.stops,
        parts=old.parts,
        pauses=old.pauses,
        end_us=min([new.end_us, *(stop.from_us for stop in old.stops)]),
    )
    over = replace(old, replaced_us=event.recorded_at_us, end_us=min(old.end_us, event.recorded_at_us))
    return replace(view, grants=(*(over if one is old else one for one in view.grants), new))


def _resumed(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """End the suspensions of a consent from now on; unsigned or partial resuming is not understood and ends none."""
    if event.signature is None or act.scope is not None:
        return view
    last = max(event.recorded_at_us, event.recorded_at_us if act.effective_at_us is None else act.effective_at_us)

    def rested(pause: Pause) -> Pause:
        return Pause(pause.from_us, min(pause.until_us, last))

    return replace(
        view,
        grants=tuple(
            replace(grant, pauses=tuple(map(rested, grant.pauses))) if grant.consent_id == act.consent_id else grant
            for grant in view.grants
        ),
        early=tuple(
            (known, rested(one) if known == act.consent_id and isinstance(one, Pause) else one)
            for known, one in view.early
        ),
    )


def _withdrawn(view: LedgerView, consent_id: bytes, narrowing: Withdrawal | Part | Pause) -> LedgerView:
    if all(grant.consent_id != consent_id for grant in view.grants):
        return replace(view, early=(*view.early, (consent_id, narrowing)))
    return _ended(view, narrowing, lambda grant: grant.consent_id == consent_id)


def _ended(view: LedgerView, narrowing: Withdrawal | Part | Pause, which: Callable[[Grant], bool]) -> LedgerView:
    return replace(view, grants=tuple(_with(grant, narrowing) if which(grant) else grant for grant in view.grants))


def _with(grant: Grant, narrowing: Withdrawal | Part | Pause) -> Grant:
    """The grant with one more withdrawal or suspension; they only ever add up."""
    if isinstance(narrowing, Pause):
        return replace(grant, pauses=(*grant.pauses, narrowing))
    if isinstance(narrowing, Part):
        return replace(grant, parts=(*grant.parts, narrowing))
    return replace(grant, stops=(*grant.stops, narrowing), end_us=min(grant.end_us, narrowing.from_us))


def _unblocked(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """End a block from now on; unsigned or partial ending is not understood and ends nothing."""
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


def _lifted(view: LedgerView, act: ConsentAct, event: LedgerEvent) -> LedgerView:
    """Lift a block, or a part of it, for a while."""

    def one(block: Block) -> Block:
        lift = lift_of(act, event, block) if block.consent_id == act.consent_id else None
        return block if lift is None else replace(block, lifts=(*block.lifts, lift))

    return replace(view, blocks=tuple(map(one, view.blocks)))
