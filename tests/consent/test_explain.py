"""Explanations: every record is named with why it did not apply, in both languages, from the one table."""

from __future__ import annotations

import pytest

from consent.decide import decide
from consent.explain import considered, sentences
from consent.rules import shipped
from consent.terms import SectionAsk
from schemas.acts import Giver
from schemas.identifiers import shown
from tests.consent.making import T0, act, ledger, named, request, terms, to_role

RULES = shipped()[1]
VIEW = ledger(
    act("GRANT", "A", terms=terms(to_role("police_coordination"))),
    act("GRANT", "C", terms=terms(to_role("prison_probation"), purposes=("FOLLOW_UP",))),
    act("BLOCK", "B", terms=terms(to_role("provider"), actions=())),
    act("WITHDRAW", "A"),
)


def test_every_record_is_considered():
    found = considered(decide(request(), VIEW, RULES), request(), VIEW, RULES)
    assert [(one.consent_id, one.kind, one.effect, one.why_not) for one in found] == [
        (named("A"), "GRANT", None, ("WITHDRAWN",)),
        (named("C"), "GRANT", None, ("RECIPIENT_NOT_COVERED", "PURPOSE_MISMATCH")),
        (named("B"), "BLOCK", "BLOCK_OTHER", ()),
    ]


def test_the_consent_used_is_named():
    known = VIEW.as_known(ledger_seq=2)
    found = considered(decide(request(), known, RULES), request(), known)
    assert [one.effect for one in found] == ["USED", None]


def test_a_consent_of_one_person_does_not_cover_what_is_about_two():
    shared = request((SectionAsk("IC13", (0, 3), True, False),))
    known = VIEW.as_known(ledger_seq=2)
    told = considered(decide(shared, known, RULES), shared, known, RULES)
    assert [one.effect for one in told] == ["COVERS_SOME", None]
    gave = tuple(Giver(person=one, capacity="SELF", method="WRITTEN", at_us=T0) for one in (0, 3))
    both = ledger(act("GRANT", "A", terms=terms(to_role("police_coordination"), about=(0, 3), givers=gave)))  # control
    assert [one.effect for one in considered(decide(shared, both, RULES), shared, both, RULES)] == ["USED"]


@pytest.mark.parametrize(
    ("language", "told"),
    [
        (
            "sv",
            ("ett villkor för utlämnandet är inte uppfyllt", "samtycket är återkallat", "spärren gäller något annat"),
        ),
        ("en", ("a condition of the release is not met", "the consent is withdrawn", "is about something else")),
    ],
)
def test_sentences(language, told):
    text = "\n".join(sentences(decide(request(), VIEW, RULES), request(), VIEW, language, RULES))
    for part in (*told, shown(named("A")), shown(named("C")), "IC13", "(WITHDRAWN)", "[LB-02]"):
        assert part in text


def test_a_broken_ledger_says_so():
    broken = ledger(act("FORGET"))
    assert "could not be computed" in sentences(decide(request(), broken, RULES), request(), broken)[-1]
