"""What a rule set says about disclosing on a law: pairs between which nothing goes, whose release decision is asked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from consent import provisions
from consent.rules import Rules, shipped
from consent.rules_change import effective, narrower
from consent.rules_diff import changes, sentences
from consent.statute import check, forbidden
from tests.rules.ruling import HEALTH, SHIPPED, changed, rules
from tests.statute.test_check import asked_rightly

BASE, REGISTRY = shipped()[1], provisions.shipped()
NEVER = 'sender = "police_coordination"\nrecipient = "provider"\n\n# ---'
WIDER = (HEALTH, 'categories = ["IC07", "IC08"]')


def shut(recipient: str, sender: str = "police_coordination") -> tuple[str, str]:
    """One more pair between which nothing goes, beside the one of the shipped file."""
    more = f'[[never]]\nrow = "LB-14"\nsender = "{sender}"\nrecipient = "{recipient}"\n\n# ---'
    return NEVER, NEVER.replace("# ---", more, 1)


EDITS = (
    WIDER,
    shut("social_services_lead"),
    shut("health_care"),
    shut("police_coordination", "social_services_lead"),
    ('["POL", "KV", "SIS"]', '["KV", "SIS"]'),
    ('["POL", "KV", "SIS"]', '["POL", "KV", "SIS", "SOC"]'),
    ('categories = ["IC04", "IC06"]\n\n# Secrecy no consent', 'categories = ["IC04"]\n\n# Secrecy no consent'),
    ('categories = ["IC04", "IC06"]\n\n# Secrecy no consent', 'categories = ["IC04", "IC13"]\n\n# Secrecy no consent'),
    ('["BRA",', '["POL", "BRA",'),
)


@cache
def edited(place: int, number: int) -> Rules:
    text = SHIPPED if place < 0 else changed(EDITS[place])
    return rules(f"{text}\n# {number}\n")


@cache
def questions() -> tuple[tuple[object, object], ...]:
    """Every provision, pair and category of the list, asked for as it should be: released and not."""
    found = []
    for one in REGISTRY.provisions.values():
        for (sender, recipient), lane in one.lanes.items():
            for category in lane:
                asked, approved = asked_rightly(one, sender, recipient, category)
                found += [(asked, approved), (_without_release(asked), approved)]
    return tuple(found)


def _without_release(asked):
    return replace(asked, released=frozenset())


def given_out(question, by: Rules) -> bool:
    asked, approved = question
    return check(asked, REGISTRY, approved, by).outcome == "RELEASED"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-1, len(EDITS) - 1), min_size=1, max_size=3),
    st.sets(st.integers(0, 3), max_size=2),
    st.integers(0, 10_000),
)
def test_no_step_that_nobody_approved_opens_a_law(places, approvals, number):
    """What is released on a law is released by the newest approved rule set and by each one since."""
    steps = (BASE, *(edited(place, nth) for nth, place in enumerate(places)))
    approved = {steps[place].hash32 for place in approvals if place < len(steps)}
    start = max((place for place, step in enumerate(steps) if step.hash32 in approved), default=0)
    question = questions()[number % len(questions())]
    if given_out(question, effective(steps, approved)):
        assert all(given_out(question, step) for step in steps[start:])
    asked, _approved = question
    told = [(category, category in asked.released) for category in asked.categories]
    assert forbidden(asked.sender, asked.recipient, told, effective(steps, approved)) != given_out(
        question, effective(steps, approved)
    )


def test_the_questions_do_meet_the_rules():
    """The positive control of the property: each edit shows in a question, and some are answered."""
    assert sum(given_out(one, BASE) for one in questions()) > 40
    for place in (1, 2, 3, 5, 8):
        now = edited(place, 0)
        assert any(given_out(one, BASE) and not given_out(one, now) for one in questions()), EDITS[place]
    for place in (4, 6):
        now = edited(place, 0)
        assert any(given_out(one, now) and not given_out(one, BASE) for one in questions()), EDITS[place]


def test_what_a_law_might_open_is_a_difference_too():
    """No consent goes from the police to a provider: what changes there is told all the same."""
    free = rules(changed(('sender = "police_coordination"\nrecipient = "provider"\n\n# ---',
                          'sender = "provider"\nrecipient = "prison_probation"\n\n# ---')))  # fmt: skip
    told = {(one.code, one.sender, one.recipient) for one in changes(BASE, free)}
    assert ("PAIR_OPENED", "police_coordination", "provider") in told
    assert ("PAIR_CLOSED", "provider", "prison_probation") in told
    waiting = narrower(BASE, free)
    assert waiting.hash32 != free.hash32
    assert waiting.never("police_coordination", "provider")
    assert waiting.never("provider", "prison_probation")
    assert narrower(waiting, free).never("police_coordination", "provider")
    unasked = rules(changed(('["POL", "KV", "SIS"]', '["POL", "SIS"]')))
    assert ("RELEASE_REMOVED", "prison_probation") in {(one.code, one.sender) for one in changes(BASE, unasked)}
    kept = narrower(BASE, unasked).lane("spoken", "prison_probation", "social_services_lead").needs_release
    assert kept == {"IC04", "IC06"}


def test_a_pair_that_was_closed_stays_closed_beside_what_waits_for_approval():
    """Secrecy that no consent lifts is told in every lane; a closed pair is known by having not one category."""
    both = effective((BASE, rules(changed(WIDER, shut("social_services_lead")))), ())
    assert both.never("police_coordination", "social_services_lead")
    assert not both.never("health_care", "social_services_lead")
    closed = next(one for one in questions() if one[0].recipient.role == "social_services_lead"
                  and one[0].sender.role == "police_coordination")  # fmt: skip
    assert given_out(closed, BASE)
    assert not given_out(closed, both)


def test_a_pair_is_told_in_words():
    free = rules(changed(shut("social_services_lead")))
    told = sentences(changes(BASE, free), "sv")
    assert any(line.endswith("ingenting lämnas ut, inte heller med stöd i lag") for line in told)
