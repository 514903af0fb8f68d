"""Ledgers and questions with every act and every term, made quickly from numbers.

A strategy with a branch for each of forty fields costs more than deciding. Here each act is one number: its digits
choose the fields, most of them ordinary, and a failing ledger still shrinks by leaving out acts.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

from consent.rules import parse, shipped
from consent.terms import SectionAsk
from schemas import codes
from schemas.acts import (
    CapacityGround,
    ConsentAct,
    Giver,
    InformationGiven,
    MinorGround,
    RecipientRef,
    Reservation,
    Scope,
    Terms,
)
from schemas.identifiers import ZERO16
from tests.consent import reference
from tests.consent.making import HOUR, T0, UNITS, act, named, party, recorded, request, terms, to_role, to_unit

# The rules as shipped, and a wording out of use from the second day of the ledgers on, twelve hours after they begin.
ENDED = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=T0 + 24 * HOUR)).date()


def with_ended(data):
    """A rules file in which the wording `ended` is out of use from that day on."""
    return data + f'"ended" = {ENDED.isoformat()}\n'.encode()


RULES = parse(with_ended(shipped()[0]))
PLAIN_RULES = reference.RULES | {"texts_ended": reference.RULES["texts_ended"] | {"ended": ENDED}}

OFFICER = RecipientRef(kind="NAMED_OFFICER", id="handläggare", follows_role=False)
CONSENTS, BLOCKS = ("A", "B", "C"), ("X", "Y")


class Family(NamedTuple):
    """A kind of question that can be released, and the words its consents are likely to hold."""

    event: str
    sender: str
    recipient: str
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    action: str


FAMILIES = (
    Family("coordination_meeting_scheduled", "social_services_lead", "police_coordination", ("IC13", "IC08", "IC14"),
           ("PLANNING", "FOLLOW_UP"), "DISCLOSE"),
    Family("joint_plan_adopted", "social_services_lead", "provider", ("IC13", "IC02"), ("PLANNING", "FOLLOW_UP"),
           "DISCLOSE"),
    Family("threat_assessment_completed", "police_coordination", "social_services_lead", ("IC04", "IC06"),
           ("PROTECTION", "THREAT_ASSESSMENT"), "DISCLOSE"),
    Family("spoken", "social_services_lead", "police_coordination", ("IC13", "IC12"), ("PLANNING", "FOLLOW_UP"),
           "ORAL_DISCUSS"),
    Family("seat_invited", "social_services_lead", "police_coordination", ("IC12", "IC01"), ("INTAKE",), "DISCLOSE"),
    Family("support_requested", "social_services_lead", "police_coordination", ("IC12", "IC01", "IC02"),
           ("INTAKE", "PLANNING"), "DISCLOSE"),
)  # fmt: skip


class Draw(Random):
    """Digits of one number; in a calm story the unusual is six times rarer."""

    def __init__(self, number, *, calm=False):
        super().__init__(number)
        self.calm = calm

    def rarely(self, *others, usual=None, one_in=6):
        return self.choice(others) if self.once_in(one_in) else usual

    def once_in(self, many):
        return self.randrange(many * (6 if self.calm else 1)) == 0

    def some(self, words, least=0):
        found = [word for word in words if self.randrange(3)]
        return tuple(found) if len(found) >= least else tuple(words[:least])

    def hour(self):
        return T0 + self.randrange(-4, 24) * HOUR

    def word(self, kind):
        return self.choice([*codes.table()[kind], "UNKNOWN"])


def recipients(draw, family):
    role = draw.rarely("prison_probation", "police_coordination", usual=family.recipient)
    by_role = to_role(role, member=draw.rarely("another", usual=role), follows=draw.randrange(4) == 0)
    by_unit = to_unit(draw.rarely("POL/EXEMPEL/NORD", usual=UNITS[role]))
    found = draw.choice(([by_role], [by_role], [by_unit], [by_role, by_unit]))
    if family.event == "seat_invited":
        found = [by_unit]
    return (*found, OFFICER) if draw.once_in(25) else tuple(found)


def giver(draw, about):
    capacity = draw.rarely(draw.word("giver"), usual=draw.choice(("SELF", "SELF", "GUARDIAN", "GOD_MAN")), one_in=3)
    return Giver(
        person=draw.rarely(0, 1, 2, 3, usual=about if capacity == "SELF" else 2, one_in=12),
        capacity=capacity,
        method=draw.rarely("IMPLIED", "UNKNOWN", usual=draw.choice(("WRITTEN", "EID", "ORAL_DOCUMENTED")), one_in=12),
        at_us=draw.rarely(draw.hour(), usual=T0 - HOUR),
        authority_from_us=draw.rarely(None, draw.hour(), usual=T0 - 9 * HOUR, one_in=4),
        authority_until_us=draw.rarely(draw.hour(), one_in=4),
    )


def minor(draw):
    return MinorGround(
        rule_id="L3",
        age_band=draw.choice((draw.word("age_band"), "UNDER_12", "UNDER_12")),
        maturity=draw.word("maturity"),
        child_view=draw.rarely(draw.word("child_view"), usual="AGREES", one_in=3),
        guardians=draw.choice((-1, 0, 1, 1, 1, 2, 2)),
        guardians_excluded=draw.choice((0, 0, 0, 1, 2)),
        reassess_at_us=draw.rarely(draw.hour(), usual=T0 + 90 * HOUR, one_in=4),
    )


def each_for_itself(draw, about):
    """Each person that it is about gave it; now and then nobody says so."""
    own = tuple(Giver(person=one, capacity="SELF", method="WRITTEN", at_us=T0 - HOUR) for one in about)
    return {"givers": draw.rarely(None, usual=own, one_in=5)}


def who(draw):
    """Persons and givers; more often than not nothing is stated."""
    about = draw.rarely((1,), (0, 1), (0, 1), (0, 2), (), (0, 0), one_in=4)
    if not draw.once_in(3):
        unsaid = {"about": about, "minor": draw.rarely(minor(draw), one_in=20)}
        return unsaid if about in (None, ()) else unsaid | each_for_itself(draw, about)
    person = about[0] if about else 0
    if draw.randrange(3) == 0:  # a child and those who have custody
        ground = minor(draw)
        parents = [replace(giver(draw, 2 + place), capacity="GUARDIAN") for place in range(draw.choice((1, 1, 2)))]
        child = [replace(giver(draw, person), capacity="SELF")] if draw.randrange(2) else []
        return {"about": about, "givers": (*parents, *child), "minor": ground}
    givers = tuple(giver(draw, draw.choice(about or (0,))) for _ in range(draw.choice((0, 1, 1, 1, 2, 2))))
    return {"about": about, "givers": givers, "minor": draw.rarely(minor(draw), one_in=3)}


def rarer(draw):
    """What most consents do not say."""
    told = InformationGiven(
        language="sv", form="EASY", interpreter=False, how="EXPLAINED", consequences_told=True, voluntary_told=True,
        refusal_told=True, text_hash=hashlib.sha256(b"the text").digest(),
    )  # fmt: skip
    return {
        "kind": draw.rarely(draw.word("consent_kind"), one_in=5),
        "capacity": draw.rarely(
            CapacityGround(
                status=draw.rarely(draw.word("capacity_status"), usual="HAS", one_in=2),
                assessed_at_us=T0,
                valid_until_us=draw.rarely(draw.hour(), one_in=2),
            )
        ),
        "data_from_us": draw.rarely(draw.hour(), one_in=10),
        "data_until_us": draw.rarely(draw.hour(), one_in=10),
        "until_event": draw.rarely(draw.word("ending_event"), "CASE_CLOSED", "CASE_CLOSED"),
        "information": draw.rarely(told, one_in=2),
        "text_version": draw.choice(("ended", "EXEMPEL-1", "1", "1", "1")),
        "recipient_obligations": draw.rarely((draw.word("obligation"),), (), one_in=5),
        "retention_until_us": draw.rarely(T0 + 500 * HOUR, one_in=10),
        "reservations": draw.rarely(
            (Reservation(code=draw.word("reservation")),),
            (Reservation(code=None),),
            (Reservation(code="NO_ONWARD", text_ref=b"sealed"),),
            usual=(),
        ),
        "reserved": draw.rarely((draw.word("reserved_limit"),), (), one_in=15),
        "supersedes": draw.rarely(*(named(one) for one in CONSENTS), one_in=10),
        "given_by": draw.rarely("GUARDIAN", "GOD_MAN", usual="SELF", one_in=15),
        "all_agencies_required": draw.rarely(True, False),
        "withdrawal_method": draw.rarely("ANY_AGENCY", "DISCLOSER"),
    }


def terms_of(draw, family) -> Terms:
    since = draw.rarely(draw.hour(), usual=T0 - HOUR)
    said = rarer(draw)
    return terms(
        *recipients(draw, family),
        categories=draw.some(family.categories, 1),
        purposes=draw.some(family.purposes, 1),
        actions=draw.rarely(("DISCLOSE",), ("ORAL_DISCUSS",), (), usual=("DISCLOSE", "ORAL_DISCUSS")),
        valid_from_us=since,
        valid_until_us=draw.rarely(
            None, draw.hour(), draw.hour(), since, usual=draw.choice((T0 + 30 * HOUR, T0 + 99 * HOUR))
        ),
        **(said | who(draw)),
    )


def scope_of(draw, family, *, givers=False):
    whom = draw.choice(((), (), recipients(draw, family)))
    return Scope(
        recipients=whom,
        categories=draw.rarely(("UNKNOWN",), usual=draw.some(family.categories), one_in=12),
        purposes=draw.rarely(("UNKNOWN",), usual=draw.choice(((), draw.some(family.purposes))), one_in=12),
        givers=draw.choice((None, (), (2,), (3,))) if givers else None,
    )


def block_of(draw, family) -> Terms:
    return terms(
        *draw.choice(((), (), recipients(draw, family))),
        categories=draw.choice(((), draw.some(family.categories), ("UNKNOWN",))),
        purposes=draw.choice(((), (), draw.some(family.purposes))),
        actions=draw.rarely((family.action,), ("READ",), usual=()),
        valid_from_us=draw.rarely(draw.hour(), usual=T0 + 99 * HOUR),
        valid_until_us=draw.rarely(draw.hour(), one_in=4),
        about=draw.rarely((1,), (0,), (), (0, 2), one_in=4),
    )


def act_of(draw, family, *, narrows=False) -> ConsentAct:
    """One act; with `narrows` one that can only take away."""
    kind = draw.choice(NARROWS if narrows else EVERY)
    said = draw.rarely(draw.hour(), one_in=3)
    consent = draw.choice(CONSENTS[:2] if draw.randrange(4) else CONSENTS)
    member = named(draw.rarely("somebody else", usual=family.sender, one_in=15))
    more = {"member": member, "seq": 0}
    if kind in {"GRANT", "AMEND"} or kind in {"REQUEST", "REFUSE"}:
        more["terms"] = terms_of(draw, family)
    elif kind in {"BLOCK", "UNBLOCK", "LIFT"}:
        consent = draw.choice(BLOCKS)
    if kind == "BLOCK":
        more |= {"terms": block_of(draw, family), "effective_at_us": said}
    if kind in {"WITHDRAW", "SUSPEND", "WITHDRAW_ALL", "EXPIRE", "LAPSE"}:
        more["effective_at_us"] = said
    if kind == "WITHDRAW":
        more["scope"] = draw.choice((None, scope_of(draw, family), scope_of(draw, family)))
    if kind == "LIFT":
        more |= {"scope": draw.rarely(scope_of(draw, family), one_in=2),
                 "lift_until_us": draw.rarely(None, draw.hour(), usual=T0 + 20 * HOUR)}  # fmt: skip
    if kind in {"RESUME", "UNBLOCK"}:
        more["scope"] = draw.rarely(scope_of(draw, family), one_in=10)
    if kind == "LAPSE":
        more["scope"] = draw.rarely(scope_of(draw, family, givers=True), one_in=2)
    if kind == "EXPIRE":
        more["ended_event"] = draw.rarely(None, draw.word("ending_event"), usual="CASE_CLOSED", one_in=3)
    return act(kind, ZERO16 if kind in {"WITHDRAW_ALL", "EXPIRE", "LAPSE"} else consent, **more)


NARROWS = ("WITHDRAW", "WITHDRAW", "WITHDRAW_ALL", "BLOCK", "BLOCK", "SUSPEND", "EXPIRE", "LAPSE", "ANNUL",
           "ANNUL_WRONG_PERSON")  # fmt: skip
NEITHER = ("REQUEST", "REFUSE", "CONFIRM")
EVERY = (
    ("GRANT",) * 14
    + NARROWS
    + ("AMEND",) * 3
    + ("SUSPEND",) * 2
    + ("RESUME",) * 4
    + ("UNBLOCK", "LIFT", "LIFT", *NEITHER)
)


class Story(NamedTuple):
    """A ledger as (act, recorded, signed) and a question to it."""

    notes: tuple
    asked: object
    family: Family


def sections_of(draw, family):
    def one(category):
        since, until = draw.rarely(draw.hour(), one_in=3), draw.rarely(draw.hour(), one_in=3)
        return SectionAsk(
            draw.rarely("IC01", "IC20", "IC13", usual=category, one_in=25),
            draw.rarely((0, 1), (0, 1), (1,), (), (0, 1, 2), usual=(0,), one_in=5),
            not draw.once_in(12),
            draw.once_in(25),
            since,
            until,
        )

    return tuple(one(draw.rarely(family.categories[0], usual=word)) for word in draw.some(family.categories, 1))


def asked_of(draw, family):
    role = draw.rarely("prison_probation", "provider", usual=family.recipient, one_in=12)
    invited = family.event == "seat_invited"
    whom = party(
        role,
        member=None if invited else named(draw.rarely("another", usual=role)),
        held=not invited and not draw.once_in(25),
        active=not invited and not draw.once_in(25),
    )
    if draw.once_in(8):
        whom = replace(whom, unit=None)
    if draw.once_in(40):
        whom = replace(whom, authority="BRA")
    return request(
        sections_of(draw, family),
        event_type=draw.rarely("support_requested", "unknown_event", usual=family.event, one_in=30),
        sender=party(family.sender, active=not draw.once_in(25)),
        recipient=whom,
        purpose=draw.rarely("CASE_TRANSFER", "UNKNOWN", *family.purposes, usual=family.purposes[0]),
        action=draw.rarely("ORAL_DISCUSS", "READ", "UNKNOWN", "ONWARD_DISCLOSE", usual=family.action, one_in=15),
        at_us=T0 + draw.randrange(-1, 16) * HOUR + draw.choice((-1, 0, 0, 1)),
    )


def story_of(question, numbers) -> Story:
    """The first number asks; each of the others is an act, recorded with the one before it or an hour later."""
    draw = Draw(question)
    family, calm = draw.choice(FAMILIES), draw.randrange(4) > 0
    draw.calm = calm
    notes, at_us = [], T0
    for place, number in enumerate(numbers):
        digits = Draw(number * 31 + place, calm=calm)
        one = act_of(digits, family) if place else act("GRANT", "A", member=named(family.sender),
                                                       terms=terms_of(digits, family))  # fmt: skip
        at_us += HOUR * digits.choice((0, 1, 1, 1, 3))
        signed = not digits.once_in(15) and one.consent_id != ZERO16
        notes.append((one, at_us, signed))
    return Story(tuple(notes), asked_of(draw, family), family)


def story_from(data) -> Story:
    """Four bytes ask, each three more are an act: one draw, and a shorter word is a shorter ledger."""
    acts = [int.from_bytes(data[place : place + 3]) for place in range(4, len(data), 3)]
    return story_of(int.from_bytes(data[:4]), acts)


stories = st.binary(min_size=7, max_size=27).map(story_from)


def narrowing_of(number, family):
    return act_of(Draw(number), family, narrows=True)


def events_of(notes):
    """The ledger as the broker hands it out."""
    unsigned = tuple(place for place, one in enumerate(notes) if not one[2])
    return recorded([(one, at_us) for one, at_us, _ in notes], unsigned=unsigned)


def told_from(seed, many):
    """A fixed pool of stories, for controls that look for one on which a broken decision fails."""
    dice = Random(seed)
    return [
        story_of(dice.randrange(2**31), [dice.randrange(2**31) for _ in range(dice.randrange(1, 8))])
        for _ in range(many)
    ]


STORIES = told_from(5, 1500)
