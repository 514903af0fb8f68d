"""Recorded acts compiled for deciding: grants, blocks, and what withdrawals take out of a grant.

Reading is one-sided on purpose. What widens (a grant, lifting a block) counts only if every part of it is understood;
what narrows (a withdrawal, a block) counts for everything its unreadable part might mean.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from consent import standing
from consent.conditions import METHODS, Conditions, Facts, conditions_of, lifted, representatives
from consent.terms import THE_PERSON, Party
from schemas import codes
from schemas.acts import ConsentAct, LedgerEvent, RecipientRef, Terms
from schemas.identifiers import authority_of

FOREVER = sys.maxsize  # after every moment the schemas can hold
ALWAYS = -FOREVER
_BY_ROLE, _BY_UNIT = frozenset({"ROLE"}), frozenset({"UNIT"})
_BY_EITHER = _BY_ROLE | _BY_UNIT


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom, which categories and purposes a narrowing act meets; None means all."""

    units: frozenset[str] | None
    roles: frozenset[str]
    categories: frozenset[str] | None
    purposes: frozenset[str] | None

    def meets(self, party: Party, purpose: str) -> bool:
        """Whether it concerns this recipient and purpose; a recipient whose unit is unknown is met by its authority."""
        if self.purposes is not None and purpose not in self.purposes:
            return False
        return self.units is None or party.role in self.roles or self._unit_meets(party, self.units)

    def ways(self, party: Party) -> tuple[frozenset[str], ...]:
        """Each way in which it reaches a recipient: the kinds of name (ROLE, UNIT) that can mean it in that way."""
        if self.units is None:
            return (_BY_EITHER,)
        by_role = (_BY_ROLE,) if party.role in self.roles else ()
        return (*by_role, _BY_UNIT) if self._unit_meets(party, self.units) else by_role

    @staticmethod
    def _unit_meets(party: Party, units: frozenset[str]) -> bool:
        if party.unit is None:
            return any(authority_of(unit) == party.authority for unit in units)
        return party.unit in units

    def takes(self, category: str) -> bool:
        """Whether it concerns this category."""
        return self.categories is None or category in self.categories

    @property
    def everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self.units is None and self.categories is None and self.purposes is None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """From `from_us` on: all of one consent; `bit` is the reason it gives."""

    from_us: int
    bit: int


@dataclass(frozen=True, slots=True)
class Part:
    """From `from_us` on: what lies within `reach`, of one consent; `bit` is the reason it gives."""

    from_us: int
    bit: int
    reach: Reach


@dataclass(frozen=True, slots=True)
class Pause:
    """The person suspended a consent, from `from_us` to before `until_us`."""

    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Grant:
    """One set of terms of one consent. In force from `start_us` to before `end_us`, the earliest of all its ends.

    `holders`: (role, member) pairs; `followed`: roles it follows to another holder; `fault`: bits that never go away;
    `ends`: what its own terms end it with, `stops`: what later acts do; both are in `end_us`. `about`: person numbers.
    `period`: first and first-no-more moment of the data, either may be open. `review_us`: when to ask the person again.
    `text_version`: the wording told, and `recorded_us` when, whether or not it is recorded how.
    `since_us` and `replaced_us`: between these it is what the person said; an amendment replaces it.
    """

    consent_id: bytes
    member: bytes
    act_hash: bytes
    start_us: int
    until_us: int
    end_us: int
    units: frozenset[str]
    roles: frozenset[str]
    followed: frozenset[str]
    holders: frozenset[tuple[str, bytes]]
    categories: frozenset[str]
    purposes: frozenset[str]
    actions: frozenset[str]
    fault: int
    stops: tuple[Withdrawal, ...] = field(default=())
    parts: tuple[Part, ...] = field(default=())
    ends: tuple[Withdrawal, ...] = field(default=())
    pauses: tuple[Pause, ...] = field(default=())
    about: frozenset[int] = frozenset((THE_PERSON,))
    period: tuple[int | None, int | None] | None = None
    facts: Facts | None = None
    obligations: tuple[str, ...] = ()
    until_event: str | None = None
    represented_by: frozenset[int] = frozenset()
    all_agencies: bool = False
    review_us: int | None = None
    since_us: int = ALWAYS
    replaced_us: int = FOREVER
    text_version: str = ""
    recorded_us: int = ALWAYS

    def stands(self, at_us: int) -> bool:
        """Whether these are the consent's terms at a moment, in force or not."""
        return self.since_us <= at_us < self.replaced_us

    def concerns(self, person: int) -> bool:
        """Whether it lifts this person's secrecy (number in the case)."""
        return person in self.about

    def stale(self, texts_ended: Mapping[str, int]) -> int:
        """The bit of a wording out of use when it was recorded; silence about the telling does not bring it back.

        INVARIANT: test_a_wording_out_of_use_when_told_does_not_count.
        """
        ended_us = texts_ended.get(self.text_version)
        return 0 if ended_us is None or self.recorded_us < ended_us else standing.TEXT_VERSION_STALE

    def paused(self, at_us: int) -> bool:
        """Whether it is suspended at a moment."""
        for pause in self.pauses:  # noqa: SIM110 - asked for every consent that ended, most never suspended
            if pause.from_us <= at_us < pause.until_us:
                return True
        return False

    def ended(self, at_us: int) -> int:
        """LIFE bits of a grant at or after its `end_us`."""
        bits = standing.EXPIRED if at_us >= self.until_us else 0
        for stop in self.ends + self.stops:
            if at_us >= stop.from_us:
                bits |= stop.bit
        return bits


