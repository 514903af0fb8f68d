"""With keys: content opens, decisions come out the same, and nothing was released after a withdrawal."""

import sqlite3
from dataclasses import replace

import pytest

from audit.entry import Draft
from audit.verify_rules import broken_in_clear, broken_in_payload
from consent.decide import decide
from consent.ledger import LedgerView
from consent.rules import released, shipped
from schemas.codes import reason_kind
from schemas.inbox import AffectedDelivery
from schemas.trail import AuditEntry, DecidedSection, Payload
from tests.consent.making import HOUR, T0, act, ask, named, recorded, request, scope, terms, to_role
from tests.trail import signing
from tests.trail.builder import Builder, checked
from tests.trail.signing import OWNER

SEAT = named("seat")
RULES = shipped()[1]
GRANT = act("GRANT", terms=terms(to_role("police_coordination"), categories=("IC12", "IC13")))
WITHDRAW = act("WITHDRAW", seq=1, noted_at_us=T0 + HOUR)


class Case:
    """One discloser's seat, written as the broker writes it."""

    def __init__(self, path):
        self.builder = Builder(path)
        self.events, self.view = [], LedgerView.empty()
        self.timed = []
        self.opened = self._write("KEY_STATEMENT", signing.opening(SEAT), T0)

    def _write(self, operation, payload, at_us, **clear):
        self.builder.at_us = max(self.builder.at_us, at_us)
        draft = Draft(operation=operation, owner=OWNER, payload=payload, seat_id=SEAT, **clear)
        return self.builder.write(draft, at_us)

    def act(self, one, hour, affected=(), by=signing.SEAT, **wrong):
        self.timed.append((one, T0 + hour * HOUR))
        event = recorded(self.timed)[-1]
        signature = None if event.signature is None else by.sign(event.act)
        event = replace(event, signature=signature)
        self.view = self.view.applied(event)
        assert not self.view.broken
        payload = Payload(
            seat_id=SEAT, ledger_seq=event.ledger_seq, act=event.to_bytes(), act_signature=signature,
            affected=tuple(affected), sections=(),
        )  # fmt: skip
        return self._write("CONSENT_EVENT", replace(payload, **wrong), event.recorded_at_us)

    def decide(self, event_id, hour, sections=("IC12", "IC13"), **wrong):
        asked = request(sections=tuple(ask(one) for one in sections), at_us=T0 + hour * HOUR)
        asked = replace(asked, recipient=replace(asked.recipient, unit=None))
        decision = decide(asked, self.view, RULES)
        listed = tuple(
            DecidedSection(
                category=one.category, persons=(0,), released=one.released, reasons=one.reasons, grants=one.grants,
                public_interest_released=False, sender_withheld=False,
            )
            for one in decision.sections
        )  # fmt: skip
        base = {
            "seat_id": SEAT, "role": asked.sender.role, "counter_role": asked.recipient.role,
            "counter_member": asked.recipient.member, "counter_state": "ACTIVE", "event_id": named(event_id),
            "basis": "CONSENT",
            "event_type": asked.event_type, "attempt": 1, "purpose": asked.purpose, "action": asked.action,
            "sections": listed, "rules_hash": RULES.hash32, "ledger_seq": self.view.ledger_seq,
            "decided_at_us": asked.at_us, "affected": (),
            "evidence": signing.evidence(SEAT, named(event_id), asked),
        }  # fmt: skip
        kinds = {reason_kind(reason) for one in listed for reason in one.reasons}
        clear = {"outcome": str(decision.outcome)}
        clear["reason_class"] = next((kind for kind in ("HUMAN", "PERSON", "RULE") if kind in kinds), None)
        clear.update({name: wrong.pop(name) for name in tuple(wrong) if name in clear})
        payload = Payload(**base | wrong)
        return payload, self._write("DECISION", payload, asked.at_us, **clear)

    def disclose(self, decided, hour, hand=1, sections=None, delivery="delivery", **wrong):
        released = tuple(replace(one, reasons=()) for one in decided.sections if one.released)
        payload = replace(
            decided,
            delivery_id=named(delivery), hand_number=hand, evidence=None, rules_hash=None, counter_state=None,
            decided_at_us=None, recipient_sealed=b"sealed", ledger_seq=self.view.ledger_seq,
            sections=released if sections is None else sections,
        )  # fmt: skip
        return self._write("DISCLOSURE", replace(payload, **wrong), T0 + hour * HOUR, outcome="RELEASED")

    def report(self, keys=None, anchors=None):
        self.builder.beat()
        self.builder.beat()
        self.builder.done()
        keys = self.builder.entry_keys if keys is None else keys
        return checked(self.builder.path, keys=keys, anchors=anchors or signing.anchors())


