"""Statutory disclosures of a unit as its connector would sign them, on the real broker of `tests/site.py`."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field, replace

from broker import acute, statute
from connectors import sealing
from connectors.keys import UnitKeyPair
from consent import provisions
from schemas import projection
from schemas.checks import sha256
from schemas.statute import (
    ApprovalRequest,
    ProvisionApproval,
    SecondRequest,
    SecondWord,
    SignedDisclosure,
    StatuteAnswer,
    StatuteNote,
    StatuteRequest,
    StatutoryDisclosure,
)
from tests.site import DAY, LEAD, Site, Unit

PROVISION = "OSL-10-27"  # the police to social services: threat and measures
TODAY = datetime.date(2026, 11, 23)
NOTE = StatuteNote(salt=bytes(16), text="varför").commitment


@dataclass
class Officer:
    """One person with a key of their own."""

    ref: str
    keys: UnitKeyPair = field(default_factory=UnitKeyPair.generate)


def said(text: str, *, call_back: str | None = None) -> dict[str, object]:
    """What is disclosed of one category."""
    one = {"kind": "ASSESSMENT", "as_of": TODAY, "text": text}
    return {"provision": PROVISION, "call_back": call_back, "statements": [one]}


@dataclass
class Desk:
    """One unit's deciders, and the sealed event they decide about."""

    site: Site
    unit: Unit
    decider: Officer = field(default_factory=lambda: Officer("handl-7"))
    other: Officer = field(default_factory=lambda: Officer("handl-9"))
    approval: bytes = b""

    @property
    def agency(self) -> UnitKeyPair:
        """The agency's own key pair, as the operator admitted it."""
        return self.site._agency

    def approval_of(self, **changes: object) -> ApprovalRequest:
        base = ProvisionApproval(
            agency=self.unit.code.rsplit("/", 1)[0],
            provision_id=PROVISION,
            provision_hash=provisions.shipped().provision(PROVISION).hash32,
            reviewer_ref="jurist-1",
            reviewed_at_us=self.site.clock(),
            valid_until_us=self.site.clock() + 300 * DAY,
            acute=True,
        )
        raw = replace(base, **changes).to_bytes()  # type: ignore[arg-type]
        return ApprovalRequest(
            call_id=os.urandom(16),
            agency_key=self.agency.public.signing,
            approval=raw,
            approval_signature=self.agency.sign(raw),
        )

    async def approve(self, **changes: object) -> None:
        request = self.approval_of(**changes)
        await statute.approve(self.site.context, self.unit.code, request)
        self.approval = request.approval

    def sealed(
        self, given: dict[str, object] | None = None, roles: tuple[str, ...] = (LEAD,), **plan: object
    ) -> sealing.SealedEvent:
        assert self.unit.members is not None
        data = given or {"threat": said("hot"), "measures": said("larm")}
        split = projection.split("statutory_disclosure", data)
        base = sealing.SealPlan(
            case_tag=self.unit.members.case_tag,
            seat_id=self.unit.seat_id,
            event_id=self.site.new_id(),
            event_type="statutory_disclosure",
            occurred_at_us=self.site.clock.us,
            sent_at_us=self.site.clock.us,
            purpose="PROTECTION",
            action="DISCLOSE",
            statement_kind="ASSESSMENT",
            roles=roles,
            sections=split,
            public_interest_released=frozenset(split) & {"IC04", "IC06"},
            is_minor=False,
            protected_handling=False,
            regime="BDL",
            basis="STATUTORY",
        )
        return sealing.seal_event(replace(base, **plan), self.unit.seat, os.urandom)  # type: ignore[arg-type]

    def statement(self, sealed: sealing.SealedEvent, **changes: object) -> StatutoryDisclosure:
        assert self.unit.members is not None
        categories = tuple(section.category for section in sealed.sections)
        base = StatutoryDisclosure(
            disclosure_id=os.urandom(16),
            case_tag=self.unit.members.case_tag,
            member=self.unit.member,
            core_hash=sha256(sealed.core),
            digests_hash=sha256(sealed.digests),
            role=LEAD,
            purpose="PROTECTION",
            categories=categories,
            public_interest_released=tuple(c for c in categories if c in {"IC04", "IC06"}),
            provision_id=PROVISION,
            provisions_hash=provisions.shipped().hash32,
            approval_hash=sha256(self.approval),
            initiated_by="OWN_INITIATIVE",
            necessity_commit=NOTE,
            secrecy=("OSL_35_1",),
            exclusions=("ROUTINE",),
            balanced="FOR",
            consent_sought="REFUSED",
            subject_informed="LATER",
            acute=False,
            decider_ref=self.decider.ref,
            decider_key=self.decider.keys.public.signing,
            assurance="OWN_KEY",
            decided_at_us=self.site.clock(),
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def word(self, statement: bytes, **changes: object) -> bytes:
        base = SecondWord(
            disclosure_hash=sha256(statement),
            verdict="CONFIRMED",
            ref=self.other.ref,
            key=self.other.keys.public.signing,
            assurance="OWN_KEY",
            at_us=self.site.clock(),
        )
        return replace(base, **changes).to_bytes()  # type: ignore[arg-type]

    def request(
        self,
        sealed: sealing.SealedEvent,
        told: StatutoryDisclosure,
        *,
        second: bool = True,
        give: frozenset[str] | None = None,
        **signed: object,
    ) -> StatuteRequest:
        raw = told.to_bytes()
        word = self.word(raw) if second else None
        every = frozenset(section.category for section in sealed.sections)
        given = {
            role.role: sealing.Given(self.site.units[role.role].seat.public, every if give is None else give)
            for role in sealed.roles
        }
        base = SignedDisclosure(
            statement=raw,
            seat_signature=self.unit.seat.sign(raw),
            unit_signature=self.unit.keys.sign(raw),
            decider_signature=self.decider.keys.sign(raw),
            approval=self.approval,
            approval_signature=self.agency.sign(self.approval),
            second=word,
            second_signature=None if word is None else self.other.keys.sign(word),
            second_seat_signature=None if word is None else self.unit.seat.sign(word),
        )
        return StatuteRequest(
            call_id=os.urandom(16),
            seat_id=self.unit.seat_id,
            agency_key=self.agency.public.signing,
            disclosure=replace(base, **signed),  # type: ignore[arg-type]
            submission=sealing.attempt(sealed, 1, self.site.rules.hash32, None, given),
        )

    async def send(self, request: StatuteRequest) -> StatuteAnswer:
        return await statute.disclose(self.site.context, self.unit.code, request)

    async def disclose(self, *, second: bool = True, **changes: object) -> tuple[StatuteAnswer, StatutoryDisclosure]:
        sealed = self.sealed()
        told = self.statement(sealed, **changes)
        return await self.send(self.request(sealed, told, second=second)), told

    def second(self, told: StatutoryDisclosure, **changes: object) -> SecondRequest:
        """A second person's word that comes after."""
        word = self.word(told.to_bytes(), **changes)
        return SecondRequest(
            call_id=os.urandom(16),
            seat_id=self.unit.seat_id,
            disclosure_id=told.disclosure_id,
            second=word,
            second_signature=self.other.keys.sign(word),
            seat_signature=self.unit.seat.sign(word),
        )

    async def confirm(self, told: StatutoryDisclosure, **changes: object):
        return await acute.confirm(self.site.context, self.unit.code, self.second(told, **changes))
