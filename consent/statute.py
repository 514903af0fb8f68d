"""May this be disclosed without consent, on this provision, as these people decided it? A pure function.

Consent is no part of the question: no ledger is read, no consent can be named, and the answer has no place for one
(promise consent-before-release, class (a)). What two people state is taken as stated and recorded under their own
signatures; what is examined here is that they stated all that the provision asks for, that nothing stated excludes it,
and that sender, recipient and categories may have it at all.

Two kinds of no. An error (HandslagError) is for what is no decision yet: a provision that the agency's lawyer has not
approved, a second person who is the first, a request without a reference. A reason is for a decision that the
provision does not carry; it is recorded as an outcome:

    STATUTORY_EXCLUDED       who, what, whose age, which secrecy or which outcome of the balancing is outside it
    STATUTORY_NEEDS_HUMAN    something that it asks for was decided by nobody
    and the rules that hold for everything sent: SENDER_..., TYPE_NOT_ALLOWED, NO_HOLDER, SEAT_INACTIVE,
    CATEGORY_NOT_ALLOWED, PUBLIC_INTEREST_NOT_RELEASED

It is decided whole: where one section may not go, none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from consent.provisions import UNCARRIED, Provision, Registry
from consent.rules import Rules
from consent.terms import THE_PERSON, Party
from schemas import codes
from schemas.codes import Outcome, outcome_of
from schemas.errors import HandslagError
from schemas.said import SPOKEN
from schemas.statute import ProvisionApproval, SecondWord, StatutoryDisclosure

ACUTE = frozenset({"IC04", "IC06"})
CONFIRM_WITHIN_US = 24 * 3600 * 1_000_000
PROVEN = "OWN_KEY"  # the officer's own key signed; a name that somebody typed (ASSERTED) decides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What the agency's lawyer approved of one provision: the text by its hash, from when to when, and for the night.

    Signature and agency are the caller's to check; times are microseconds UTC, the end is not included.
    """

    provision_id: str
    provision_hash: bytes
    reviewed_at_us: int
    valid_until_us: int
    acute: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who decided or confirmed: the agency's own reference, the public key that signed, how the person was proven."""

    ref: str
    key: bytes
    assurance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One disclosure as it was decided. Lists are codes; `released` are categories of the sender's release decision.

    `requested`: a request is stated (its reference stays at the agency). `second` None: acute, not yet confirmed.
    """

    provision_id: str
    sender: Party
    recipient: Party
    categories: tuple[str, ...]
    released: frozenset[str]
    persons: tuple[int, ...]
    initiated_by: str
    requested: bool
    secrecy: tuple[str, ...]
    exclusions: tuple[str, ...]
    balanced: str | None
    age: str | None
    consent_sought: str
    subject_informed: str
    acute: bool
    decider: Person
    second: Person | None
    decided_at_us: int


class StatuteSection(NamedTuple):
    """One category: given or not, every reason if not, and the row of the domain page that lets it go."""

    category: str
    released: bool
    reasons: tuple[str, ...]
    row: str


class StatuteDecision(NamedTuple):
    """The answer: RELEASED whole, REFUSED or NEEDS_HUMAN. There is no consent in it and no partial release."""

    outcome: Outcome
    sections: tuple[StatuteSection, ...]


def check(
    asked: Asked, registry: Registry, approved: Approved | None, rules: Rules, *, second_to_come: bool = False
) -> StatuteDecision:
    """Examine one statutory disclosure at the moment it was decided.

    `second_to_come`: only the decider's own connector asks so, before it shows the decision to a second person.

    Raises `HS-PROVISION-UNKNOWN`, `HS-PROVISION-UNREVIEWED` (no approval in force of this very text),
    `HS-STATUTE-INCOMPLETE` naming the field, `HS-STATUTE-SECOND`, `HS-STATUTE-ACUTE`, `HS-NOT-YET` (a person who only
    typed a name), `HS-CODE-UNKNOWN`.
    """
    provision = registry.provision(asked.provision_id)
    _check_form(asked, provision)
    _check_people(asked, second_to_come=second_to_come)
    _check_approved(asked, provision, approved)
    wide = _wide(asked, provision, registry, rules)
    lane = provision.lanes.get((asked.sender.role, asked.recipient.role), {})
    found = [(category, wide + _own(asked, category, lane, rules)) for category in asked.categories]
    # INVARIANT: test_a_statutory_disclosure_is_whole_or_not_at_all
    whole = not any(reasons for _category, reasons in found)
    sections = tuple(
        StatuteSection(
            category,
            whole,
            () if whole else tuple(dict.fromkeys(reasons)) or ("STATUTORY_NEEDS_HUMAN",),
            lane.get(category, "-"),
        )
        for category, reasons in found
    )
    return StatuteDecision(outcome_of([(one.released, one.reasons) for one in sections]), sections)


def _check_form(asked: Asked, provision: Provision) -> None:
    """Known codes, no category twice, a reference where the provision asks for a request."""
    for kind, listed in (
        ("initiated_by", (asked.initiated_by,)),
        ("consent_sought", (asked.consent_sought,)),
        ("subject_informed", (asked.subject_informed,)),
        ("balanced", () if asked.balanced is None else (asked.balanced,)),
        ("age_stated", () if asked.age is None else (asked.age,)),
        ("secrecy", asked.secrecy),
        ("exclusion", asked.exclusions),
    ):
        for code in listed:
            codes.known(kind, code, kind)
    if not asked.categories or len(set(asked.categories)) != len(asked.categories):
        raise _incomplete("categories")
    if not asked.released <= set(asked.categories):
        raise _incomplete("public_interest_released")
    if not asked.secrecy:
        raise _incomplete("secrecy")
    if provision.requires_request and not (asked.requested and asked.initiated_by == "RECIPIENT_REQUEST"):
        raise _incomplete("request_ref")
    # Nobody is told more than the provision asks for.
    if provision.age_below is None and asked.age is not None:
        raise _incomplete("age")


def _check_people(asked: Asked, *, second_to_come: bool) -> None:
    """Two people with a key of their own each; one alone only in acute danger."""
    people = [asked.decider] if asked.second is None else [asked.decider, asked.second]
    if any(person.assurance != PROVEN for person in people):
        raise HandslagError("HS-NOT-YET", field="assurance")
    if any(not person.ref or not person.key for person in people):
        raise _incomplete("officer")
    if asked.second is None and not asked.acute and not second_to_come:
        raise HandslagError("HS-STATUTE-SECOND")
    # INVARIANT: test_nobody_is_their_own_second_person
    if asked.second is not None and (asked.second.ref == asked.decider.ref or asked.second.key == asked.decider.key):
        raise HandslagError("HS-STATUTE-SECOND")


def _check_approved(asked: Asked, provision: Provision, approved: Approved | None) -> None:
    """This agency's lawyer approved this very text, and it holds at the moment of the decision."""
    # INVARIANT: test_a_provision_that_nobody_approved_discloses_nothing
    if (
        approved is None
        or (approved.provision_id, approved.provision_hash) != (provision.provision_id, provision.hash32)
        or not approved.reviewed_at_us <= asked.decided_at_us < approved.valid_until_us
    ):
        raise HandslagError("HS-PROVISION-UNREVIEWED")
    # INVARIANT: test_acute_danger_carries_threat_and_measures_only
    if asked.acute and not (provision.acute and approved.acute and set(asked.categories) <= ACUTE):
        raise HandslagError("HS-STATUTE-ACUTE")