def hit(event_id, hand, removed, delivery="delivery"):
    return AffectedDelivery(
        delivery_id=named(delivery), event_id=named(event_id), role="police_coordination", hand_number=hand,
        removed=removed, state_before="HANDED" if hand else "PENDING",
    )  # fmt: skip


@pytest.fixture
def case(tmp_path):
    made = Case(tmp_path / "case.db")
    made.act(GRANT, 0)
    return made


def test_a_true_story_is_whole(case):
    decided, _ = case.decide("e1", 1)
    assert all(section.released for section in decided.sections)
    case.disclose(decided, 2)
    case.disclose(decided, 3, hand=2)
    case.act(WITHDRAW, 4, [hit("e1", 2, 2)])
    refused, _ = case.decide("e2", 5)
    assert not any(section.released for section in refused.sections)
    report = case.report()
    assert report.findings == []
    assert report.decided == 2
    assert report.opened == report.entries
    assert "other-keys" not in report.not_shown


OLDER = sorted(digest for digest in released() if digest != RULES.hash32)


@pytest.mark.parametrize("older", OLDER)
def test_a_decision_is_executed_again_on_its_own_rules(case, older):
    decided, _ = case.decide("e1", 1, rules_hash=older)
    case.disclose(decided, 2)
    case.act(WITHDRAW, 3)
    _, lie = case.decide("e2", 4, outcome="RELEASED", reason_class=None, rules_hash=older)
    report = case.report()
    assert report.decided == 2
    assert [(one.check, one.number) for one in report.findings] == [("decision", lie)]


def test_every_rule_set_that_was_released_is_kept():
    assert {rules.version for rules in released().values()} == {"2026-11", "2026-11-22", "2026-11-23"}


def test_a_decision_that_comes_out_differently_is_named(case):
    case.act(WITHDRAW, 2)
    _, number = case.decide("e2", 3, outcome="RELEASED", reason_class=None)
    report = case.report()
    assert (report.first().check, report.first().number, report.first().part) == ("decision", number, "outcome")


@pytest.mark.parametrize("field", ["released", "grants", "ledger_seq", "purpose", "counter_member"])
def test_a_changed_fact_of_a_decision_is_named(case, field):
    true, _ = case.decide("e1", 1)
    case.act(WITHDRAW, 2)
    changed = {
        "released": {"ledger_seq": 2, "decided_at_us": T0 + 3 * HOUR},
        "grants": {"sections": tuple(replace(one, grants=(named("C9"),)) for one in true.sections)},
        "ledger_seq": {"ledger_seq": 9},
        "purpose": {"purpose": "FOLLOW_UP"},
        "counter_member": {"counter_member": named("other")},
    }[field]
    payload = replace(true, **changed)
    number = case._write("DECISION", payload, T0 + HOUR, outcome="RELEASED")
    assert ("decision", number) in {(one.check, one.number) for one in case.report().findings}


def test_a_release_after_a_withdrawal_is_named(case):
    decided, _ = case.decide("e1", 1)
    case.disclose(decided, 2)
    case.act(WITHDRAW, 3, [hit("e1", 1, 2)])
    number = case.disclose(decided, 4, hand=2)
    report = case.report()
    assert (report.first().check, report.first().number, report.first().part) == ("release", number, "affected")


def test_a_release_after_a_withdrawal_that_forgot_to_list_it_is_named(case):
    decided, _ = case.decide("e1", 1)
    case.act(WITHDRAW, 3)
    number = case.disclose(decided, 4)
    report = case.report()
    assert (report.first().check, report.first().number, report.first().part) == ("release", number, "consent")


def test_a_release_that_claims_an_older_ledger_is_named(case):
    decided, _ = case.decide("e1", 1)
    case.act(WITHDRAW, 3)
    number = case.disclose(decided, 2, ledger_seq=1)
    assert case.report().first().number == number


def test_a_release_without_a_decision_is_named(case):
    decided, _ = case.decide("e1", 1)
    number = case.disclose(replace(decided, event_id=named("e9")), 2)
    report = case.report()
    assert (report.first().check, report.first().number, report.first().part) == ("release", number, "decision")


def test_fewer_sections_after_a_partial_withdrawal_are_right(case):
    decided, _ = case.decide("e1", 1)
    case.disclose(decided, 2)
    case.act(replace(WITHDRAW, scope=scope(categories=("IC12",))), 3, [hit("e1", 1, 1)])
    left = tuple(one for one in decided.sections if one.category == "IC13")
    case.disclose(decided, 4, hand=2, sections=left)
    assert case.report().findings == []


