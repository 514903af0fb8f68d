"""Audit entries as they are hashed into the log (audit trail, record format)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.inbox import AffectedDelivery
from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Record):
    """One entry; its bytes are the leaf."""

    SCHEMA: ClassVar[str] = "handslag.audit.AuditEntry"
    LABEL: ClassVar[str] = "HS1 entry"

    salt: bytes
    entry_id: bytes
    at_us: int
    operation: str
    owner: str
    handle: bytes
    outcome: str | None = None
    reason_class: str | None = None
    payload_commit: bytes
    cause: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedSection(Record):
    """One section in a recorded decision."""

    SCHEMA: ClassVar[str] = "handslag.audit.DecidedSection"

    category: str
    persons: tuple[int, ...]
    released: bool
    reasons: tuple[str, ...]
    grants: tuple[bytes, ...]
    public_interest_released: bool
    sender_withheld: bool
    data_from_us: int | None = None
    data_until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Record):
    """What ties the decision to the bytes the unit signed."""

    SCHEMA: ClassVar[str] = "handslag.audit.Evidence"

    core_hash: bytes
    digests_hash: bytes
    seat_signature: bytes
    attempt_hash: bytes
    bundle: bytes
    unit_signature: bytes
    index: int
    path: tuple[bytes, ...]
    core: bytes
    digests: bytes
    routing_item: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload(Record):
    """Encrypted under the entry's own key."""

    SCHEMA: ClassVar[str] = "handslag.audit.Payload"
    LABEL: ClassVar[str] = "HS1 payload"

    seat_id: bytes | None = None
    role: str | None = None
    counter_role: str | None = None
    counter_member: bytes | None = None
    counter_unit: str | None = None
    counter_state: str | None = None
    event_id: bytes | None = None
    event_type: str | None = None
    attempt: int | None = None
    delivery_id: bytes | None = None
    hand_number: int | None = None
    purpose: str | None = None
    action: str | None = None
    basis: str | None = None
    sections: tuple[DecidedSection, ...] = ()
    rules_hash: bytes | None = None
    ledger_seq: int | None = None
    decided_at_us: int | None = None
    act: bytes | None = None
    act_signature: bytes | None = None
    case_withdrawal: bytes | None = None
    affected: tuple[AffectedDelivery, ...] = ()
    recipient_sealed: bytes | None = None
    recipient_own: bytes | None = None
    evidence: Evidence | None = None
    actor_ref: str | None = None
    assurance: str | None = None
    query_purpose: str | None = None
    case_number: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Record):
    """Payload of a BEAT entry: how one beat's leaves came to be."""

    SCHEMA: ClassVar[str] = "handslag.audit.Beat"

    first: int
    size: int
    count: int
    seed: bytes
