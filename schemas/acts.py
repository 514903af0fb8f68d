"""Consent acts as they are signed and as the ledger hands them out (protocol, `/v1/consents`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRef(Record):
    """Whom a grant or a block names."""

    SCHEMA: ClassVar[str] = "handslag.ledger.RecipientRef"

    kind: str
    id: str
    member: bytes | None = None
    follows_role: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation(Record):
    """A condition the person set (OSL 12:2); without a code a human must read it."""

    SCHEMA: ClassVar[str] = "handslag.ledger.Reservation"

    code: str | None = None
    text_ref: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Giver(Record):
    """One who gave a consent, for himself or in another's place; `authority_until_us` is the first moment without."""

    SCHEMA: ClassVar[str] = "handslag.ledger.Giver"

    person: int
    capacity: str
    method: str
    at_us: int
    authority_from_us: int | None = None
    authority_until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinorGround(Record):
    """What was assessed of a person under 18; no birth date, no name (consent ledger, L3, L5, L6)."""

    SCHEMA: ClassVar[str] = "handslag.ledger.MinorGround"

    rule_id: str
    age_band: str
    maturity: str
    child_view: str
    guardians: int
    guardians_excluded: int
    reassess_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityGround(Record):
    """What was assessed of the person's capacity to decide."""

    SCHEMA: ClassVar[str] = "handslag.ledger.CapacityGround"

    status: str
    assessed_at_us: int
    valid_until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationGiven(Record):
    """How the wording of `text_version` was told to the person."""

    SCHEMA: ClassVar[str] = "handslag.ledger.InformationGiven"

    language: str
    form: str
    interpreter: bool
    how: str
    consequences_told: bool
    voluntary_told: bool
    refusal_told: bool
    text_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef(Record):
    """One piece of evidence kept at the agency, by its hash."""

    SCHEMA: ClassVar[str] = "handslag.ledger.EvidenceRef"

    kind: str
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(Record):
    """What a grant permits or a block forbids. Empty lists of a block mean all; None: as before the field existed."""

    SCHEMA: ClassVar[str] = "handslag.ledger.Terms"

    recipients: tuple[RecipientRef, ...]
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    actions: tuple[str, ...]
    valid_from_us: int
    valid_until_us: int | None = None
    reservations: tuple[Reservation, ...]
    text_version: str
    terms_version: str
    processing_acknowledged: bool
    given_by: str
    method: str
    evidence_hash: bytes | None = None
    kind: str | None = None
    about: tuple[int, ...] | None = None
    givers: tuple[Giver, ...] | None = None
    minor: MinorGround | None = None
    capacity: CapacityGround | None = None
    data_from_us: int | None = None
    data_until_us: int | None = None
    until_event: str | None = None
    review_by_us: int | None = None
    information: InformationGiven | None = None
    withdrawal_method: str | None = None
    all_agencies_required: bool | None = None
    recipient_obligations: tuple[str, ...] | None = None
    retention_until_us: int | None = None
    supersedes: bytes | None = None
    reserved: tuple[str, ...] | None = None
    evidence: tuple[EvidenceRef, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope(Record):
    """What a partial withdrawal takes back, a lift lifts, a lapse ends. Empty lists mean all."""

    SCHEMA: ClassVar[str] = "handslag.ledger.Scope"

    recipients: tuple[RecipientRef, ...]
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    givers: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentAct(Record):
    """One act on one consent of one discloser's seat."""

    SCHEMA: ClassVar[str] = "handslag.ledger.ConsentAct"
    LABEL: ClassVar[str] = "HS1 consent"

    case_tag: bytes
    member: bytes
    consent_id: bytes
    seq: int
    prev: bytes
    act: str
    effective_at_us: int | None = None
    terms: Terms | None = None
    scope: Scope | None = None
    actor_ref: str
    assurance: str
    noted_at_us: int
    lift_until_us: int | None = None
    ended_event: str | None = None
    review_by_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWithdrawal(Record):
    """The person withdraws everything of every discloser, noted by any seat of the case."""

    SCHEMA: ClassVar[str] = "handslag.ledger.CaseWithdrawal"
    LABEL: ClassVar[str] = "HS1 case withdrawal"

    case_tag: bytes
    recorder: bytes
    withdrawal_id: bytes
    effective_at_us: int | None = None
    method: str
    actor_ref: str
    assurance: str
    noted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(Record):
    """Who held a role when the act was recorded."""

    SCHEMA: ClassVar[str] = "handslag.ledger.Holder"

    role: str
    member: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLink(Record):
    """Hashed: the seat's ledger head after one act."""

    SCHEMA: ClassVar[str] = "handslag.ledger.HeadLink"
    LABEL: ClassVar[str] = "HS1 head"

    prev: bytes
    ledger_seq: int
    act_hash: bytes
    holders: tuple[Holder, ...]
    recorded_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent(Record):
    """One act as recorded."""

    SCHEMA: ClassVar[str] = "handslag.ledger.LedgerEvent"

    ledger_seq: int
    act: bytes
    signature: bytes | None = None
    holders: tuple[Holder, ...]
    recorded_at_us: int
    head: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatHead(Record):
    """Where a seat's ledger stands."""

    SCHEMA: ClassVar[str] = "handslag.ledger.SeatHead"

    seat_id: bytes
    ledger_seq: int
    head: bytes
