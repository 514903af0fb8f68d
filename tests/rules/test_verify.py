"""The offline verifier makes every effective rule set again, and names what was decided or released by another."""

from __future__ import annotations

import pytest

from audit.entry import OPERATOR, Draft
from consent.rules import shipped
from consent.rules_change import effective
from schemas.admin import RULES
from schemas.rules import RulesApproval
from schemas.trail import Payload
from tests.consent.making import HOUR, T0, UNITS
from tests.rules.force import Office
from tests.rules.ruling import HEALTH, changed, rules
from tests.trail import signing, test_decisions
from tests.trail.builder import ORIGIN
from tests.trail.test_decisions import GRANT, OWNER, Case

WIDER = changed((HEALTH, 'categories = ["IC07", "IC08"]'))
NARROWER = changed(
    ('categories = ["IC08", "IC13", "IC14"]', 'categories = ["IC08", "IC14"]'),
    text=changed(
        ('categories = ["IC01", "IC02", "IC04", "IC12"]\nonly', 'categories = ["IC01", "IC02", "IC04"]\nonly')
    ),
)


class Told(Case):
    """A case in whose trail the operator's acts stand too."""

    def __init__(self, path):
        super().__init__(path)
        self.office, self.written = Office(ORIGIN), 0
        self.act(GRANT, 0)
        self.shown()

    def shown(self, hour=0):
        for signed in self.office.signed[self.written :]:
            draft = Draft(operation="ADMIN", owner=OPERATOR, payload=Payload(act=signed.to_bytes(), decided_at_us=1))
            self.builder.write(draft, T0 + hour * HOUR)
        self.written = len(self.office.signed)

    def in_force(self, text, hour):
        found = self.office.propose(text)
        self.office.activate(found)
        self.shown(hour)
        return found

    def approved(self, found, hour, by=signing.UNIT):
        raw = RulesApproval(origin=ORIGIN, unit=UNITS[signing.ROLE], rules_hash=found.hash32, actor_ref="jurist 1",
                            assurance="ASSERTED", approved_at_us=1).to_bytes()  # fmt: skip
        payload = Payload(act=raw, act_signature=by.sign(raw), rules_hash=found.hash32)
        self.builder.write(Draft(operation="ADMIN", owner=OWNER, payload=payload), T0 + hour * HOUR)


@pytest.fixture
def case(tmp_path):
    return Told(tmp_path / "case.db")


def findings(case):
    report = case.report()
    assert "rules" not in report.not_shown
    return [(one.check, one.part) for one in report.findings]


def test_a_decision_by_what_lies_between_two_files_is_executed_again(case):
    wider = case.in_force(WIDER, 1)
    between = effective((shipped()[1], wider), ())
    assert between.hash32 not in {shipped()[1].hash32, wider.hash32}
    decided, _ = case.decide("e1", 2, rules_hash=between.hash32)
    case.disclose(decided, 3)
    case.approved(wider, 4)
    decided, _ = case.decide("e2", 5, rules_hash=wider.hash32)
    case.disclose(decided, 6, delivery="second")
    assert findings(case) == []


def test_a_decision_by_rules_that_nobody_approved_is_named(case):
    wider = case.in_force(WIDER, 1)
    case.decide("e1", 2, rules_hash=wider.hash32)
    assert findings(case) == [("rules", "effective")]


def test_a_decision_by_the_rules_before_is_named(case):
    case.in_force(WIDER, 1)
    case.decide("e1", 2)
    assert findings(case) == [("rules", "effective")]


def test_an_approval_that_the_unit_did_not_sign_is_named(case):
    wider = case.in_force(WIDER, 1)
    case.approved(wider, 2, by=signing.STRANGER)
    case.decide("e1", 3, rules_hash=wider.hash32)
    assert findings(case) == [("rules", "signature"), ("rules", "effective")]


def test_a_release_after_a_closing_is_named(case, monkeypatch):
    decided, _ = case.decide("e1", 1)
    case.disclose(decided, 2)
    narrower = case.in_force(NARROWER, 3)
    monkeypatch.setattr(test_decisions, "RULES", rules(NARROWER))
    refused, _ = case.decide("e2", 4)
    assert refused.rules_hash == narrower.hash32
    assert not any(section.released for section in refused.sections)
    case.disclose(decided, 5, hand=2)
    assert findings(case) == [("release", "rules")]


def test_a_trail_without_the_operator_s_entries_says_what_it_does_not_show(tmp_path):
    case = Case(tmp_path / "case.db")
    case.act(GRANT, 0)
    case.decide("e1", 1, rules_hash=bytes(32))
    report = case.report()
    assert report.findings == []
    assert "rules" in report.not_shown


@pytest.mark.parametrize("again", [False, True])
def test_rules_that_came_back_are_decided_by_alone(case, again):
    """From these rules to others and back: what was decided then stays right, what lay on them then does not since."""
    between = effective((shipped()[1], case.in_force(WIDER, 1)), ())
    case.decide("e1", 2, rules_hash=between.hash32)
    case.office.act(RULES, subject=bytes(32))
    case.office.act(RULES, subject=shipped()[1].hash32)
    case.shown(3)
    case.decide("e2", 4)
    if again:
        case.decide("e3", 5, rules_hash=between.hash32)
    assert findings(case) == ([("rules", "effective")] if again else [])


@pytest.mark.parametrize("early", [False, True])
def test_an_approval_before_a_closing_is_no_approval_in_the_trail(case, early):
    """Proposed, approved, something else closed, then put in force: only an approval after the closing counts."""
    wider = case.office.propose(WIDER)
    case.shown(1)
    if early:
        case.approved(wider, 2)
    closing = case.in_force(NARROWER, 3)
    if not early:
        case.approved(wider, 4)  # control
    case.office.activate(wider)
    case.shown(5)
    case.decide("e1", 6, rules_hash=wider.hash32)
    assert findings(case) == ([("rules", "effective")] if early else [])
    assert effective((shipped()[1], closing, wider), ()).hash32 != wider.hash32
