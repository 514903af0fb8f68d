"""Disclosure without consent, with support in law: an agency's approval, a decision, a second person's word, the calls.

None of these records has a place for a consent or for an event that went before: what consent withheld cannot be
turned into one of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from schemas.envelope import Submission
from schemas.records import Record

TYPE = "statutory_disclosure"
"""The event type that carries what was disclosed, and nothing else does."""

OPERATION = "STATUTORY_DISCLOSURE"
BASIS = "STATUTORY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionApproval(Record):
    """An agency's lawyer has approved one provision as it is read here; signed by the agency."""

    SCHEMA: ClassVar[str] = "handslag.statute.ProvisionApproval"
    LABEL: ClassVar[str] = "HS1 approval"

    agency: str
    provision_id: str
    provision_hash: bytes
    reviewer_ref: str
    reviewed_at_us: int
    valid_until_us: int
    acute: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatutoryDisclosure(Record):
    """One disclosure as one person decided it; signed by that person, the seat and the unit."""

    SCHEMA: ClassVar[str] = "handslag.statute.StatutoryDisclosure"
    LABEL: ClassVar[str] = "HS1 statute"

    disclosure_id: bytes
    case_tag: bytes
    member: bytes
    core_hash: bytes
    digests_hash: bytes
    role: str
    purpose: str
    categories: tuple[str, ...]
    public_interest_released: tuple[str, ...]
    provision_id: str
    provisions_hash: bytes
    approval_hash: bytes
    initiated_by: str
    request_commit: bytes | None = None
    necessity_commit: bytes
    secrecy: tuple[str, ...]
    exclusions: tuple[str, ...]
    balanced: str | None = None
    age: str | None = None
    consent_sought: str
    subject_informed: str
    inform_by_us: int | None = None
    acute: bool
    decider_ref: str
    decider_key: bytes
    assurance: str
    decided_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondWord(Record):
    """What a second person says of a disclosure that another decided; signed by that person and the seat."""

    SCHEMA: ClassVar[str] = "handslag.statute.SecondWord"
    LABEL: ClassVar[str] = "HS1 second"

    disclosure_hash: bytes
    verdict: str
    ref: str
    key: bytes
    assurance: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatuteNote(Record):
    """Hashed: commits to a text (a request's reference, the reasons) that stays at the agency."""

    SCHEMA: ClassVar[str] = "handslag.statute.StatuteNote"
    LABEL: ClassVar[str] = "HS1 note"

    salt: bytes
    text: str

    @property
    def commitment(self) -> bytes:
        """SHA-256 of the note, 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDisclosure(Record):
    """A statutory disclosure with every signature under it: what the trail keeps."""

    SCHEMA: ClassVar[str] = "handslag.statute.SignedDisclosure"

    statement: bytes
    seat_signature: bytes
    unit_signature: bytes
    decider_signature: bytes
    approval: bytes
    approval_signature: bytes
    second: bytes | None = None
    second_signature: bytes | None = None
    second_seat_signature: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatuteRequest(Record):
    """POST /v1/disclosures:statutory."""

    SCHEMA: ClassVar[str] = "handslag.statute.StatuteRequest"

    call_id: bytes
    seat_id: bytes
    agency_key: bytes
    disclosure: SignedDisclosure
    submission: Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class StatuteOutcome(Record):
    """One category of a statutory disclosure: whether it goes, and why not as far as the sender may know."""

    SCHEMA: ClassVar[str] = "handslag.statute.StatuteOutcome"

    category: str
    released: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatuteAnswer(Record):
    """What became of it; recorded whatever it says. `confirm_by_us`: a second person is awaited."""

    SCHEMA: ClassVar[str] = "handslag.statute.StatuteAnswer"

    call_id: bytes
    seat_id: bytes
    decided_at_us: int
    outcome: str
    sections: tuple[StatuteOutcome, ...]
    confirm_by_us: int | None = None
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRequest(Record):
    """POST /v1/disclosures:confirm."""

    SCHEMA: ClassVar[str] = "handslag.statute.SecondRequest"

    call_id: bytes
    seat_id: bytes
    disclosure_id: bytes
    second: bytes
    second_signature: bytes
    seat_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest(Record):
    """POST /v1/provisions:approve."""

    SCHEMA: ClassVar[str] = "handslag.statute.ApprovalRequest"

    call_id: bytes
    agency_key: bytes
    approval: bytes
    approval_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer(Record):
    """An act about a statutory disclosure is recorded."""

    SCHEMA: ClassVar[str] = "handslag.statute.RecordedAnswer"

    call_id: bytes
    seat_id: bytes | None = None
    recorded_at_us: int
    entry_id: bytes
    leaf_hash: bytes
