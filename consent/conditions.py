"""What terms add to a plain consent: who gave it, a child's own word, capacity, kind, what the person reserved.

Two parts. What the terms alone decide is compiled once, into faults and moments (`conditions_of`). What the dated
rules decide - a child's own word, coded reservations, wordings out of use - is kept as facts and judged with the rules
of the decision (`judged`), so that an old trail comes out as its own rules said.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent import standing
from consent.rules import Rules
from consent.terms import THE_PERSON
from schemas import codes
from schemas.acts import CapacityGround, Giver, MinorGround, Terms

METHODS = frozenset({"WRITTEN", "EID", "ORAL_DOCUMENTED"})  # implied consent is none (OSL 12:2: no doubt may remain)
CUSTODIANS = frozenset({"GUARDIAN", "SPECIAL_GUARDIAN"})  # decide for a child, and for nobody who is of age
_KEPT = "RETENTION_LIMIT"
_IN_WORDS = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules judge of one consent.

    `child`: the child itself is among the givers; `guardians`: how many different guardians are; `appointed`: a
    specially appointed guardian is.
    """

    reservations: tuple[str, ...]
    minor: MinorGround | None
    child: bool
    guardians: int
    appointed: bool


@dataclass(frozen=True, slots=True)
class Conditions:
    """Compiled: bits that never go away, the earliest start, (moment, bit) of each end, facts for the rules, duties."""

    fault: int
    start_us: int | None
    ends: tuple[tuple[int, int], ...]
    facts: Facts | None
    obligations: tuple[str, ...]


def opens(terms: Terms) -> bool:
    """Whether a consent of this kind can permit anything; of an unknown kind yes, so that its fault is told."""
    return terms.kind not in {kind for kind, row in codes.table()["consent_kind"].items() if not row["opens"]}


def conditions_of(terms: Terms) -> Conditions:
    """Compile everything in `terms` that older versions did not know, and the reservations."""
    # Of what stands in words nobody has a rule; `None` is no code either.
    coded = tuple(_IN_WORDS if one.text_ref is not None else str(one.code) for one in terms.reservations)
    givers = terms.givers or ()
    fault = _kind_fault(terms) | _limits_fault(terms) | _givers_fault(terms, givers)
    ends = [end for giver in givers for end in _authority_ends(giver)]
    if terms.capacity is not None:
        fault |= 0 if terms.capacity.status == "HAS" else standing.CAPACITY
        ends += _capacity_ends(terms.capacity)
    if terms.minor is not None:
        ends.append((terms.minor.reassess_at_us, standing.GUARDIAN_AUTHORITY_ENDED))
    return Conditions(
        fault=fault,
        start_us=max((giver.at_us for giver in givers), default=None),
        ends=tuple(ends),
        facts=_facts(terms, givers, coded),
        obligations=_obligations(terms),
    )


def _about(terms: Terms) -> frozenset[int]:
    """The persons it is about: the case's own person when it does not say; nobody when it says nobody."""
    return frozenset((THE_PERSON,) if terms.about is None else terms.about)


def representatives(terms: Terms) -> frozenset[int]:
    """Who gave it for somebody else, by number in the case; by a power nobody knows counts as one of them."""
    return frozenset(one.person for one in terms.givers or () if one.capacity != "SELF")


def lifted(terms: Terms) -> frozenset[int]:
    """Whose secrecy is lifted, by number in the case.

    Nobody consents for another adult: of a consent about several that only some of them gave, their own part counts.
    """
    about = _about(terms)
    givers = terms.givers or ()
    themselves = frozenset(one.person for one in givers)
    if themselves and themselves.issubset(about) and all(one.capacity == "SELF" for one in givers):
        about = themselves
    return about


def judged(facts: Facts, action: str, rules: Rules) -> int:
    """The bits that the rules of the decision find against a consent; a condition no rule explains a human reads."""
    effects = [rules.reservations.get(code) for code in facts.reservations]
    waits = any(effect is None or effect.asks_human or action in effect.denies for effect in effects)
    bits = standing.RESERVATION if waits else 0
    return bits if facts.minor is None else bits | _minor(facts, facts.minor, rules)


def owed(facts: Facts | None, obligations: tuple[str, ...], rules: Rules) -> tuple[str, ...]:
    """What a recipient must keep to under a consent: its own obligations and those of its coded reservations."""
    reserved = () if facts is None else facts.reservations
    coded = (rules.reservations[code].obligations for code in reserved if code in rules.reservations)
    return obligations + tuple(code for each in coded for code in each)


def _kind_fault(terms: Terms) -> int:
    """A kind names all that a consent of it may hold; anything else in it, and no doubt remains what was asked."""
    if terms.kind is None:
        return 0
    row = codes.table()["consent_kind"].get(terms.kind)
    if row is None:
        return standing.INVALIDATED
    only = (("categories", terms.categories), ("purposes", terms.purposes))
    return standing.INVALIDATED if any(name in row and not set(has) <= set(row[name]) for name, has in only) else 0


