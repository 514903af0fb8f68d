"""A second decision, written from the design pages and the README of the vectors without looking for speed.

It loops over all acts for each section, person and moment, and shares nothing with `consent/` but the types of the
request and the rules file. `reference_rules` answers steps 1 to 3, `reference_consents` what is wrong with a consent.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import consent
from consent.terms import SectionAsk
from schemas import codes
from tests.consent import reference_rules
from tests.consent.reference_consents import (
    consent_ids,
    duties,
    lists,
    meets,
    persons_of,
    readable,
    reasons,
    terms_at,
    version_at,
)
from tests.consent.reference_givers import Asked, Noted, code

RULES = tomllib.loads((Path(consent.__file__).parent / "rules" / "2026-11-23.toml").read_text(encoding="utf-8"))
SCOPE = (
    "WRONG_DISCLOSER", "RECIPIENT_NOT_COVERED", "RECIPIENT_CHANGED", "CATEGORY_NOT_COVERED", "PURPOSE_MISMATCH",
    "ACTION_NOT_COVERED", "DATA_PERIOD",
)  # fmt: skip
LIFE = (
    "INVALIDATED", "NOT_YET_VALID", "EXPIRED", "WITHDRAWN", "PARTIALLY_WITHDRAWN", "SUSPENDED", "SUPERSEDED",
    "GUARDIAN_AUTHORITY_ENDED", "TEXT_VERSION_STALE", "CHILD_COSIGN_MISSING", "GUARDIAN_MISSING",
)  # fmt: skip
HUMAN = ("CAPACITY", "RESERVATION")
ORDER = (*SCOPE, *LIFE, *HUMAN)
KNOWN_ACTS = {
    "GRANT", "AMEND", "RESUME", "UNBLOCK", "LIFT", "WITHDRAW", "WITHDRAW_ALL", "BLOCK", "SUSPEND", "EXPIRE", "LAPSE",
    "ANNUL", "ANNUL_WRONG_PERSON", "REQUEST", "REFUSE", "CONFIRM",
}  # fmt: skip


class Answer(NamedTuple):
    """Outcome; (category, reasons in order) of each section; what it rests on, its duties and until when."""

    outcome: str
    sections: list
    depends_on: set
    obligations: set
    holds_until_us: int | None


# --- blocks


def within(lift, block, known):
    """Whether a list of a lift lies within that of the block; an empty one is all that the block holds."""
    everything = not block or not all(map(known, block))
    return all(map(known, lift)) and (everything or set(lift) <= set(block))


def known_ref(ref):
    kind, name = ref
    return kind == "UNIT" or (kind == "ROLE" and code("role", name) is not None)


def lift_reaches(asked, noted, block, entry):
    """Whether a lift lets this section through: all its words known, all of it within the block.

    `entry`: the one recipient of the block's list that the section is to be let past, None for everybody.
    """
    part, party = noted.act.scope, asked.request.recipient
    if part is None:
        return True
    refs = {(one.kind, one.id) for one in part.recipients}
    inside = (
        within(refs, [(one.kind, one.id) for one in block.recipients], known_ref)
        and within(part.categories, block.categories, lambda word: code("category", word) is not None)
        and within(part.purposes, block.purposes, lambda word: code("purpose", word) is not None)
    )
    named = not part.recipients or any(
        (one.kind == "UNIT" and party.unit is not None and one.id == party.unit)
        or (one.kind == "ROLE" and one.id == party.role and one.member is not None and one.member == party.member)
        for one in part.recipients
        if entry is None or one.kind == entry.kind
    )
    return (
        inside
        and named
        and (not part.categories or asked.section.category in part.categories)
        and (not part.purposes or asked.request.purpose in part.purposes)
    )


def reaching(recipients, party):
    """The entries of a block's list that reach a party; [None] where the list is everybody's."""
    if not recipients or not all(map(readable, recipients)):
        return [None]
    return [one for one in recipients if meets((one,), party)]


def opened(asked, place):
    """Whether the block at `place` was ended, or each entry of it that reaches the recipient is lifted just now."""
    block = asked.notes[place].act
    lifts = []
    for later in asked.notes[place + 1 :]:
        if later.act.consent_id != block.consent_id or not later.signed or asked.at_us < later.recorded_us:
            continue
        if later.act.act == "UNBLOCK" and later.act.scope is None and asked.at_us >= later.widens_us:
            return True
        until = later.act.lift_until_us
        lifted = later.act.act == "LIFT" and until is not None and asked.at_us < until
        if lifted and later.act.effective_at_us is None:  # of another moment than the record: not understood
            lifts.append(later)
    return all(
        any(lift_reaches(asked, one, block.terms, entry) for one in lifts)
        for entry in reaching(block.terms.recipients, asked.request.recipient)
    )


def blocked(asked):
    concerned = {0, *asked.section.persons}
    for place, one in enumerate(asked.notes):
        if one.act.act != "BLOCK":
            continue
        given = one.act.terms
        over = given.valid_until_us is not None and asked.at_us > given.valid_until_us
        if (
            asked.at_us >= min(one.since_us, given.valid_from_us)
            and not over
            and (not given.about or concerned & set(given.about))
            and meets(given.recipients, asked.request.recipient)
            and lists("category", given.categories, asked.section.category)
            and lists("purpose", given.purposes, asked.request.purpose)
            and lists("action", given.actions, asked.request.action)
            and not opened(asked, place)
        ):
            return True
    return False


# --- one section


def counted(asked, person):
    """Consents about a person that can open anything at all."""
    return [
        one
        for one in consent_ids(asked.notes)
        if person in persons_of(terms_at(asked.notes, version_at(asked.notes, one, asked.at_us)))
    ]


def distance(found):
    return (len(found & set(SCOPE)), len(found & set(LIFE)), len(found & set(HUMAN)))


def consent_reasons(asked):
    """Steps 4 and 5."""
    own = [reasons(asked, one) for one in counted(asked, 0)]
    told = []
    if not own:
        told.append("NO_RECORD")
    elif all(own):
        nearest = min(distance(one) for one in own)
        told += [word for word in ORDER if any(word in one for one in own if distance(one) == nearest)]
    others = set(asked.section.persons) - {0}
    if not asked.section.persons or any(not covering(asked, person) for person in others):
        told.append("OTHER_SUBJECT_NO_CONSENT")
    return told


def covering(asked, person):
    return [one for one in counted(asked, person) if not reasons(asked, one)]


def section_reasons(asked, readable):
    """Steps 1 to 6."""
    told = reference_rules.party_reasons(asked.rules, asked.request)
    if not readable:
        told.append("EVALUATION_ERROR")
    told += reference_rules.lane_reasons(asked.rules, asked.request, asked.section) + consent_reasons(asked)
    if blocked(asked):
        told.append("BLOCK_IN_FORCE")
    if asked.section.sender_withheld:
        told.append("SENDER_WITHHELD")
    return reference_rules.once(told)


# --- until when


def moments(asked):
    """Every moment at which anything could change: all that the acts name, and the microsecond after a block's end."""
    found = set()
    for one in asked.notes:
        found |= {one.recorded_us, one.since_us, one.act.effective_at_us, one.act.lift_until_us}
        given = one.act.terms
        if given is None:
            continue
        found |= {given.valid_from_us, given.valid_until_us, given.valid_until_us and given.valid_until_us + 1}
        for giver in given.givers or ():
            found |= {giver.at_us, giver.authority_from_us, giver.authority_until_us}
        found |= {given.minor and given.minor.reassess_at_us, given.capacity and given.capacity.valid_until_us}
    return sorted(one for one in found if one is not None and one > asked.at_us)


