"""The verifier on consents that a broker kept back and recorded when it suited: the head they were signed on tells."""

from dataclasses import replace

import pytest

from audit import verify_decisions
from consent.decide import decide
from tests.consent.making import HOUR, T0, ask, named, request
from tests.trail.test_decisions import GRANT, RULES, WITHDRAW, Case

KEPT_BACK = replace(GRANT, consent_id=named("kept back"))  # signed when the ledger was empty


@pytest.fixture
def case(tmp_path):
    made = Case(tmp_path / "case.db")
    made.act(GRANT, 0)
    made.act(WITHDRAW, 1)
    return made


def released(case, hour):
    asked = request(sections=(ask("IC13"),), at_us=T0 + hour * HOUR)
    return decide(asked, case.view, RULES).sections[0].released


@pytest.mark.parametrize("defended", [True, False])
def test_a_consent_played_after_the_withdrawal_is_named(case, defended, monkeypatch):
    if not defended:
        monkeypatch.setattr(verify_decisions, "_played_late", lambda event, view: False)
    assert not released(case, 2)
    number = case.act(KEPT_BACK, 3)
    assert released(case, 4)  # to whoever reads the ledger alone it is a consent like any other
    decided, _ = case.decide("e1", 5)
    case.disclose(decided, 6)
    report = case.report()
    found = [(one.check, one.number, one.part) for one in report.findings]
    assert found == ([("ledger", number, "prev")] if defended else [])


def test_a_block_lifted_late_is_named(case):
    block = replace(WITHDRAW, act="BLOCK", consent_id=named("block"), terms=GRANT.terms)
    case.act(block, 2)
    number = case.act(replace(block, act="UNBLOCK", seq=1, terms=None), 3)  # signed before the block was recorded
    one = case.report().first()
    assert (one.check, one.number, one.part) == ("ledger", number, "prev")


def test_a_consent_given_again_is_whole(case):
    case.act(replace(KEPT_BACK, prev=case.view.head), 3)
    decided, _ = case.decide("e1", 4)
    case.disclose(decided, 5)
    assert case.report().findings == []


def test_what_narrows_may_come_late(case):
    """A withdrawal never waits for the head: kept back or not, it only takes."""
    case.act(replace(KEPT_BACK, prev=case.view.head), 3)
    case.act(replace(WITHDRAW, consent_id=KEPT_BACK.consent_id), 4)
    assert case.report().findings == []
