"""Rule files with other conditions on a consent: a child's own word, coded conditions, wordings out of use.

The shipped file with lines taken out, added or made milder or stricter, in any order; the questions are consents that
stand or fall with just these lines.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.decide import decide
from consent.ledger import view_of
from consent.rules import Rules, shipped
from consent.rules_change import effective, narrower
from consent.rules_diff import changes
from schemas.acts import Giver, InformationGiven, MinorGround, Reservation
from tests.consent.making import HOUR, T0, act, ask, recorded, request, terms, to_role
from tests.rules.ruling import SHIPPED, changed, rules

BASE = shipped()[1]
EARLY, LATE = "2026-11-01", "2027-11-01"  # before and after T0
MINOR = '[[minors]]\nrow = "L6"\nage_band = "{}"\nmaturity = "{}"\ncosign = {}\nguardians = "ALL"\n'


def child(band: str, maturity: str, cosign: str, new: str) -> tuple[str, str]:
    return MINOR.format(band, maturity, cosign), new


def block(code: str) -> str:
    """The lines of one coded condition."""
    found = re.search(rf'\[\[reservations\]\]\nrow = "L1"\ncode = "{code}"\n(?:[a-z].*\n)+', SHIPPED)
    assert found
    return found[0]


YOUNG = ("UNDER_12", "INSUFFICIENT", "false")
HALF = ("12_TO_14", "SUFFICIENT", "true")
EDITS = (
    ("", ""),
    child(*HALF, ""),  # nobody consents for such a child
    child(*HALF, MINOR.format(*HALF).replace("cosign = true", "cosign = false")),
    child(*HALF, MINOR.format(*HALF).replace('"ALL"', '"NONE"')),
    child(*YOUNG, MINOR.format(*YOUNG).replace("cosign = false", "cosign = true")),
    child(*YOUNG, MINOR.format(*YOUNG).replace('"ALL"', '"NONE"')),
    (block("NO_ORAL"), ""),
    (block("NO_ORAL"), block("NO_ORAL").replace('["ORAL_DISCUSS"]', '["DISCLOSE"]')),
    (block("NO_ONWARD"), block("NO_ONWARD").replace('denies = ["ONWARD_DISCLOSE"]\n', "")),
    (block("NO_ONWARD"), block("NO_ONWARD").replace('obligations = ["NO_ONWARD"]\n', "")),
    (block("WRITTEN_ONLY"), block("WRITTEN_ONLY") + 'obligations = ["DELETE_ON_WITHDRAWAL"]\n'),
    (block("WRITTEN_ONLY"), block("WRITTEN_ONLY") + "asks_human = true\n"),
    (block("ASK_EACH_TIME"), block("ASK_EACH_TIME").replace("asks_human = true", 'denies = ["ORAL_DISCUSS"]')),
    (f"EXEMPEL-1 = {EARLY}\n", ""),
    (f"EXEMPEL-1 = {EARLY}\n", f"EXEMPEL-1 = {LATE}\n"),
    (f"EXEMPEL-1 = {EARLY}\n", f"EXEMPEL-1 = {EARLY}\nEXEMPEL-2 = {EARLY}\n"),
)


@cache
def edited(place: int, number: int = 0) -> Rules:
    text = changed(EDITS[place]) if EDITS[place][0] else SHIPPED
    return rules(f"{text}\n# {number}\n")


def consent(**more):
    given_terms = terms(to_role("police_coordination"), actions=("DISCLOSE", "ORAL_DISCUSS", "ONWARD_DISCLOSE"), **more)
    return view_of(recorded([(act("GRANT", terms=given_terms), T0)]))


def minor(band: str, maturity: str, who: str):
    givers = {"GUARDIANS": ("GUARDIAN", "GUARDIAN"), "CHILD": ("SELF",), "ALL": ("GUARDIAN", "GUARDIAN", "SELF")}[who]
    numbered = zip((2, 3, 0) if len(givers) > 1 else (0,), givers, strict=False)
    return consent(
        minor=MinorGround(
            rule_id="L6", age_band=band, maturity=maturity, child_view="AGREES", guardians=2, guardians_excluded=0,
            reassess_at_us=T0 + 50 * HOUR,
        ),
        givers=tuple(
            Giver(person=person, capacity=capacity, method="WRITTEN", at_us=T0, authority_from_us=T0 - HOUR,
                  authority_until_us=T0 + 90 * HOUR) if capacity != "SELF"
            else Giver(person=0, capacity="SELF", method="WRITTEN", at_us=T0)
            for person, capacity in numbered
        ),
    )  # fmt: skip


TOLD = InformationGiven(
    language="sv", form="EASY", interpreter=False, how="READ_ALOUD", consequences_told=True, voluntary_told=True,
    refusal_told=True, text_hash=bytes(32),
)  # fmt: skip


@cache
def questions():
    """Consents that these lines decide about, for each action."""
    views = [minor(*who) for who in product(("UNDER_12", "12_TO_14"), ("INSUFFICIENT", "SUFFICIENT"),
                                            ("GUARDIANS", "CHILD", "ALL"))]  # fmt: skip
    views += [consent(reservations=(Reservation(code=code),))
              for code in ("NO_ORAL", "NO_ONWARD", "WRITTEN_ONLY", "ASK_EACH_TIME")]  # fmt: skip
    views += [consent(information=TOLD, text_version=version) for version in ("EXEMPEL-1", "EXEMPEL-2")]
    return [
        (request([ask("IC13")], action=action, at_us=T0 + HOUR), view)
        for view in views
        for action in ("DISCLOSE", "ORAL_DISCUSS", "ONWARD_DISCLOSE")
    ]


def goes(question, by: Rules) -> bool:
    return decide(*question, by).sections[0].released


def duties(question, by: Rules) -> set[str]:
    return set(decide(*question, by).obligations)


@pytest.mark.parametrize("place", range(1, len(EDITS)))
def test_every_edit_shows_in_a_question_and_is_told(place):
    """The positive control of the properties below, and that what is told agrees with what is answered."""
    now = edited(place)
    wider = any((goes(one, now) and not goes(one, BASE)) or
                (goes(one, now) and duties(one, BASE) - duties(one, now)) for one in questions())  # fmt: skip
    tighter = any((goes(one, BASE) and not goes(one, now)) or
                  (goes(one, BASE) and duties(one, now) - duties(one, BASE)) for one in questions())  # fmt: skip
    found = changes(BASE, now)
    assert wider or tighter
    assert any(one.opens for one in found) or not wider
    assert any(one.closes for one in found) or not tighter
    for old, new in ((BASE, now), (now, BASE)):
        both = narrower(old, new)
        assert not any(one.opens for one in (*changes(old, both), *changes(new, both)))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, len(EDITS) - 1), min_size=1, max_size=3),
    st.sets(st.integers(0, 3), max_size=2),
    st.integers(0, 10_000),
)
def test_no_condition_is_dropped_unapproved(places, approvals, number):
    """What goes under the effective rules goes under the newest approved file and each one since, with their duties."""
    steps = (BASE, *(edited(place, nth) for nth, place in enumerate(places)))
    approved = {steps[place].hash32 for place in approvals if place < len(steps)}
    start = max((place for place, step in enumerate(steps) if step.hash32 in approved), default=0)
    question, now = questions()[number % len(questions())], effective(steps, approved)
    if goes(question, now):
        assert all(goes(question, step) for step in steps[start:])
        assert all(duties(question, step) <= duties(question, now) for step in steps[start:])
    elif all(goes(question, step) for step in steps[start:]):
        pytest.fail("closed by no step at all")


def test_files_before_conditions_stand_beside_files_with_them():
    """Under the first file nothing of the kind was understood: what the second one says opens, and waits."""
    old = rules(
        re.sub(r"\n\[\[(minors|reservations)\]\]\n(?:[a-z].*\n)+|\n\[texts_ended\]\n(?:\S.*\n)*", "\n", SHIPPED)
    )
    assert not old.minors
    waiting = effective((old, BASE), ())
    for one in questions():
        assert goes(one, waiting) <= goes(one, old)
        assert goes(one, waiting) <= goes(one, BASE)
    assert any(goes(one, BASE) and not goes(one, waiting) for one in questions())
    assert effective((old, BASE), {BASE.hash32}) is BASE
