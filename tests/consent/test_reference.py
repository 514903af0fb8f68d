"""The second decision agrees with what lawyers can read, and the first agrees with the second on whatever is asked."""

from __future__ import annotations

import tomllib
from datetime import date

import pytest

from consent.decide import decide
from consent.explain import considered
from consent.ledger import view_of
from consent.rules import parse, shipped
from schemas.acts import Giver, MinorGround
from tests.consent import reference
from tests.consent.cases import FOLDER, act_of, asked_of, cases, moment
from tests.consent.generated import PLAIN_RULES, RULES, STORIES, events_of, stories
from tests.consent.making import HOUR, T0, act, named, request, terms, to_role
from tests.consent.pure import pure

FILES = sorted(FOLDER.glob("*.json"))


def rules_of(case):
    ended = {version: date.fromisoformat(day) for version, day in case.get("texts_ended", {}).items()}
    return reference.RULES | {"texts_ended": reference.RULES["texts_ended"] | ended}


def told(answer):
    sections = {}
    for category, reasons in answer.sections:
        again = sum(key.split("#")[0] == category for key in sections)
        sections[f"{category}#{again}" if again else category] = reasons
    return sections


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_reference_answers_every_case(path):
    for _, case in cases(path):
        sender, known = case["request"]["sender"]["role"], case["request"].get("known_at")
        notes = [
            (act_of(one, sender), moment(one["recorded_at"]), one.get("signed", True)) for one in case["ledger"]
        ]  # fmt: skip
        asked, expected, rules = asked_of(case["request"]), case["expected"], rules_of(case)
        found = reference.decide(asked, notes, rules, None if known is None else moment(known))
        assert (found.outcome, told(found)) == (expected["outcome"], expected["sections"]), case["sentence"]
        assert found.obligations == set(expected.get("obligations", ())), case["sentence"]
        if "holds_until" in expected:
            assert found.holds_until_us == moment(expected["holds_until"]), case["sentence"]
        if "depends_on" in expected:
            assert found.depends_on == {named(one) for one in expected["depends_on"]}, case["sentence"]
        for consent, why in expected.get("why", {}).items():
            assert reference.why(asked, notes, named(consent), rules) == why, case["sentence"]


