"""What an entry of each operation must and must not say (audit trail, record format).

The clear part is checked for every entry; the encrypted part only by whoever holds the entry's key. A rule broken is
returned as the name of the field it is about, never with a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.entry import OPERATOR
from schemas import codes
from schemas.codes import Outcome
from schemas.records import VERSION
from schemas.said import SPOKEN
from schemas.statute import OPERATION
from schemas.trail import AuditEntry, DecidedSection, Payload

_OPERATORS_OWN = frozenset({"BEAT", "SEGMENT"})
_MAY_BE_OPERATORS = _OPERATORS_OWN | {"ADMIN", "AUDIT_QUERY", "DISPOSAL", "KEY_STATEMENT", "REFUSAL"}
_EXPLAINS = frozenset({"ERASURE", "DISPOSAL", "RESTRICTION"})
_NO_OUTCOME = (
    frozenset({"BEAT", "SEGMENT", "CONSENT_EVENT", "AUDIT_QUERY", "ADMIN", "KEY_STATEMENT", "COMBINATION"}) | _EXPLAINS
)
_CLASS_OF = {Outcome.REFUSED: "RULE", Outcome.NEEDS_HUMAN: "HUMAN", Outcome.WITHHELD: "PERSON"}


def broken_in_clear(entry: Mapping[str, Any]) -> str | None:
    """Return the first field of a decoded `AuditEntry` that breaks a rule, or None."""
    operation, outcome = entry["operation"], entry["outcome"]
    known = codes.table()
    if entry["label"] != AuditEntry.LABEL or entry["version"] != VERSION:
        return "label"
    if operation not in known["operation"]:
        return "operation"
    if not entry["owner"]:
        return "owner"
    if (entry["owner"] == OPERATOR and operation not in _MAY_BE_OPERATORS) or (
        entry["owner"] != OPERATOR and operation in _OPERATORS_OWN
    ):
        return "owner"
    if (outcome is None and operation == "DECISION") or (outcome is not None and operation in _NO_OUTCOME):
        return "outcome"
    if outcome is not None and outcome not in known["outcome"]:
        return "outcome"
    if not _class_fits(outcome, entry["reason_class"]):
        return "reason_class"
    # What explains a hole or destroys something must say who allowed it.
    return "cause" if operation in _EXPLAINS and entry["cause"] is None else None


def _class_fits(outcome: str | None, reason_class: str | None) -> bool:
    if reason_class is None:
        return True
    if outcome is None or outcome == Outcome.RELEASED:
        return False
    if outcome == Outcome.PARTIAL:
        return reason_class in _CLASS_OF.values()
    return reason_class == _CLASS_OF[Outcome(outcome)]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Fields that a payload of one operation must have, and what its sections may be."""

    must: tuple[str, ...] = ()
    sections: str = "any"  # any, some (at least one), released (at least one, all released)


_RELEASE = ("seat_id", "event_id", "event_type", "delivery_id", "hand_number", "purpose", "action")
_PAYLOADS: Mapping[str, _Rule] = {
    "DECISION": _Rule(
        ("seat_id", "role", "counter_role", "event_id", "event_type", "attempt", "purpose", "action", "rules_hash",
         "ledger_seq", "decided_at_us", "evidence"),
        "some",
    ),
    "DISCLOSURE": _Rule((*_RELEASE, "counter_role", "ledger_seq"), "released"),
    SPOKEN: _Rule(
        ("seat_id", "role", "counter_role", "counter_state", "event_id", "purpose", "action", "rules_hash",
         "ledger_seq", "decided_at_us", "act", "act_signature", "actor_ref"),
        "some",
    ),
    OPERATION: _Rule(("seat_id", "event_id", "event_type", "basis", "decided_at_us")),
    "HAND_OVER": _Rule(("event_id", "event_type", "delivery_id", "hand_number"), "released"),
    "CONSENT_EVENT": _Rule(("seat_id", "act", "ledger_seq")),
    "KEY_STATEMENT": _Rule(("seat_id", "act", "act_signature")),
    "COMBINATION": _Rule(("seat_id", "act", "act_signature", "actor_ref")),
    "ACK": _Rule(("delivery_id",)),
    "ERASURE": _Rule(("code", "basis")),
    "AUDIT_QUERY": _Rule(("query_purpose",)),
    "CONSULTATION": _Rule(("seat_id", "query_purpose", "actor_ref")),
}  # fmt: skip

# Evidence belongs to the discloser alone: with the recipient it would tie two parties together.
_ONLY_IN = {
    "recipient_sealed": frozenset({"DISCLOSURE", SPOKEN}),
    "recipient_own": frozenset({"DISCLOSURE", SPOKEN}),
    "evidence": frozenset({"DECISION", "REFUSAL", OPERATION}),
    "hand_number": frozenset({"DISCLOSURE", "HAND_OVER", "ACK"}),
    "query_purpose": frozenset({"AUDIT_QUERY", "CONSULTATION"}),
    "affected": frozenset({"CONSENT_EVENT"}),
    "case_withdrawal": frozenset({"CONSENT_EVENT"}),
    "act": frozenset({"CONSENT_EVENT", "KEY_STATEMENT", "ADMIN", "COMBINATION", SPOKEN, OPERATION}),
    "act_signature": frozenset({"CONSENT_EVENT", "KEY_STATEMENT", "ADMIN", "COMBINATION", SPOKEN, OPERATION}),
}


def broken_in_payload(operation: str, payload: Payload) -> str | None:
    """Return the first field of an opened payload that breaks a rule of its operation, or None."""
    if operation == "DISCLOSURE" and payload.event_type == SPOKEN:
        operation = SPOKEN  # nothing was handed over: it has a shape of its own
    for name, allowed in _ONLY_IN.items():
        if operation not in allowed and getattr(payload, name) not in (None, ()):
            return name
    # A submission that was taken and then refused has a sender, and that is proven like a decision's.
    if operation == "REFUSAL" and payload.event_id is not None and payload.evidence is None:
        return "evidence"
    rule = _PAYLOADS.get(operation)
    if rule is None:
        return None
    for name in rule.must:
        if getattr(payload, name) is None:
            return name
    if payload.hand_number is not None and payload.hand_number < 1:
        return "hand_number"
    # The recipient is told if and only if something was disclosed; an invited unit has no seat to seal it from yet.
    if operation == "DISCLOSURE" and payload.recipient_sealed is None and payload.counter_unit is None:
        return "recipient_sealed"
    return "sections" if rule.sections != "any" and not _fit(payload.sections, rule.sections) else None


def _fit(sections: tuple[DecidedSection, ...], rule: str) -> bool:
    names = [section.category for section in sections]
    known = codes.table()
    if not names or any(name not in known["category"] for name in names):
        return False
    for section in sections:
        if any(reason not in known["reason"] for reason in section.reasons):
            return False
        # Every refusal says why, and a release has no reason against it.
        if section.released == bool(section.reasons):
            return False
    return rule != "released" or all(section.released for section in sections)
