"""Why something would be released or not, and what an act would do, asked by the discloser's own seat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.calls import AuditQuery
from schemas.inbox import RoleCount
from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAsk(Record):
    """One section asked about."""

    SCHEMA: ClassVar[str] = "handslag.api.ExplainAsk"

    category: str
    persons: tuple[int, ...]
    public_interest_released: bool
    data_from_us: int | None = None
    data_until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest(Record):
    """POST /v1/decisions:explain."""

    SCHEMA: ClassVar[str] = "handslag.api.ExplainRequest"

    call_id: bytes
    seat_id: bytes
    query: AuditQuery
    role: str
    event_type: str
    purpose: str
    action: str
    sections: tuple[ExplainAsk, ...]
    as_of_us: int | None = None
    known_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSection(Record):
    """What is decided about one section."""

    SCHEMA: ClassVar[str] = "handslag.api.ExplainedSection"

    category: str
    released: bool
    reasons: tuple[str, ...]
    grants: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRecord(Record):
    """One record of the ledger, looked at for one section."""

    SCHEMA: ClassVar[str] = "handslag.api.ExplainedRecord"

    place: int
    consent_id: bytes
    kind: str
    effect: str | None = None
    why_not: tuple[str, ...]
    follows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAnswer(Record):
    """Whether something would be released, and what every record of the ledger says about it."""

    SCHEMA: ClassVar[str] = "handslag.api.ExplainAnswer"

    call_id: bytes
    as_of_us: int
    ledger_seq: int
    rules_hash: bytes
    outcome: str
    sections: tuple[ExplainedSection, ...]
    records: tuple[ExplainedRecord, ...]
    obligations: tuple[str, ...]
    holds_until_us: int | None = None
    broken: bool
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateRequest(Record):
    """POST /v1/decisions:simulate."""

    SCHEMA: ClassVar[str] = "handslag.api.SimulateRequest"

    call_id: bytes
    seat_id: bytes
    query: AuditQuery
    act: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDelivery(Record):
    """One delivery that would lose sections."""

    SCHEMA: ClassVar[str] = "handslag.api.SimulatedDelivery"

    event_id: bytes
    event_type: str
    role: str
    state: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateAnswer(Record):
    """What an act would do to what was released."""

    SCHEMA: ClassVar[str] = "handslag.api.SimulateAnswer"

    call_id: bytes
    as_of_us: int
    ledger_seq: int
    refused: str | None = None
    counts: tuple[RoleCount, ...]
    deliveries: tuple[SimulatedDelivery, ...]
    entry_id: bytes
    leaf_hash: bytes
