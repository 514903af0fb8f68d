"""Recorded acts compiled for deciding: grants, blocks, and what withdrawals take out of a grant.

Reading is one-sided on purpose. What widens (a grant, lifting a block) counts only if every part of it is understood;
what narrows (a withdrawal, a block) counts for everything its unreadable part might mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from consent import standing
from consent.terms import Party
from schemas import codes
from schemas.acts import ConsentAct, LedgerEvent, RecipientRef, Terms
from schemas.identifiers import authority_of

FOREVER = 1 << 62  # after every moment the schemas can hold in practice (year 148,000)
ALWAYS = -FOREVER
_METHODS = frozenset({"WRITTEN", "EID", "ORAL_DOCUMENTED"})  # implied consent is none (OSL 12:2: no doubt may remain)


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
        if self.units is None or party.role in self.roles:
            return True
        if party.unit is None:
            return any(authority_of(unit) == party.authority for unit in self.units)
        return party.unit in self.units

    def takes(self, category: str) -> bool:
        """Whether it concerns this category."""
        return self.categories is None or category in self.categories

    @property
    def everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self.units is None and self.categories is None and self.purposes is None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """From `from_us` on: all of one consent (`reach` None) or a part of it; `bit` is the reason it gives."""

    from_us: int
    bit: int
    reach: Reach | None


@dataclass(frozen=True, slots=True)
class Grant:
    """One consent. In force from `start_us` to before `end_us`, the earlier of its own end and its full withdrawals.

    `holders`: (role, member) pairs; `followed`: roles it follows to another holder; `fault`: bits that never go away.
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
    parts: tuple[Withdrawal, ...] = field(default=())

    def ended(self, at_us: int) -> int:
        """LIFE bits of a grant at or after its `end_us`."""
        bits = standing.EXPIRED if at_us >= self.until_us else 0
        for stop in self.stops:
            if at_us >= stop.from_us:
                bits |= stop.bit
        return bits


@dataclass(frozen=True, slots=True)
class Block:
    """The person forbids something whatever else is recorded; in force from `from_us` to and with `until_us`."""

    consent_id: bytes
    from_us: int
    until_us: int
    reach: Reach
    actions: frozenset[str] | None


def grant_of(act: ConsentAct, event: LedgerEvent, act_hash: bytes) -> Grant:
    """Compile a GRANT; what it lacks becomes a fault, never a default.

    Only the secrecy waiver counts: `processing_acknowledged`, `terms_version` and `text_version` are not read here.
    INVARIANT: test_only_the_waiver_opens.
    """
    terms = act.terms
    if terms is None:
        return _empty(act, act_hash)
    # A consent never takes effect before it is recorded, whatever it says.
    start = max(terms.valid_from_us, event.recorded_at_us, act.effective_at_us or ALWAYS)
    until = ALWAYS if terms.valid_until_us is None else terms.valid_until_us
    refs = [ref for ref in terms.recipients if ref.kind == "ROLE"]
    return Grant(
        consent_id=act.consent_id,
        member=act.member,
        act_hash=act_hash,
        start_us=start,
        until_us=until,
        end_us=until,
        units=frozenset(ref.id for ref in terms.recipients if ref.kind == "UNIT"),
        roles=_shared("role", tuple(ref.id for ref in refs)),
        followed=_shared("role", tuple(ref.id for ref in refs if ref.follows_role)),
        holders=frozenset(held for ref in refs for held in _holders(ref, event)),
        categories=_shared("category", terms.categories),
        purposes=_shared("purpose", terms.purposes),
        actions=_shared("action", terms.actions),
        fault=_fault(terms, event),
    )


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


def _fault(terms: Terms, event: LedgerEvent) -> int:
    bits = 0
    if event.signature is None or terms.valid_until_us is None or terms.method not in _METHODS:
        bits |= standing.INVALIDATED
    if terms.given_by != "SELF":
        bits |= standing.CAPACITY
    if terms.reservations:
        bits |= standing.RESERVATION
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


def withdrawal_of(act: ConsentAct, recorded_at_us: int) -> Withdrawal:
    """Compile a WITHDRAW of one consent; a scope that leaves nothing out is a full withdrawal."""
    reach = None
    if act.scope is not None:
        reach = reach_of(act.scope.recipients, act.scope.categories, act.scope.purposes)
    if reach is None or reach.everything:
        return Withdrawal(narrowed_from(act, recorded_at_us), standing.WITHDRAWN, None)
    return Withdrawal(narrowed_from(act, recorded_at_us), standing.PARTIALLY_WITHDRAWN, reach)


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
    )


def reach_of(recipients: tuple[RecipientRef, ...], categories: tuple[str, ...], purposes: tuple[str, ...]) -> Reach:
    """What a narrowing act meets; an empty list, or one with a word nobody knows, means all."""
    known = all(ref.kind == "UNIT" or (ref.kind == "ROLE" and ref.id in codes.table()["role"]) for ref in recipients)
    everybody = not recipients or not known
    return Reach(
        units=None if everybody else frozenset(ref.id for ref in recipients if ref.kind == "UNIT"),
        # Whoever holds the role: a narrowing act does not wait for the right member id.
        roles=frozenset() if everybody else frozenset(ref.id for ref in recipients if ref.kind == "ROLE"),
        categories=_listed("category", categories),
        purposes=_listed("purpose", purposes),
    )


def _listed(kind: str, items: tuple[str, ...]) -> frozenset[str] | None:
    known = codes.table()[kind]
    return frozenset(items) if items and all(item in known for item in items) else None
