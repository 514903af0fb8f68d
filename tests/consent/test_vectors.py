"""The cases a lawyer can read (`tests/vectors/consent`), run against the decision."""

from __future__ import annotations

import re

import pytest

from consent.decide import decide
from consent.explain import considered
from schemas import codes
from schemas.codes import outcome_of
from tests.consent.cases import FOLDER, RULES, asked_of, cases, moment, rules_for, told, view_for
from tests.consent.making import named

RUN = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for path, case in cases(path)
]
WRITTEN = [pair for path in sorted(FOLDER.glob("*.json")) for pair in cases(path)]
LISTED = {row for lane in RULES.lanes.values() for row in lane.rows.values()}
ROW = re.compile(r"(LB|B|E)-\d\d|A-\d\d?|C|PROTOCOL|ACT-[A-Z]+|TERM-[a-z_]+|INV-\d\d?|-")


@pytest.mark.parametrize("case", RUN)
def test_case(case):
    asked, view, rules = asked_of(case["request"]), view_for(case), rules_for(case)
    found = decide(asked, view, rules)
    expected = case["expected"]
    assert told(found) == expected["sections"], case["sentence"]
    assert found.outcome == expected["outcome"], case["sentence"]
    assert found.outcome == outcome_of([(one.released, one.reasons) for one in found.sections])
    assert sorted(found.obligations) == sorted(expected.get("obligations", []))
    if "holds_until" in expected:
        assert found.holds_until_us == moment(expected["holds_until"])
    if "depends_on" in expected:
        assert set(found.depends_on) == {named(one) for one in expected["depends_on"]}
    looked_at = considered(found, asked, view, rules)
    for consent, why in expected.get("why", {}).items():
        assert [list(one.why_not) for one in looked_at if one.consent_id == named(consent)] == [why]


@pytest.mark.parametrize("case", RUN)
def test_the_row_named_is_the_row_that_speaks(case):
    lane = case["request"]["event_type"], case["request"]["sender"]["role"], case["request"]["recipient"]["role"]
    if case["row"] in LISTED and case["row"].startswith(("LB-", "B-", "PROTOCOL")):
        assert case["row"] in {RULES.row(*lane, part["category"]) for part in case["request"]["sections"]}


def test_every_reason_a_decision_can_give_has_a_case():
    expected = [reasons for _, case in WRITTEN for reasons in case["expected"]["sections"].values()]
    statutory = {code for code in codes.table()["reason"] if code.startswith("STATUTORY_")}  # tests/vectors/statute
    assert not set(codes.table()["reason"]).difference(statutory, *expected)


def test_every_row_of_the_rules_has_a_case():
    assert not LISTED - {case["row"] for _, case in WRITTEN}


def test_a_case_is_a_sentence_with_a_row_and_a_name_of_its_own():
    assert len(WRITTEN) >= 200
    names = [(path.stem, case["name"]) for path, case in WRITTEN]
    assert len(names) == len(set(names))
    for path, case in WRITTEN:
        assert ROW.fullmatch(case["row"]), (path.stem, case["name"])
        assert case["sentence"].endswith(".")
        assert case["mening"].endswith(".")
        noted = [moment(one["recorded_at"]) for one in case["ledger"]]
        assert noted == sorted(noted), (path.stem, case["name"])