def _wide(asked: Asked, provision: Provision, registry: Registry, rules: Rules) -> tuple[str, ...]:
    """Reasons against every section alike."""
    reasons = _parties(asked.sender, asked.recipient, rules)
    if not provision.in_force(asked.decided_at_us) or (asked.sender.role, asked.recipient.role) not in provision.lanes:
        reasons.append("STATUTORY_EXCLUDED")
    if set(asked.secrecy) & (provision.excluded_secrecy | registry.never_secrecy):
        reasons.append("STATUTORY_EXCLUDED")
    if asked.persons != (THE_PERSON,) or not provision.exclusions <= set(asked.exclusions):
        reasons.append("STATUTORY_NEEDS_HUMAN")
    if provision.age_below is not None:
        reasons += _aged(asked.age, provision.age_below)
    if provision.balancing != "NONE" and asked.balanced != "FOR":
        reasons.append("STATUTORY_EXCLUDED" if asked.balanced == "AGAINST" else "STATUTORY_NEEDS_HUMAN")
    return tuple(reasons)


def require_standing(asked: Asked, registry: Registry, approved: Approved, at_us: int) -> None:
    """Raise `HS-PROVISION-UNREVIEWED` unless provision and approval still hold when it goes.

    That may be a day after it was decided. What was decided in time and is confirmed too late is decided anew, on what
    is approved by then.
    """
    # INVARIANT: test_what_is_confirmed_after_the_approval_ended_does_not_go
    if not registry.provision(asked.provision_id).in_force(at_us) or at_us >= approved.valid_until_us:
        raise HandslagError("HS-PROVISION-UNREVIEWED")


