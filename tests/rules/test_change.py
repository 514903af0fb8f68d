"""The effective rules of a discloser: nothing unapproved opens, what closes holds at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.decide import decide
from consent.ledger import view_of
from consent.rules import MinorRule, Reserve, Rules, released, shipped
from consent.rules_change import derived, effective, narrower
from consent.rules_diff import changes
from schemas import codes
from schemas.errors import HandslagError
from schemas.said import SPOKEN
from tests.consent.making import HOUR, T0, act, ask, named, party, recorded, request, terms, to_role, to_unit
from tests.rules.ruling import CLOSED, HEALTH, OPENING, POLICE, SHIPPED, changed, rules

BASE = shipped()[1]
ROLES = tuple(codes.table()["role"])
CATEGORIES = tuple(codes.table()["category"])
EDITS = (
    ("", ""),
    (HEALTH, 'categories = ["IC07", "IC08"]'),
    (HEALTH, 'categories = ["IC14"]'),
    (POLICE, POLICE.replace('"IC04", "IC06"', '"IC06"')),
    (POLICE, POLICE + '\nasks_human = "CAPACITY"'),
    (POLICE, POLICE + '\nobligations = ["NO_ONWARD"]'),
    ('asks_human = "CAPACITY"\n', ""),
    ('["POL", "KV", "SIS"]', '["KV", "SIS"]'),
    ('["POL", "KV", "SIS"]', '["POL", "KV", "SIS", "SOC"]'),
    ('["BRA",', '["UTF", "BRA",'),
    ("to_unit = true", "to_unit = false"),
    ('purposes = ["INTAKE"]', 'purposes = ["INTAKE", "PLANNING"]'),
    ('purposes = ["INTAKE"]', 'purposes = ["PLANNING"]'),
    ('recipients = ["police_coordination"]', 'recipients = ["police_coordination", "health_care"]'),
    ('IC11 = "E-06" # OSL 26:14 b-c\n', 'IC12 = "E-06"\n'),
    ('IC11 = "E-06"', 'IC13 = "E-06"\nIC11 = "E-06"'),
    ('\nrecipient = "provider"\n\n# ---', '\nrecipient = "prison_probation"\n\n# ---'),
    ('categories = ["IC08", "IC13", "IC14"]', 'categories = ["IC08", "IC13", "IC14", "IC05"]'),
    ('categories = ["IC08", "IC12", "IC13"]', 'categories = ["IC12", "IC13"]'),
)


@cache
def edited(places: tuple[int, ...], number: int) -> Rules:
    """A file with some edits; the number makes its hash its own."""
    text = SHIPPED
    for place in places:
        old, new = EDITS[place]
        text = text.replace(old, new) if old else text
    try:
        return rules(text + f"\n# {number}\n")
    except HandslagError:  # two edits that make no file together
        return rules(SHIPPED + f"\n# {number}\n")


# Few files, so that what two of them have in common is computed once; drawn anew where the pool is enlarged.
POOL = [*((place,) for place in range(len(EDITS))), (1, 3), (2, 7), (4, 10), (5, 14), (6, 12), (8, 17), (13, 18, 1)]
files = st.lists(st.sampled_from(POOL), min_size=1, max_size=3).map(
    lambda several: tuple(edited(places, number) for number, places in enumerate(several))
)
role = st.sampled_from(ROLES)


def open_lanes() -> list[tuple[str, str, str]]:
    """Lanes in which something may go, of the rules of today and of every edit."""
    every = [BASE, *(edited((place,), 0) for place in range(len(EDITS)))]
    found: dict[tuple[str, str, str], None] = {}
    for one in every:
        for key, lane in [*one.lanes.items(), *(((SPOKEN, *pair), lane) for pair, lane in one.spoken.items())]:
            if not lane.refusals and () in lane.verdicts.values():
                found[key] = None
    return list(found)


OPEN = open_lanes()
anywhere = st.tuples(st.sampled_from(sorted({key[0] for key in BASE.lanes})), role, role)


@cache
def where(place: int) -> tuple[tuple[str, str, str, str, str], ...]:
    """Lane, category and detail of every difference that one edit makes."""
    return tuple(one[1:] for one in changes(BASE, edited((place,), 0)))


@st.composite
def asked(draw, edits=()):
    """A request under a grant that covers everything, so that the rules decide; most of them where an edit shows."""
    shown = [one for place in edits for one in where(place)]
    if shown and draw(st.integers(0, 4)):
        kind, sender, recipient, category, detail = draw(st.sampled_from(shown))
        some = [category]
    else:
        kind, sender, recipient = draw(st.one_of(st.sampled_from(OPEN), st.sampled_from(OPEN), anywhere))
        some, detail = draw(st.lists(st.sampled_from(CATEGORIES), max_size=3, unique=True)), ""
    lane = BASE.lane(kind, sender, recipient)
    some += [lane.type_category] if lane.type_category and draw(st.integers(0, 3)) else []
    some = some or [draw(st.sampled_from(CATEGORIES))]
    usual = ("PLANNING", "PLANNING", "INTAKE", *sorted(lane.purposes)[:3])
    unit = f"{codes.table()['role'][recipient]['authority']}/EXEMPEL/X"
    stated = draw(st.sampled_from((True, True, False)))
    one = request(
        [ask(category, public_interest_released=stated) for category in dict.fromkeys(some)],
        event_type=kind,
        sender=party(sender, member=named("own")),
        recipient=party(recipient, unit=unit),
        purpose=detail if detail in codes.table()["purpose"] else draw(st.sampled_from(usual)),
        at_us=T0 + HOUR,
    )
    to = draw(st.sampled_from((to_unit(unit), to_unit(unit), to_unit(unit), to_role(recipient, follows=True))))
    given_terms = terms(
        to, categories=CATEGORIES, purposes=tuple(codes.table()["purpose"]), actions=tuple(codes.table()["action"])
    )
    return one, view_of(recorded([(act("GRANT", terms=given_terms, member=named("own")), T0)]))


@st.composite
def played(draw):
    """Rule sets one after the other, the places of those approved, and a question where one of them differs."""
    several = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=3))
    steps = tuple(edited(places, number) for number, places in enumerate(several))
    question = draw(asked(tuple(place for places in several for place in places)))
    return steps, draw(st.sets(st.integers(0, 3), max_size=2)), question


def given_out(question, by: Rules) -> set[int]:
    """Places of the sections that are released."""
    decision = decide(*question, by)
    return {place for place, section in enumerate(decision.sections) if section.released}


def duties(question, by: Rules) -> set[str]:
    return set(decide(*question, by).obligations)


def test_the_questions_do_meet_the_rules():
    """The positive control of every property here: some of the questions are answered with a release."""
    found = []

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(played())
    def look(case):
        steps, _places, question = case
        found.append((bool(given_out(question, BASE)), given_out(question, BASE) != given_out(question, steps[-1])))

    look()
    assert sum(released for released, _differs in found) > 30
    assert sum(differs for _released, differs in found) > 15


@settings(max_examples=80, deadline=None)
@given(played())
def test_effective_rules_open_nothing_unapproved(case):
    """What is released under the effective rules is released under the newest approved step and each one since."""
    steps, places, question = case
    steps = (BASE, *steps)
    approved = {steps[place].hash32 for place in places if place < len(steps)}
    start = max((place for place, step in enumerate(steps) if step.hash32 in approved), default=0)
    out = given_out(question, effective(steps, approved))
    for step in steps[start:]:
        assert out <= given_out(question, step)
        if out:
            assert duties(question, step) <= duties(question, effective(steps, approved))


@settings(max_examples=80, deadline=None)
@given(played())
def test_what_closes_holds_at_once(case):
    """What the newest step refuses, the effective rules refuse, whoever has approved what."""
    steps, places, question = case
    approved = {steps[place].hash32 for place in places if place < len(steps)}
    assert given_out(question, effective((BASE, *steps), approved)) <= given_out(question, steps[-1])


@settings(max_examples=80, deadline=None)
@given(played(), st.integers(0, 3))
def test_one_more_approval_never_closes(case, more):
    steps, places, question = case
    approved = {steps[place].hash32 for place in places if place < len(steps)}
    before = given_out(question, effective((BASE, *steps), approved))
    assert before <= given_out(question, effective((BASE, *steps), approved | {steps[more % len(steps)].hash32}))


@settings(max_examples=60, deadline=None)
@given(played())
def test_a_difference_that_opens_nothing_opens_nothing(case):
    """The words agree with the decisions: without a change that opens, no question is answered with more."""
    steps, _places, question = case
    old, new = (BASE, *steps)[-2:]
    if not any(one.opens for one in changes(old, new)):
        assert given_out(question, new) <= given_out(question, old)
        assert narrower(old, new) is new
    else:
        assert not any(one.opens for one in changes(old, narrower(old, new)))
        assert not any(one.opens for one in changes(new, narrower(old, new)))


@settings(max_examples=60, deadline=None)
@given(files, st.sets(st.integers(0, 3)))
def test_every_effective_rule_set_is_found_again_by_its_hash(steps, places):
    steps = (BASE, *steps)
    approved = {steps[place].hash32 for place in places if place < len(steps)}
    one = effective(steps, approved)
    ways = derived(steps)[one.hash32]
    assert any(way.end == len(steps) - 1 and not changes(way.rules, one) for way in ways)


@pytest.mark.parametrize("place", range(1, len(EDITS)))
def test_the_narrower_of_two_opens_nothing_beside_either(place):
    """Every edit by itself, there and back, so that none of them is left to chance."""
    for old, new in ((BASE, edited((place,), 0)), (edited((place,), 0), BASE)):
        both = narrower(old, new)
        assert changes(old, new)
        assert not any(one.opens for one in (*changes(old, both), *changes(new, both)))


def test_a_step_that_only_closes_needs_nobody():
    closing = rules(CLOSED)
    assert effective((BASE, closing), ()) is closing


def test_a_step_that_opens_waits_and_is_named_by_a_hash_of_its_own():
    opening = rules(OPENING)
    waiting = effective((BASE, opening), ())
    assert waiting.hash32 not in {BASE.hash32, opening.hash32}
    assert not changes(BASE, waiting)
    assert effective((BASE, opening), {opening.hash32}) is opening


def test_a_step_back_is_a_step_of_its_own():
    """What the new version closed opens again only where the step back is approved; what it opened closes at once."""
    opening = rules(changed((HEALTH, 'categories = ["IC07", "IC08"]'), (POLICE, POLICE.replace('"IC04", ', ""))))
    back = rules(SHIPPED + "\n# the version after it\n")
    steps = (BASE, opening, back)
    waiting = effective(steps, {opening.hash32})
    assert {one.code for one in changes(BASE, waiting)} == {"CATEGORY_CLOSED"}
    assert not changes(BASE, effective(steps, {back.hash32}))


def test_no_steps_are_no_rules():
    with pytest.raises(HandslagError):
        effective((), ())


@dataclass(frozen=True)
class More(Rules):
    """Rules of a later version, with a field that is not compared."""

    more: int = 0


def test_a_field_that_cannot_be_compared_closes_everything():
    fields = {name: getattr(BASE, name) for name in Rules.__dataclass_fields__}
    one, other = More(**fields, more=1), More(**fields, more=2)
    both = narrower(one, replace(other, hash32=bytes(32)))
    assert both.lanes
    assert all("EVALUATION_ERROR" in lane.refusals for lane in (*both.lanes.values(), *both.spoken.values()))
    assert narrower(one, replace(one, hash32=bytes(32))).hash32 == bytes(32)


def conditioned(number: int, **more) -> Rules:
    """The shipped rules with other conditions beside their lanes."""
    none = {"minors": {}, "reservations": {}, "texts_ended": {}}
    return replace(BASE, hash32=bytes([number]) * 32, **{**none, **more})


def test_conditions_beside_the_lanes_are_narrowed_key_by_key():
    young, old = ("UNDER_12", "SUFFICIENT"), ("15_TO_17", "SUFFICIENT")
    one = conditioned(
        1,
        minors={young: MinorRule("L3", True, False), old: MinorRule("L3", True, True)},
        reservations={"NO_ORAL": Reserve(frozenset({"ORAL_DISCUSS"}), (), False)},
        texts_ended={"1": 50, "2": 70},
    )
    two = conditioned(
        2,
        minors={young: MinorRule("L5", False, True)},
        reservations={
            "NO_ORAL": Reserve(frozenset(), ("NO_ONWARD",), False),
            "NO_ONWARD": Reserve(frozenset(), (), True),
        },
        texts_ended={"1": 60, "3": 80},
    )
    both = narrower(one, two)
    assert both.minors == {young: MinorRule("L5", True, True)}
    assert both.reservations == {"NO_ORAL": Reserve(frozenset({"ORAL_DISCUSS"}), ("NO_ONWARD",), False)}
    assert both.texts_ended == {"1": 50, "2": 70, "3": 80}
    assert not any(each.opens for each in (*changes(one, both), *changes(two, both)))
    assert {(each.detail, each.opens, each.closes) for each in changes(one, two)} >= {
        ("minors.UNDER_12/SUFFICIENT", True, True),
        ("minors.15_TO_17/SUFFICIENT", False, True),
        ("texts_ended.1", True, False),
        ("texts_ended.3", False, True),
        ("reservations.NO_ONWARD", True, False),
    }
    assert narrower(one, conditioned(3, minors=one.minors, reservations=one.reservations,
                                     texts_ended={**one.texts_ended, "9": 1})).hash32 == bytes([3]) * 32  # fmt: skip


def test_released_rule_sets_can_follow_each_other():
    old = next(each for each in released().values() if each.version == "2026-11")
    waiting = effective((old, BASE), ())
    assert not any(one.opens for one in changes(old, waiting))
    assert effective((old, BASE), {BASE.hash32}) is BASE