def differing(story, decider):
    """What the decision answers otherwise than the reference; empty: the same in everything."""
    found, other = decider(story), reference.decide(story.asked, story.notes, PLAIN_RULES)
    pairs = {
        "sections": ([(one.category, list(one.reasons)) for one in found.sections], other.sections),
        "outcome": (found.outcome, other.outcome),
        "depends_on": (set(found.depends_on), other.depends_on),
        "obligations": (set(found.obligations), other.obligations),
        "holds_until": (found.holds_until_us, other.holds_until_us),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def decided(story):
    return decide(story.asked, view_of(events_of(story.notes)), RULES)


@pure(stories)
def test_the_decision_is_the_reference(story):
    assert differing(story, decided) == {}


@pure(stories)
def test_why_a_consent_does_not_cover_is_the_same_in_both(story):
    one = story.asked.sections[0]
    view = view_of(events_of(story.notes))
    found = decided(story)
    if found.sections[0].released or len(story.asked.sections) > 1:
        return
    for record in considered(found, story.asked, view, RULES):
        if record.kind == "GRANT" and record.why_not:
            why = reference.why(story.asked, story.notes, record.consent_id, PLAIN_RULES)
            assert list(record.why_not) == why, one


def test_the_stories_tell_of_every_outcome_and_nearly_every_reason():
    """Positive control: what the properties range over is not a desert."""
    answers = [decided(story) for story in STORIES]
    outcomes = [str(one.outcome) for one in answers]
    assert {"RELEASED", "PARTIAL", "WITHHELD", "NEEDS_HUMAN", "REFUSED"} <= set(outcomes)
    assert outcomes.count("RELEASED") > len(STORIES) / 12
    reasons = {word for one in answers for section in one.sections for word in section.reasons}
    assert set(reference.ORDER) <= reasons


@pytest.mark.parametrize("forgotten", ["WITHDRAW", "SUSPEND", "BLOCK", "AMEND", "RESUME", "LIFT", "EXPIRE", "LAPSE",
                                       "ANNUL", "UNBLOCK", "WITHDRAW_ALL"])  # fmt: skip
def test_a_decision_that_forgets_an_act_differs(forgotten):
    """Positive control."""

    def forgets(story):
        kept = tuple(one for one in story.notes if one[0].act != forgotten)
        return decided(story._replace(notes=kept))

    assert any(differing(story, forgets) for story in STORIES)


# --- what no story holds


def ledger_of(*acts):
    """Acts recorded an hour apart, all signed."""
    return tuple((one, T0 + place * HOUR, True) for place, one in enumerate(acts))


def child_of(guardians, excluded, *gave):
    ground = MinorGround(
        rule_id="L3", age_band="UNDER_12", maturity="INSUFFICIENT", child_view="AGREES", guardians=guardians,
        guardians_excluded=excluded, reassess_at_us=T0 + 90 * HOUR,
    )  # fmt: skip
    givers = tuple(Giver(person=one, capacity="GUARDIAN", method="WRITTEN", at_us=T0) for one in gave)
    return act("GRANT", terms=terms(to_role("police_coordination"), givers=givers, minor=ground))


GRANTED = act("GRANT", terms=terms(to_role("police_coordination")))
LATER = T0 + 12 * HOUR  # after the moment asked about
CORNERS = {
    "a suspension that is to end later": (
        ledger_of(GRANTED, act("SUSPEND"), act("RESUME", effective_at_us=LATER)), {"SUSPENDED"}),
    "a block that is to end later": (
        ledger_of(GRANTED, act("BLOCK", "X", terms=terms(categories=())), act("UNBLOCK", "X", effective_at_us=LATER)),
        {"BLOCK_IN_FORCE"}),
    "fewer than none excluded": (ledger_of(child_of(1, -1, 2)), {"CAPACITY"}),
    "fewer than none with custody": (ledger_of(child_of(-1, 0, 2)), {"CAPACITY"}),
    "one of two guardians": (ledger_of(child_of(2, 0, 2)), {"GUARDIAN_MISSING"}),
}  # fmt: skip


@pytest.mark.parametrize("corner", CORNERS)
def test_the_decision_is_the_reference_where_no_story_goes(corner):
    notes, expected = CORNERS[corner]
    found = decide(request(), view_of(events_of(notes)), RULES)
    assert set(found.sections[0].reasons) == expected | {"TYPE_WITHHELD"}
    assert reference.decide(request(), notes, PLAIN_RULES).sections == [("IC13", list(found.sections[0].reasons))]


SHIPPED = shipped()[0].decode()
OTHER_RULES = {
    "nobody asks for the guardians": (SHIPPED.replace('guardians = "ALL"', 'guardians = "NONE"'), child_of(2, 0, 2)),
    "a duty of another row": (
        SHIPPED.replace('categories = ["IC08", "IC13", "IC14"]', 'categories = ["IC13"]').replace(
            "# --- a child's consent",
            '[[pairs]]\nrow = "LB-02"\nsender = "social_services_lead"\nrecipient = "police_coordination"\n'
            'categories = ["IC14"]\nobligations = ["NO_ONWARD"]\n\n# --- a child\'s consent',
        ),
        GRANTED,
    ),
}


@pytest.mark.parametrize("change", OTHER_RULES)
def test_the_decision_is_the_reference_under_rules_that_no_case_has(change):
    text, granted = OTHER_RULES[change]
    notes = ledger_of(granted)
    found = decide(request(), view_of(events_of(notes)), parse(text.encode()))
    other = reference.decide(request(), notes, tomllib.loads(text))
    assert text != SHIPPED
    assert (str(found.outcome), set(found.obligations)) == (other.outcome, other.obligations)
    # As shipped they answer otherwise: the change is seen.
    before = decide(request(), view_of(events_of(notes)), RULES)
    assert (before.outcome, before.obligations) != (found.outcome, found.obligations)