@dataclass(frozen=True, slots=True)
class Lift:
    """A block does not hold from `from_us` to before `until_us`, for what it names; None means all of the block.

    It widens: only what is certainly meant is met. `holders`: (role, member) pairs. Where the block names a role and a
    unit, each is lifted by its own name: who holds the role and is that unit is free when both are.
    """

    from_us: int
    until_us: int
    units: frozenset[str] | None
    holders: frozenset[tuple[str, bytes]]
    categories: frozenset[str] | None
    purposes: frozenset[str] | None

    def meets(self, party: Party, purpose: str, category: str, way: frozenset[str]) -> bool:
        """Whether purpose, category and this recipient, as the block reaches it (`Reach.ways`), are certainly lifted.

        INVARIANT: test_a_block_of_a_unit_stays_until_it_is_lifted_for_the_unit.
        """
        if self.categories is not None and category not in self.categories:
            return False
        if self.purposes is not None and purpose not in self.purposes:
            return False
        if self.units is None:
            return True
        by_unit, by_role = party.unit in self.units, (party.role, party.member) in self.holders
        return (by_unit and "UNIT" in way) or (by_role and "ROLE" in way)


@dataclass(frozen=True, slots=True)
class Block:
    """The person forbids something whatever else is recorded; in force from `from_us` to and with `until_us`.

    `about`: the persons whose data it forbids, None everybody. `lifts`: when it does not hold after all.
    """

    consent_id: bytes
    from_us: int
    until_us: int
    reach: Reach
    actions: frozenset[str] | None
    about: frozenset[int] | None = None
    lifts: tuple[Lift, ...] = ()

    def holds(self, at_us: int) -> bool:
        """Whether it is in force at a moment, lifts aside."""
        return self.from_us <= at_us <= self.until_us


def grant_of(act: ConsentAct, event: LedgerEvent, act_hash: bytes) -> Grant:
    """Compile a GRANT or AMEND; what it lacks becomes a fault, never a default.

    Only the secrecy waiver counts: `processing_acknowledged` and `terms_version` are not read here.
    INVARIANT: test_only_the_waiver_opens.
    """
    terms = act.terms
    if terms is None:
        return _empty(act, act_hash)
    period = _period(terms)
    given = conditions_of(terms)
    # A consent never takes effect before it is recorded, nor before the last who gave it, whatever it says.
    start = max(terms.valid_from_us, event.recorded_at_us, act.effective_at_us or ALWAYS, given.start_us or ALWAYS)
    until = ALWAYS if terms.valid_until_us is None else terms.valid_until_us
    ends = tuple(Withdrawal(at_us, bit) for at_us, bit in given.ends)
    refs = [ref for ref in terms.recipients if ref.kind == "ROLE"]
    return Grant(
        consent_id=act.consent_id,
        member=act.member,
        act_hash=act_hash,
        start_us=start,
        until_us=until,
        end_us=min([until, *(end.from_us for end in ends)]),
        units=frozenset(ref.id for ref in terms.recipients if ref.kind == "UNIT"),
        roles=_shared("role", tuple(ref.id for ref in refs)),
        followed=_shared("role", tuple(ref.id for ref in refs if ref.follows_role)),
        holders=frozenset(held for ref in refs for held in _holders(ref, event)),
        categories=_shared("category", terms.categories),
        purposes=_shared("purpose", terms.purposes),
        actions=_shared("action", terms.actions),
        fault=_fault(terms, event, given),
        ends=ends,
        about=lifted(terms),
        period=period,
        facts=given.facts,
        obligations=given.obligations,
        until_event=terms.until_event,
        represented_by=representatives(terms),
        all_agencies=bool(terms.all_agencies_required),
        review_us=terms.review_by_us,
        text_version=terms.text_version,
        recorded_us=event.recorded_at_us,
    )


def _period(terms: Terms) -> tuple[int | None, int | None] | None:
    if terms.data_from_us is None and terms.data_until_us is None:
        return None
    return terms.data_from_us, terms.data_until_us


def _holders(ref: RecipientRef, event: LedgerEvent) -> list[tuple[str, bytes]]:
    """Who is meant by a role: the member it names, else whoever the ledger says held it when recorded."""
    if ref.member is not None:
        return [(ref.id, ref.member)]
    return [(holder.role, holder.member) for holder in event.holders if holder.role == ref.id]


@lru_cache(maxsize=4096)
def _shared(kind: str, items: tuple[str, ...]) -> frozenset[str]:
    """A set of codes, the same object for the same codes and with the table's own strings.

    Decoded strings are new objects each time; a broker that walks many ledgers would fetch every one from memory.
    """
    known = {code: code for code in codes.table()[kind]}
    return frozenset(known.get(item, item) for item in items)


