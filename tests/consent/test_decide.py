"""The decision by itself: what the cases under vectors/ do not say in one sentence."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from consent import standing
from consent.decide import _outcome, decide
from consent.rules import shipped
from consent.terms import SectionDecision
from schemas import codes
from schemas.acts import Holder, MinorGround
from schemas.codes import Outcome, outcome_of
from schemas.errors import HandslagError
from tests.consent.making import (
    HOUR,
    RESERVED,
    T0,
    UNITS,
    act,
    ask,
    ledger,
    named,
    party,
    request,
    terms,
    to_role,
    to_unit,
)

RULES = shipped()[1]
MEET = act("GRANT", terms=terms(to_role("police_coordination")))


def reasons(asked, view):
    return [set(one.reasons) for one in decide(asked, view, RULES).sections]


def test_a_decision_is_no_boolean():
    with pytest.raises(HandslagError) as caught:
        bool(decide(request(), ledger(MEET), RULES))
    assert caught.value.code == "HS-DECISION-BOOL"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_type": "contact_point_referral"}, "SCHEMA_UNKNOWN"),
        ({"event_type": "nobody_knows"}, "SCHEMA_UNKNOWN"),
        ({"action": "SHOUT"}, "SCHEMA_UNKNOWN"),
        ({"purpose": "GOSSIP"}, "TYPE_NOT_ALLOWED"),
        ({"sender": party("social_services_lead", active=False)}, "SENDER_INACTIVE"),
        ({"sender": party("social_services_lead", authority="POL")}, "SENDER_NOT_ALLOWED"),
        ({"sender": party("nobody")}, "SENDER_NOT_ALLOWED"),
        ({"sender": party("social_services_lead", member=None)}, "WRONG_DISCLOSER"),
        ({"recipient": party("nobody")}, "TYPE_NOT_ALLOWED"),
        ({"recipient": party("police_coordination", authority="SOC")}, "TYPE_NOT_ALLOWED"),
        ({"recipient": party("police_coordination", member=None)}, "RECIPIENT_CHANGED"),
        ({"sections": (ask("IC99"),)}, "CATEGORY_NOT_ALLOWED"),
        ({"sections": (ask("IC20"),)}, "NON_WAIVABLE"),
        ({"sections": (ask("IC13", persons=()),)}, "OTHER_SUBJECT_NO_CONSENT"),
    ],
)
def test_what_is_not_known_is_refused(changes, reason):
    assert decide(request(), ledger(MEET), RULES).outcome is Outcome.RELEASED  # positive control
    found = decide(replace(request(), **changes), ledger(MEET), RULES)
    assert reason in found.sections[0].reasons
    assert not any(one.released for one in found.sections)
    assert (found.holds_until_us, found.depends_on, found.obligations) == (None, (), ())


def test_every_reason_is_told_not_the_first():
    asked = replace(
        request([ask("IC07", persons=(0, 1), sender_withheld=True)]),
        sender=party("social_services_lead", active=False),
        recipient=party("police_coordination", active=False),
    )
    assert reasons(asked, ledger(MEET, act("BLOCK", "B", terms=terms(actions=(), categories=(), purposes=())))) == [
        {
            "SENDER_INACTIVE",
            "SEAT_INACTIVE",
            "CATEGORY_NOT_ALLOWED",
            "CATEGORY_NOT_COVERED",
            "OTHER_SUBJECT_NO_CONSENT",
            "BLOCK_IN_FORCE",
            "SENDER_WITHHELD",
        }
    ]


def test_an_event_without_sections_releases_nothing():
    assert decide(request(()), ledger(MEET), RULES).outcome is Outcome.WITHHELD


def test_the_name_is_asked_about_even_without_its_section():
    """A meeting with an IC08 section only: the consent to IC08 alone does not let its name go."""
    alone = act("GRANT", terms=terms(to_role("police_coordination"), categories=("IC08",)))
    both = act("GRANT", "C2", terms=terms(to_role("police_coordination"), valid_until_us=T0 + 50 * HOUR))
    asked = request(["IC08"])
    assert reasons(asked, ledger(alone)) == [{"TYPE_WITHHELD"}]
    found = decide(asked, ledger(alone, both), RULES)
    assert found.outcome is Outcome.RELEASED
    assert found.sections[0].grants == (named("C1"), named("C2"))
    assert found.depends_on == (named("C1"), named("C2"))
    assert found.holds_until_us == T0 + 50 * HOUR  # the name's consent ends first


def test_a_role_means_its_holder_when_recorded():
    open_ref = replace(to_role("police_coordination"), member=None)
    given = act("GRANT", terms=terms(open_ref))
    held = (Holder(role="police_coordination", member=named("police_coordination")),)
    other = (Holder(role="police_coordination", member=named("before")),)
    assert decide(request(), ledger(given, holders=held), RULES).outcome is Outcome.RELEASED
    assert "RECIPIENT_CHANGED" in reasons(request(), ledger(given, holders=other))[0]
    assert "RECIPIENT_CHANGED" in reasons(request(), ledger(given))[0]  # nobody held it


def test_a_unit_not_stated_could_be_the_blocked_one():
    block = act("BLOCK", "B", terms=terms(to_unit("POL/EXEMPEL/NORD"), categories=(), purposes=(), actions=()))
    view = ledger(MEET, block)
    assert decide(request(), view, RULES).outcome is Outcome.RELEASED  # the other unit
    unknown = replace(request(), recipient=party("police_coordination", unit=None))
    assert "BLOCK_IN_FORCE" in reasons(unknown, view)[0]
    named_one = replace(request(), recipient=party("police_coordination", unit="POL/EXEMPEL/NORD"))
    assert "BLOCK_IN_FORCE" in reasons(named_one, view)[0]
    assert view.named_units == {"POL/EXEMPEL/NORD"}
    assert UNITS["police_coordination"] not in view.named_units


def test_an_unreadable_block_blocks_everything():
    for block in (
        act("BLOCK", "B"),
        act("BLOCK", "B", terms=terms(to_role("nobody"), categories=("IC99",), purposes=("X",), actions=("Y",))),
    ):
        assert reasons(request(), ledger(MEET, block)) == [{"BLOCK_IN_FORCE", "TYPE_WITHHELD"}]


def test_closest_prefers_what_was_about_this():
    def told(*acts):
        (found,) = decide(request(), ledger(*acts), RULES).sections
        return found.reasons

    def withdrawn(consent):
        return act("WITHDRAW", consent)

    far = act("GRANT", "F", terms=terms(to_role("provider"), categories=("IC01",)))
    other = act("GRANT", "O", terms=terms(to_role("police_coordination"), purposes=("INTAKE",)))
    ended = act("GRANT", "E", terms=terms(to_role("police_coordination"), valid_until_us=T0 + 5 * HOUR))
    worded = act("GRANT", "W", terms=terms(to_role("police_coordination"), reservations=RESERVED))
    assert told() == ("NO_RECORD", "TYPE_WITHHELD")
    assert told(far) == ("RECIPIENT_NOT_COVERED", "CATEGORY_NOT_COVERED", "TYPE_WITHHELD")
    assert told(far, MEET, withdrawn("C1")) == ("WITHDRAWN", "TYPE_WITHHELD")
    assert told(MEET, withdrawn("C1"), far) == ("WITHDRAWN", "TYPE_WITHHELD")
    assert told(ended, MEET, withdrawn("C1")) == ("EXPIRED", "WITHDRAWN", "TYPE_WITHHELD")
    assert told(worded, MEET, withdrawn("C1")) == ("RESERVATION", "TYPE_WITHHELD")
    assert told(far, other) == ("PURPOSE_MISMATCH", "TYPE_WITHHELD")


def test_bits_and_code_table_agree():
    assert all(name in codes.table()["reason"] for name in standing.NAMES)
    assert [standing.reasons(1 << place) for place in range(len(standing.NAMES))] == [(n,) for n in standing.NAMES]


def test_the_outcome_is_the_one_of_the_code_table():
    for some in itertools.combinations(codes.table()["reason"], 2):
        for each in ([some], [some[:1], some[1:]], [(), some]):
            sections = [SectionDecision("IC01", not told, told, ()) for told in each]
            given = sum(one.released for one in sections)
            assert _outcome(sections, given) == outcome_of([(one.released, one.reasons) for one in sections])


@pytest.mark.parametrize("body", ["BRA", "CVE", "LST", "RK", "SKR", "SOS"])
def test_a_body_that_never_gets_a_person_gets_none_in_a_role_of_its_own(body):
    """LB-32, E-29: no role is theirs today; should one be, nothing goes. Of another body it does."""

    def asked_of(authority):
        lanes = {key: lane._replace(recipient_authority=authority) for key, lane in RULES.lanes.items()}
        asked = request(recipient=party("police_coordination", authority=authority))
        view = ledger(act("GRANT", terms=terms(to_role("police_coordination"))))
        return decide(asked, view, replace(RULES, lanes=lanes)).sections[0].reasons

    assert asked_of(body) == ("TYPE_NOT_ALLOWED",)
    assert asked_of("REG") == ()


def test_a_consent_with_everything_against_it_says_all_of_it():
    assert standing.closest([(1 << len(standing.NAMES)) - 1]) == standing.NAMES


def test_where_the_rules_ask_no_guardian_the_child_gives_alone():
    """No shipped row says so; one that did would be followed."""
    ground = MinorGround(
        rule_id="L6", age_band="15_TO_17", maturity="SUFFICIENT", child_view="AGREES", guardians=2,
        guardians_excluded=0, reassess_at_us=T0 + 99 * HOUR,
    )  # fmt: skip
    view = ledger(act("GRANT", terms=terms(to_role("police_coordination"), minor=ground)))
    alone = {key: rule._replace(guardians=False) for key, rule in RULES.minors.items()}
    assert decide(request(), view, RULES).sections[0].reasons == ("GUARDIAN_MISSING", "TYPE_WITHHELD")
    assert decide(request(), view, replace(RULES, minors=alone)).outcome is Outcome.RELEASED