def test_what_was_not_opened_is_said_and_not_blamed(case):
    case.act(WITHDRAW, 2)
    case.decide("e1", 3)
    case.builder.beat()
    hidden = list(case.builder.entry_keys)[1]  # the grant's entry, after the key statement
    report = case.report({key: value for key, value in case.builder.entry_keys.items() if key != hidden})
    assert report.whole
    assert {"other-keys", "ledger-part"} <= set(report.not_shown)


def test_a_gap_in_the_ledger_is_named(tmp_path):
    case = Case(tmp_path / "gap.db")
    case.timed.append((GRANT, T0))
    case.view = case.view.applied(recorded(case.timed)[0])
    number = case.act(WITHDRAW, 2)
    report = case.report()
    assert (report.first().check, report.first().number) == ("ledger", number)


def test_a_wrong_key_and_a_changed_beat_record_are_named(case):
    _, number = case.decide("e1", 1)
    keys = case.builder.entry_keys
    (entry_id,) = case.builder.db.execute("select entry_id from entry where number=?", (number,)).fetchone()
    keys[entry_id] = bytes(32)
    report = case.report()
    assert (report.first().check, report.first().number) == ("open", number)
    with sqlite3.connect(case.builder.path) as db:
        # The newest sealed record against a row that a forger made agree with nothing else.
        db.execute("update beat set seed=zeroblob(32) where first=0")
    db.close()
    parts = [finding.part for finding in checked(case.builder.path, keys=keys).findings]
    assert "sealed" in parts


CLEAR = {
    "label": AuditEntry.LABEL, "version": 1, "operation": "ACK", "owner": OWNER, "outcome": None,
    "reason_class": None, "cause": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({}, None),
        ({"label": "HS1 other"}, "label"),
        ({"operation": "GOSSIP"}, "operation"),
        ({"owner": ""}, "owner"),
        ({"owner": "OPERATOR"}, "owner"),
        ({"operation": "BEAT"}, "owner"),
        ({"operation": "DECISION"}, "outcome"),
        ({"operation": "CONSENT_EVENT", "outcome": "RELEASED"}, "outcome"),
        ({"operation": "DECISION", "outcome": "MAYBE"}, "outcome"),
        ({"operation": "DECISION", "outcome": "RELEASED", "reason_class": "RULE"}, "reason_class"),
        ({"operation": "DECISION", "outcome": "REFUSED", "reason_class": "PERSON"}, "reason_class"),
        ({"operation": "DECISION", "outcome": "REFUSED", "reason_class": "RULE"}, None),
        ({"operation": "ERASURE"}, "cause"),
        ({"operation": "DISPOSAL", "cause": bytes(16)}, None),
    ],
)
def test_rules_of_the_clear_part(changed, field):
    assert broken_in_clear(CLEAR | changed) == field


def test_rules_of_the_content(case):
    decided, _ = case.decide("e1", 1)
    assert broken_in_payload("DECISION", decided) is None
    for name in ("seat_id", "event_id", "rules_hash", "ledger_seq", "evidence", "purpose"):
        assert broken_in_payload("DECISION", replace(decided, **{name: None})) == name
    assert broken_in_payload("DECISION", replace(decided, sections=())) == "sections"
    assert broken_in_payload("DECISION", replace(decided, recipient_sealed=b"x")) == "recipient_sealed"
    disclosed = replace(decided, evidence=None, delivery_id=bytes(16), hand_number=1)
    assert broken_in_payload("DISCLOSURE", disclosed) == "recipient_sealed"
    disclosed = replace(disclosed, recipient_sealed=b"x")
    assert broken_in_payload("DISCLOSURE", disclosed) is None
    assert broken_in_payload("DISCLOSURE", replace(disclosed, hand_number=0)) == "hand_number"
    assert broken_in_payload("DISCLOSURE", replace(disclosed, evidence=decided.evidence)) == "evidence"
    withheld = tuple(replace(one, released=False, reasons=("NO_RECORD",)) for one in disclosed.sections)
    assert broken_in_payload("DISCLOSURE", replace(disclosed, sections=withheld)) == "sections"
    silent = tuple(replace(one, released=False) for one in decided.sections)
    assert broken_in_payload("DECISION", replace(decided, sections=silent)) == "sections"
    assert broken_in_payload("HAND_OVER", replace(disclosed, recipient_sealed=b"x")) == "recipient_sealed"
    case.builder.done()