def _fault(terms: Terms, event: LedgerEvent, given: Conditions) -> int:
    bits = given.fault
    if event.signature is None or terms.valid_until_us is None or terms.method not in METHODS:
        bits |= standing.INVALIDATED
    if terms.given_by != "SELF" and terms.givers is None:
        bits |= standing.CAPACITY
    return bits


def _empty(act: ConsentAct, act_hash: bytes) -> Grant:
    none: frozenset[str] = frozenset()
    return Grant(
        consent_id=act.consent_id,
        member=act.member,
        act_hash=act_hash,
        start_us=FOREVER,
        until_us=ALWAYS,
        end_us=ALWAYS,
        units=none,
        roles=none,
        followed=none,
        holders=frozenset(),
        categories=none,
        purposes=none,
        actions=none,
        fault=standing.INVALIDATED,
    )


def narrowed_from(act: ConsentAct, recorded_at_us: int) -> int:
    """When a narrowing act takes effect: when the person said it, never later than recorded."""
    said = recorded_at_us if act.effective_at_us is None else act.effective_at_us
    return min(said, recorded_at_us)


def withdrawal_of(act: ConsentAct, recorded_at_us: int) -> Withdrawal | Part:
    """Compile a WITHDRAW of one consent; a scope that leaves nothing out is a full withdrawal."""
    reach = None
    if act.scope is not None:
        reach = reach_of(act.scope.recipients, act.scope.categories, act.scope.purposes)
    if reach is None or reach.everything:
        return Withdrawal(narrowed_from(act, recorded_at_us), standing.WITHDRAWN)
    return Part(narrowed_from(act, recorded_at_us), standing.PARTIALLY_WITHDRAWN, reach)


def block_of(act: ConsentAct, recorded_at_us: int) -> Block:
    """Compile a BLOCK; without readable terms it blocks everything."""
    terms = act.terms
    start = narrowed_from(act, recorded_at_us)
    if terms is None:
        return Block(act.consent_id, start, FOREVER, Reach(None, frozenset(), None, None), None)
    return Block(
        consent_id=act.consent_id,
        from_us=min(start, terms.valid_from_us),
        until_us=FOREVER if terms.valid_until_us is None else terms.valid_until_us,
        reach=reach_of(terms.recipients, terms.categories, terms.purposes),
        actions=_listed("action", terms.actions),
        about=frozenset(terms.about) if terms.about else None,
    )


def lift_of(act: ConsentAct, event: LedgerEvent, block: Block) -> Lift | None:
    """Compile a LIFT of `block`; None when any part of it is not understood, or lies outside the block."""
    until_us, scope = act.lift_until_us, act.scope
    if event.signature is None or until_us is None or act.effective_at_us is not None:
        return None
    if scope is None:
        return Lift(event.recorded_at_us, until_us, None, frozenset(), None, None)
    known = codes.table()
    named = [("category", scope.categories, block.reach.categories), ("purpose", scope.purposes, block.reach.purposes)]
    for kind, words, forbidden in named:
        if not set(words) <= (known[kind].keys() if forbidden is None else forbidden):
            return None
    if not all(_within(ref, block.reach) for ref in scope.recipients):
        return None
    return Lift(
        from_us=event.recorded_at_us,
        until_us=until_us,
        units=frozenset(ref.id for ref in scope.recipients if ref.kind == "UNIT") if scope.recipients else None,
        holders=frozenset(held for ref in scope.recipients if ref.kind == "ROLE" for held in _holders(ref, event)),
        categories=frozenset(scope.categories) or None,
        purposes=frozenset(scope.purposes) or None,
    )


def _within(ref: RecipientRef, reach: Reach) -> bool:
    """Whether a recipient certainly is one that the block names."""
    if ref.kind == "UNIT":
        return reach.units is None or ref.id in reach.units
    return ref.kind == "ROLE" and ref.id in codes.table()["role"] and (reach.units is None or ref.id in reach.roles)


def reach_of(recipients: tuple[RecipientRef, ...], categories: tuple[str, ...], purposes: tuple[str, ...]) -> Reach:
    """What a narrowing act meets; an empty list, or one with a word nobody knows, means all."""
    known = all(ref.kind == "UNIT" or (ref.kind == "ROLE" and ref.id in codes.table()["role"]) for ref in recipients)
    everybody = not recipients or not known
    return Reach(
        units=None if everybody else frozenset(ref.id for ref in recipients if ref.kind == "UNIT"),
        # Whoever holds the role: a narrowing act does not wait for the right member id.
        roles=frozenset(ref.id for ref in recipients if ref.kind == "ROLE"),
        categories=_listed("category", categories),
        purposes=_listed("purpose", purposes),
    )


def _listed(kind: str, items: tuple[str, ...]) -> frozenset[str] | None:
    known = codes.table()[kind]
    return frozenset(items) if items and all(item in known for item in items) else None