def _limits_fault(terms: Terms) -> int:
    nobody = terms.about is not None and not terms.about
    endless = terms.until_event is not None and terms.until_event not in codes.table()["ending_event"]
    bits = standing.INVALIDATED if nobody or endless else 0
    unread = set(terms.recipient_obligations or ()) - set(codes.table()["obligation"])
    asked = terms.reserved or unread or any(ref.kind == "NAMED_OFFICER" for ref in terms.recipients)
    return bits | standing.RESERVATION if asked else bits


def _givers_fault(terms: Terms, givers: tuple[Giver, ...]) -> int:
    about = _about(terms)
    if terms.givers is None:
        # INVARIANT: test_nobody_consents_for_another_adult. Unsaid, it is the word of the case's own person alone.
        return 0 if about <= {THE_PERSON} else standing.CAPACITY
    rows = codes.table()["giver"]
    bits = standing.INVALIDATED if not givers or any(one.method not in METHODS for one in givers) else 0
    known = [one for one in givers if one.capacity in rows]
    stands_for = [one for one in known if rows[one.capacity]["stands_for"]]
    for one in stands_for:
        bits |= _authority_fault(one)
    if len(known) < len(givers) or any(not rows[one.capacity]["power"] for one in known):
        bits |= standing.CAPACITY
    # INVARIANT: test_a_special_guardian_decides_for_an_assessed_child_or_not_at_all
    if terms.minor is None and any(one.capacity in CUSTODIANS for one in givers):
        bits |= standing.CAPACITY  # whether a guardian decides alone nobody has assessed
    themselves = {one.person for one in givers if one.capacity == "SELF"}
    if not themselves <= about or any(one.person in about for one in stands_for):
        bits |= standing.CAPACITY
    if stands_for and len(about) > 1:
        bits |= standing.CAPACITY  # a representative speaks for one person; of others each gives his own word
    named = {one.capacity for one in givers} | {"SELF"}
    return bits if terms.given_by in named else bits | standing.CAPACITY


def _authority_fault(giver: Giver) -> int:
    """Nobody who had no authority when giving has given, whatever came later."""
    since, until = giver.authority_from_us, giver.authority_until_us
    stated = since is not None or not codes.table()["giver"][giver.capacity]["authority"]
    held = (since is None or since <= giver.at_us) and (until is None or giver.at_us < until)
    return 0 if stated and held else standing.GUARDIAN_AUTHORITY_ENDED


def _authority_ends(giver: Giver) -> list[tuple[int, int]]:
    return [] if giver.authority_until_us is None else [(giver.authority_until_us, standing.GUARDIAN_AUTHORITY_ENDED)]


def _capacity_ends(capacity: CapacityGround) -> list[tuple[int, int]]:
    return [] if capacity.valid_until_us is None else [(capacity.valid_until_us, standing.CAPACITY)]


def _facts(terms: Terms, givers: tuple[Giver, ...], coded: tuple[str, ...]) -> Facts | None:
    if not coded and terms.minor is None:
        return None
    return Facts(
        reservations=coded,
        minor=terms.minor,
        child=(terms.givers is None and terms.given_by == "SELF") or any(one.capacity == "SELF" for one in givers),
        guardians=len({one.person for one in givers if one.capacity == "GUARDIAN"}),
        appointed=any(one.capacity == "SPECIAL_GUARDIAN" for one in givers),
    )


def _obligations(terms: Terms) -> tuple[str, ...]:
    named = set(terms.recipient_obligations or ())
    return tuple(
        code
        for code in codes.table()["obligation"]
        if code in named or (code == _KEPT and terms.retention_until_us is not None)
    )


def _minor(facts: Facts, minor: MinorGround, rules: Rules) -> int:
    """What stands against a child's consent: its own view, its own word, and its guardians' (FB 6:11, 6:13, OSL 12:3).

    INVARIANT: test_a_child_is_never_alone_and_never_overruled.
    """
    rule = rules.minors.get((minor.age_band, minor.maturity))
    if rule is None or minor.child_view not in codes.table()["child_view"]:
        return standing.CAPACITY
    # It objects, or it signed what it could not say: a human looks.
    unclear = minor.child_view == "OBJECTS" or (minor.child_view == "UNABLE" and facts.child)
    bits = standing.CAPACITY if unclear else 0
    if rule.cosign and (not facts.child or minor.child_view == "NOT_ASKED"):
        bits |= standing.CHILD_COSIGN_MISSING
    return bits | _guardians(facts, minor) if rule.guardians else bits


def _guardians(facts: Facts, minor: MinorGround) -> int:
    """All who have custody and may be asked, jointly; if none may, one specially appointed."""
    needed = minor.guardians - minor.guardians_excluded
    if min(minor.guardians, minor.guardians_excluded) < 0 or facts.guardians > max(needed, 0):
        return standing.CAPACITY  # who may not be asked is perhaps among those who gave
    if needed <= 0:
        return 0 if facts.appointed else standing.CAPACITY
    return standing.GUARDIAN_MISSING if facts.guardians < needed else 0
