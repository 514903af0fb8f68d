"""Units as far as the broker can tell: real keys and seals, what each signs, and the clock that a test moves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from connectors import opening
from connectors.keys import SeatKeyPair, UnitKeyPair
from connectors.membership import CaseMembers
from schemas import projection
from schemas.acts import CaseWithdrawal, ConsentAct, RecipientRef, Scope, Terms
from schemas.calls import ConsentsRequest
from schemas.envelope import Delivery
from schemas.identifiers import ZERO32
from schemas.inbox import InboxItem, Receipt

START = 1_790_000_000_000_000
DAY = 24 * 3600 * 1_000_000
ORIGIN = "test.example/audit"
LEAD = "social_services_lead"
POLICE = "police_coordination"
PROBATION = "prison_probation"
UNITS = {LEAD: "SOC/EXEMPEL/KONSULT", POLICE: "POL/EXEMPEL/SYD", PROBATION: "KV/EXEMPEL/FRI"}


class Clock:
    def __init__(self) -> None:
        self.us = START

    def __call__(self) -> int:
        self.us += 1
        return self.us


@dataclass
class Unit:
    """One unit's connector, as far as the broker can tell: keys, its seat, what it has received."""

    code: str
    role: str
    keys: UnitKeyPair = field(default_factory=UnitKeyPair.generate)
    seat: SeatKeyPair = field(default_factory=SeatKeyPair.generate)
    seat_id: bytes = b""
    member: bytes = b""
    members: CaseMembers | None = None
    head: bytes = ZERO32
    consents: dict[bytes, int] = field(default_factory=dict)
    remembered: dict[bytes, opening.Remembered] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    opened: list[opening.OpenedEvent] = field(default_factory=list)
    items: list[InboxItem] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def consent_act(
        self,
        act: str,
        consent_id: bytes,
        now_us: int,
        *,
        terms: Terms | None,
        scope: Scope | None,
        effective_at_us: int | None,
        actor_ref: str,
    ) -> bytes:
        """The next act on one of its consents."""
        assert self.members is not None
        return ConsentAct(
            case_tag=self.members.case_tag,
            member=self.member,
            consent_id=consent_id,
            seq=self.consents.get(consent_id, -1) + 1,
            prev=self.head,
            act=act,
            effective_at_us=effective_at_us,
            terms=terms,
            scope=scope,
            actor_ref=actor_ref,
            assurance="ASSERTED",
            noted_at_us=now_us,
        ).to_bytes()

    def withdrawal(self, now_us: int, effective_at_us: int | None) -> bytes:
        """The person's withdrawal of everything, as this seat notes it."""
        assert self.members is not None
        return CaseWithdrawal(
            case_tag=self.members.case_tag,
            recorder=self.member,
            withdrawal_id=os.urandom(16),
            effective_at_us=effective_at_us,
            method="ORAL_DOCUMENTED",
            actor_ref="frivårdsinspektör 1",
            assurance="ASSERTED",
            noted_at_us=now_us,
        ).to_bytes()

    def consents_request(self, body: bytes, call_id: bytes | None = None) -> ConsentsRequest:
        return ConsentsRequest(
            call_id=call_id or os.urandom(16), seat_id=self.seat_id, act=body, signature=self.seat.sign(body)
        )

    def opening_of(self, delivery: Delivery, now_us: int) -> opening.OpenedEvent:
        """Open a delivery as the recipient's connector does."""
        assert self.members is not None
        keyring = opening.Keyring(
            seat_id=self.seat_id, role=self.role, case_tag=self.members.case_tag, keys={self.seat.key_id: self.seat}
        )
        return opening.open_delivery(
            delivery, keyring=keyring, members=self.members, may_send=lambda *_: True, now_us=now_us,
            remembered=self.remembered,
        )  # fmt: skip


def terms_of(
    refs: list[RecipientRef], categories: list[str], purposes: list[str], actions: tuple[str, ...], now_us: int,
    until_us: int,
) -> Terms:  # fmt: skip
    return Terms(
        recipients=tuple(refs),
        categories=tuple(categories),
        purposes=tuple(purposes),
        actions=actions,
        valid_from_us=now_us,
        valid_until_us=until_us,
        reservations=(),
        text_version="sv-2026-1",
        terms_version="2026-1",
        processing_acknowledged=True,
        given_by="SELF",
        method="WRITTEN",
    )


def to_unit(code: str) -> RecipientRef:
    return RecipientRef(kind="UNIT", id=code, follows_role=False)


def to_role(role: str) -> RecipientRef:
    return RecipientRef(kind="ROLE", id=role, follows_role=False)


def assessment(**fields: Any) -> dict[str, bytes]:
    """Sections of a threat assessment: IC04 and, unless `recommended_protection` is taken out, IC06."""
    data: dict[str, Any] = {
        "threat_level": "HIGH",
        "capability_known": True,
        "assessed_until": __import__("datetime").date(2026, 12, 31),
        "withheld_part": True,
        "released_by_decision_ref": "EXEMPEL-1",
        "recommended_protection": ["ALARM"],
    }
    return projection.split("threat_assessment_completed", {**data, **fields})
