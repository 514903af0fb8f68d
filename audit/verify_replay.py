"""Recorded decisions, put to `consent.decide` again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from consent.decide import decide
from consent.ledger import LedgerView, view_of
from consent.rules import Rules
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas import codes
from schemas.acts import ConsentAct, LedgerEvent
from schemas.identifiers import ZERO16, authority_of
from schemas.inbox import AffectedDelivery
from schemas.trail import AuditEntry, Payload


class Decided(NamedTuple):
    """An opened DECISION."""

    entry: AuditEntry
    payload: Payload


class Ledger:
    """A seat's consent ledger from its CONSENT_EVENT entries: by ledger number, (entry number, act, affected)."""

    def __init__(self, numbered: Mapping[int, tuple[int, LedgerEvent, tuple[AffectedDelivery, ...]]]) -> None:
        """Take acts 1..n without a gap."""
        self.acts = dict(numbered)
        self._view = view_of([event for _, event, _ in self.acts.values()])

    def view(self, ledger_seq: int | None = None) -> LedgerView:
        """Return the view after act number `ledger_seq`; all acts when None."""
        return self._view if ledger_seq is None else self._view.as_known(ledger_seq=ledger_seq)

    @property
    def size(self) -> int:
        """Number of acts."""
        return len(self.acts)

    @property
    def member(self) -> bytes:
        """Return the seat's member id (16 bytes), as its own acts name it; zeros when there is no act."""
        return next((ConsentAct.from_bytes(event.act).member for _, event, _ in self.acts.values()), ZERO16)

    def acts_before(self, number: int) -> int:
        """Return the ledger number of the newest act whose entry lies before entry `number`; 0 when none does."""
        return max((seq for seq, (at, _, _) in self.acts.items() if at < number), default=0)


def request_of(entry: AuditEntry, payload: Payload, ledger: Ledger, at_us: int) -> DecisionRequest:
    """Return the question that a recorded decision answered; states of seats are taken as recorded."""
    reasons = {reason for section in payload.sections for reason in section.reasons}
    return DecisionRequest(
        event_type=payload.event_type or "",
        sender=Party(
            role=payload.role or "",
            authority=_authority(entry.owner, payload.role or ""),
            unit=None,
            member=ledger.member,
            active="SENDER_INACTIVE" not in reasons,
            held=True,
        ),
        recipient=recipient_of(payload),
        sections=tuple(
            SectionAsk(
                category=section.category,
                persons=section.persons,
                public_interest_released=section.public_interest_released,
                sender_withheld=section.sender_withheld,
                data_from_us=section.data_from_us,
                data_until_us=section.data_until_us,
            )
            for section in payload.sections
        ),
        purpose=payload.purpose or "",
        action=payload.action or "",
        at_us=at_us,
    )


def _authority(owner: str, role: str) -> str:
    """The kind of authority of the owner where its code tells, else the one that holds the role by rule."""
    roles = codes.table()["role"]
    told = owner.split("/", 1)[0]
    if told in {row["authority"] for row in roles.values()}:
        return told
    return str(roles.get(role, {"authority": ""})["authority"])


def recipient_of(payload: Payload) -> Party:
    """Return the recipient of a recorded decision; a role that nobody held has no authority."""
    role, unit = payload.counter_role or "", payload.counter_unit
    held = payload.counter_state != "NONE"
    if unit is not None:
        authority = authority_of(unit)
    else:
        authority = str(codes.table()["role"].get(role, {"authority": ""})["authority"]) if held else ""
    active = payload.counter_state == "ACTIVE"
    return Party(role=role, authority=authority, unit=unit, member=payload.counter_member, active=active, held=held)


def check_decision(decided: Decided, ledger: Ledger, rules: Rules) -> str | None:
    """Compute a decision again; return the first field that differs, or None when all agree."""
    entry, payload = decided
    if payload.ledger_seq is None or payload.decided_at_us is None or payload.ledger_seq > ledger.size:
        return "ledger_seq"
    request = request_of(entry, payload, ledger, payload.decided_at_us)
    again = decide(request, ledger.view(payload.ledger_seq), rules)
    for recorded, computed in zip(payload.sections, again.sections, strict=True):
        for name in ("released", "reasons", "grants"):
            if getattr(recorded, name) != getattr(computed, name):
                return name
    return None if entry.outcome == again.outcome else "outcome"


def stranger(party: Party) -> Party:
    """Return the party as a unit that no act names."""
    return replace(party, unit=f"{party.authority}/-/-")