def forbidden(sender: Party, recipient: Party, sections: Iterable[tuple[str, bool]], rules: Rules) -> bool:
    """Whether these rules forbid what was decided under others; sections: category, and the sender's release of it.

    For what is decided and has not gone yet. The provision and the two people stand as they were: nobody asks again.
    """
    needs = rules.lane(SPOKEN, sender.role, recipient.role).needs_release
    return bool(_parties(sender, recipient, rules)) or any(
        category in needs and not released for category, released in sections
    )


def _parties(sender: Party, recipient: Party, rules: Rules) -> list[str]:
    """The rules that no provision lifts: who sits where, who never gets anything about a person, closed pairs."""
    # INVARIANT: test_no_provision_opens_what_the_rules_close
    reasons = []
    if not sender.active:
        reasons.append("SENDER_INACTIVE")
    if sender.authority != rules.authorities.get(sender.role):
        reasons.append("SENDER_NOT_ALLOWED")
    if not recipient.held:
        reasons.append("NO_HOLDER")
    elif not recipient.active:
        reasons.append("SEAT_INACTIVE")
    wrong = recipient.held and recipient.authority != rules.authorities.get(recipient.role)
    if wrong or rules.never(sender.role, recipient.role) or recipient.authority in rules.never_individual:
        reasons.append("TYPE_NOT_ALLOWED")
    return reasons


def _aged(age: str | None, below: int) -> list[str]:
    """What the stated age band says about a provision for the young; unstated, a human must look."""
    if age is None:
        return ["STATUTORY_NEEDS_HUMAN"]
    stated = int(codes.table()["age_stated"][age]["below"])
    return [] if 0 < stated <= below else ["STATUTORY_EXCLUDED"]


def _own(asked: Asked, category: str, lane: Mapping[str, str], rules: Rules) -> tuple[str, ...]:
    """Reasons against one category."""
    if category not in codes.table()["category"] or category in UNCARRIED:
        return ("CATEGORY_NOT_ALLOWED",)  # criminal records and intelligence (IC20, IC21) stand in no table
    reasons: tuple[str, ...] = () if category in lane else ("STATUTORY_EXCLUDED",)
    needs = rules.lane(SPOKEN, asked.sender.role, asked.recipient.role).needs_release
    if category in needs and category not in asked.released:
        reasons += ("PUBLIC_INTEREST_NOT_RELEASED",)
    return reasons


def _incomplete(field: str) -> HandslagError:
    return HandslagError("HS-STATUTE-INCOMPLETE", field=field)


def asked_of(told: StatutoryDisclosure, word: SecondWord | None, sender: Party, recipient: Party) -> Asked:
    """The question that a signed statement and a second person's word put."""
    return Asked(
        provision_id=told.provision_id,
        sender=sender,
        recipient=recipient,
        categories=told.categories,
        released=frozenset(told.public_interest_released),
        persons=(THE_PERSON,),
        initiated_by=told.initiated_by,
        requested=told.request_commit is not None,
        secrecy=told.secrecy,
        exclusions=told.exclusions,
        balanced=told.balanced,
        age=told.age,
        consent_sought=told.consent_sought,
        subject_informed=told.subject_informed,
        acute=told.acute,
        decider=Person(ref=told.decider_ref, key=told.decider_key, assurance=told.assurance),
        second=None if word is None else Person(ref=word.ref, key=word.key, assurance=word.assurance),
        decided_at_us=told.decided_at_us,
    )


def approved_of(told: ProvisionApproval) -> Approved:
    """What an agency's signed approval approves."""
    return Approved(
        provision_id=told.provision_id,
        provision_hash=told.provision_hash,
        reviewed_at_us=told.reviewed_at_us,
        valid_until_us=told.valid_until_us,
        acute=told.acute,
    )
