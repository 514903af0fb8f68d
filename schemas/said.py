"""What was said outside the broker, and notices that follow an annulled consent: records and the calls around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record

SPOKEN = "spoken"
"""Stands where an event's type stands when nothing was sent: what was said at a meeting, by phone, in a letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenDisclosure(Record):
    """What a seat says it said, signed by the seat: codes only, never what the words were."""

    SCHEMA: ClassVar[str] = "handslag.said.SpokenDisclosure"
    LABEL: ClassVar[str] = "HS1 said"

    case_tag: bytes
    member: bytes
    disclosure_id: bytes
    manner: str
    said_at_us: int
    purpose: str
    roles: tuple[str, ...]
    categories: tuple[str, ...]
    public_interest_released: tuple[str, ...]
    consents: tuple[bytes, ...]
    actor_ref: str
    assurance: str
    noted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRequest(Record):
    """POST /v1/disclosures:record."""

    SCHEMA: ClassVar[str] = "handslag.said.DisclosureRequest"

    call_id: bytes
    seat_id: bytes
    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidSection(Record):
    """One category that was said to one role: whether a consent covered it, and why not."""

    SCHEMA: ClassVar[str] = "handslag.said.SaidSection"

    category: str
    covered: bool
    reasons: tuple[str, ...]
    consents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidRole(Record):
    """What one role was told, and the entry that says so."""

    SCHEMA: ClassVar[str] = "handslag.said.SaidRole"

    role: str
    outcome: str
    sections: tuple[SaidSection, ...]
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureAnswer(Record):
    """What the decision says about what was said; it is recorded whatever the decision says."""

    SCHEMA: ClassVar[str] = "handslag.said.DisclosureAnswer"

    call_id: bytes
    decided_at_us: int
    ledger_seq: int
    roles: tuple[SaidRole, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulNotice(Record):
    """To a recipient of an earlier release: its consent was annulled. Codes only, nothing new about anybody."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulNotice"

    seat_id: bytes
    notice_id: bytes
    delivery_id: bytes
    event_id: bytes
    invitation_id: bytes | None = None
    ground: str
    from_role: str
    digests: tuple[bytes, ...]
    at_us: int
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulmentsRequest(Record):
    """POST /v1/annulments:list."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulmentsRequest"

    seat_id: bytes
    consent_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulledRelease(Record):
    """One release under an annulled consent, and its recipient's answer; `verdict` None: none yet."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulledRelease"

    notice_id: bytes
    delivery_id: bytes
    event_id: bytes
    event_type: str
    role: str
    categories: tuple[str, ...]
    hand_number: int
    state_before: str
    ground: str
    noticed_at_us: int
    verdict: str | None = None
    reason: str | None = None
    answered_at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulmentsPage(Record):
    """Every release made under an annulled consent."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulmentsPage"

    releases: tuple[AnnulledRelease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulAnswerRequest(Record):
    """POST /v1/annulments:answer."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulAnswerRequest"

    call_id: bytes
    notice_id: bytes
    verdict: str
    reason: str | None = None
    actor_ref: str
    assurance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnulAnswer(Record):
    """The recipient's answer is recorded, and the discloser told."""

    SCHEMA: ClassVar[str] = "handslag.said.AnnulAnswer"

    call_id: bytes
    recorded_at_us: int
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectRequest(Record):
    """POST /v1/corrections."""

    SCHEMA: ClassVar[str] = "handslag.said.CorrectRequest"

    call_id: bytes
    seat_id: bytes
    event_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectAnswer(Record):
    """Those who left will be told; how many they are is not said."""

    SCHEMA: ClassVar[str] = "handslag.said.CorrectAnswer"

    call_id: bytes
    recorded_at_us: int
