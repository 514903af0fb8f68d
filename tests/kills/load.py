"""What an agency system drops under load, drawn by a seed: events of several types, grants, withdrawals.

Every command carries an `id` of its own and every section a value that occurs nowhere else, so that whoever compares
what was dropped with what came out can tell a lost section, a second copy and a mixed-up one apart.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

REFS = {"social": "EXEMPEL-S1", "police": "EXEMPEL-P1", "probation": "EXEMPEL-K1"}
ROLES = {"social": "social_services_lead", "police": "police_coordination", "probation": "prison_probation"}
CATEGORIES = {
    "social": ["IC01", "IC04", "IC12", "IC13"],
    "police": ["IC04", "IC06", "IC12"],
    "probation": ["IC12", "IC13"],
}
PURPOSES = ["THREAT_ASSESSMENT", "PLANNING", "REENTRY"]
_TO = {
    "threat_assessment_requested": ["police"],
    "threat_assessment_completed": ["social", "probation"],
    "coordination_meeting_scheduled": ["social", "police", "probation"],
    "seat_introduced": ["social", "police", "probation"],
}
_TYPES = {
    "social": ["threat_assessment_requested", "coordination_meeting_scheduled", "seat_introduced"],
    "police": ["threat_assessment_completed", "threat_assessment_completed", "seat_introduced"],
    "probation": ["coordination_meeting_scheduled", "coordination_meeting_scheduled", "seat_introduced"],
}


def sections(event_type: str, mark: str) -> dict[str, dict[str, Any]]:
    """Fields of one event by category, each category with the mark in it."""
    day = datetime.now(UTC).date() + timedelta(days=30)
    moment = (datetime.now(UTC) + timedelta(days=5)).isoformat(timespec="milliseconds")
    match event_type:
        case "threat_assessment_requested":
            facts = [{"statement_kind": "FACT", "text": f"EXEMPEL {mark}"}]
            return {
                "IC01": {"person_name": f"Tolvan EXEMPEL {mark}"},
                "IC04": {"reason_code": "EXIT_WISH", "urgency": "SOON", "known_facts": facts,
                         "answer_by": day.isoformat()},
            }  # fmt: skip
        case "threat_assessment_completed":
            return {
                "IC04": {"threat_level": "HIGH", "capability_known": True, "assessed_until": day.isoformat(),
                         "withheld_part": False, "released_by_decision_ref": f"EXEMPEL-{mark}"},
                "IC06": {"recommended_protection": ["ALARM", "AVOID_PLACES"]},
            }  # fmt: skip
        case "coordination_meeting_scheduled":
            return {
                "IC13": {"meeting_id": f"EXEMPEL-{mark}", "at": moment, "mode": "DIGITAL",
                         "agenda_codes": ["RELEASE_PLAN"], "requires_consent_ref": f"EXEMPEL-{mark}"},
            }  # fmt: skip
        case _:
            return {"IC12": {"unit_name": "EXEMPEL", "function": f"EXEMPEL {mark}", "phone": "010-000 00 00"}}


@dataclass(slots=True)
class Dropped:
    """One input file as it was dropped; `sections` are an event's expected fields by category."""

    unit: str
    name: str
    value: dict[str, Any]
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)


class Load:
    """Draws the next file. It is told which consents are in force, as an agency system knows from its receipts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def next(self, unit: str, consents: list[str], bare: bool) -> Dropped:
        """The next file of a unit; `consents` are ids it may withdraw, `bare` that it has no whole grant left."""
        if bare and self._random.random() < 0.8:
            return self.grant(unit)
        draw = self._random.random()
        if consents and draw < 0.07:
            return self._withdraw(unit, consents[-1])
        if draw < 0.11:
            return self._command(unit, {"do": "withdraw_case", "method": "ORAL_DOCUMENTED"})
        return self.event(unit)

    def unit(self) -> str:
        """Whose turn it is."""
        return self._random.choice(list(REFS))

    def grant(self, unit: str) -> Dropped:
        """A consent to everything this unit sends, to the two other roles."""
        others = [role for name, role in ROLES.items() if name != unit]
        return self._command(unit, terms([{"role": role} for role in others], CATEGORIES[unit], PURPOSES))

    def _withdraw(self, unit: str, consent: str) -> Dropped:
        category = self._random.choice(CATEGORIES[unit])
        scope = {"recipients": [], "categories": [category], "purposes": []}
        value: dict[str, Any] = {"do": "withdraw", "consent": consent}
        return self._command(unit, {**value, "scope": scope} if self._random.random() < 0.7 else value)

    def event(self, unit: str) -> Dropped:
        """An event of a type that this unit sends."""
        event_type = self._random.choice(_TYPES[unit])
        to = [ROLES[name] for name in _TO[event_type] if name != unit]
        if event_type == "coordination_meeting_scheduled" and unit == "probation":
            to = [ROLES["social"]]
        if event_type == "seat_introduced" and unit == "police":
            to = [ROLES["social"]]
        parts = sections(event_type, f"{unit}-{self._number}")
        data = {name: value for part in parts.values() for name, value in part.items()}
        if event_type == "seat_introduced":
            return self._command(unit, {"do": "introduce", "to": to, **data}, parts)
        purpose = "REENTRY" if event_type == "coordination_meeting_scheduled" else "THREAT_ASSESSMENT"
        released = [c for c in parts if unit == "police" and c in {"IC04", "IC06"}]
        value = {"do": "send", "event_type": event_type, "to": to, "purpose": purpose, "confirmed": True,
                 "public_interest_released": released, "data": data}  # fmt: skip
        return self._command(unit, value, parts)

    def _command(self, unit: str, value: dict[str, Any], parts: dict[str, dict[str, Any]] | None = None) -> Dropped:
        name = f"{self._number:05d}-{unit}"
        self._number += 1
        return Dropped(unit, name, {"id": name, "ref": REFS[unit], **value}, parts or {})


def terms(recipients: list[dict[str, Any]], categories: list[str], purposes: list[str]) -> dict[str, Any]:
    """A grant's terms, for ninety days."""
    until = (datetime.now(UTC) + timedelta(days=90)).isoformat(timespec="milliseconds")
    return {"do": "grant", "recipients": recipients, "categories": categories, "purposes": purposes,
            "valid_until": until, "text_version": "EXEMPEL-sv-1", "terms_version": "EXEMPEL-1",
            "processing_acknowledged": True, "method": "WRITTEN"}  # fmt: skip