def covers_until(asked, consent_id):
    """First moment at which the terms in force now are not those in force, or do not cover."""
    now = version_at(asked.notes, consent_id, asked.at_us)
    for then in moments(asked):
        if version_at(asked.notes, consent_id, then) != now or reasons(replace(asked, at_us=then), consent_id):
            return then
    return None


def rests_on(asked):
    """(consent, until) for each person of a released section: the one that covers longest, then the smaller bytes."""
    each = []
    for person in sorted({0, *asked.section.persons}):
        ends = [(one, covers_until(asked, one)) for one in covering(asked, person)]
        each.append(min(ends, key=lambda pair: (-pair[1], pair[0])))
    return each


def next_block(asked):
    return next((then for then in moments(asked) if blocked(replace(asked, at_us=then))), None)


# --- the whole


def question(rules, notes, request, section):
    invitation = reference_rules.is_invitation(rules, request)
    return Asked(rules, tuple(notes), request, section, invitation, request.at_us)


def decide(request, acts, rules=RULES, known_at_us=None):
    """The answer; `acts` are (ConsentAct, recorded_at_us, signed) in the order recorded."""
    notes = [Noted(*one) for one in acts if known_at_us is None or one[1] <= known_at_us]
    readable = all(one.act.act in KNOWN_ACTS for one in notes)
    each = [question(rules, notes, request, section) for section in request.sections]
    told = [section_reasons(one, readable) for one in each]
    name = reference_rules.TOLD_BY_NAME.get(request.event_type)
    tells = [(one, found) for one, found in zip(each, told, strict=True) if one.section.category == name]
    if name is not None and not tells:
        alone = question(rules, notes, request, SectionAsk(name, (0,), False, False))
        tells = [(alone, section_reasons(alone, readable))]
    if any(found for _, found in tells):
        for found in told:
            if not any(codes.reason_kind(one) == "RULE" for one in found):
                found.append("TYPE_WITHHELD")
    released = [one for one, found in zip(each, told, strict=True) if not found]
    carried = released + [one for one, _ in tells if released and one not in released]
    rests = [pair for one in carried for pair in rests_on(one)]
    ends = [until for _, until in rests] + [next_block(one) for one in carried]
    owed = reference_rules.lane_duties(rules, request) if released else set()
    for one in carried:
        owed |= set().union(*(duties(one, used) for used, _ in rests_on(one)))
    return Answer(
        codes.outcome_of([(not found, found) for found in told]),
        [(one.section.category, found) for one, found in zip(each, told, strict=True)],
        {used for used, _ in rests},
        owed,
        min((one for one in ends if one is not None), default=None),
    )


def why(request, acts, consent_id, rules=RULES, known_at_us=None):
    """Why a consent was not used for the first section, in order; empty: it covers."""
    notes = [Noted(*one) for one in acts if known_at_us is None or one[1] <= known_at_us]
    asked = question(rules, notes, request, request.sections[0])
    given = terms_at(asked.notes, version_at(asked.notes, consent_id, asked.at_us))
    found = reasons(asked, consent_id)
    elsewhere = [] if {0, *asked.section.persons} & persons_of(given) else ["OTHER_SUBJECT_NO_CONSENT"]
    return elsewhere + [word for word in ORDER if word in found]
