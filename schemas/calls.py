"""Requests and answers of the /v1 calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.acts import LedgerEvent, SeatHead
from schemas.envelope import Submission
from schemas.inbox import AffectedDelivery, InboxItem, Receipt, RoleCount
from schemas.records import Record
from schemas.statements import SignedStatement, SignedUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest(Record):
    """POST /v1/submissions."""

    SCHEMA: ClassVar[str] = "handslag.api.SubmitRequest"

    bundle: bytes
    unit_signature: bytes
    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRefusal(Record):
    """One submission that was not taken."""

    SCHEMA: ClassVar[str] = "handslag.api.ItemRefusal"

    index: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitAnswer(Record):
    """202: what was taken waits for its decision; this acknowledges nothing."""

    SCHEMA: ClassVar[str] = "handslag.api.SubmitAnswer"

    accepted: int
    refusals: tuple[ItemRefusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest(Record):
    """POST /v1/inbox:fetch."""

    SCHEMA: ClassVar[str] = "handslag.api.FetchRequest"

    limit: int
    wait_ms: int | None = None
    without: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchAnswer(Record):
    """Items with a lease, and the heads of the unit's own seats."""

    SCHEMA: ClassVar[str] = "handslag.api.FetchAnswer"

    items: tuple[InboxItem, ...]
    heads: tuple[SeatHead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Record):
    """What became of one item at the connector."""

    SCHEMA: ClassVar[str] = "handslag.api.Ack"

    item_id: bytes
    hand_number: int
    verdict: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AckRequest(Record):
    """POST /v1/inbox:ack."""

    SCHEMA: ClassVar[str] = "handslag.api.AckRequest"

    acks: tuple[Ack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AckResult(Record):
    """What the broker recorded."""

    SCHEMA: ClassVar[str] = "handslag.api.AckResult"

    item_id: bytes
    code: str | None = None
    entry_id: bytes | None = None
    leaf_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AckAnswer(Record):
    """Answer to POST /v1/inbox:ack."""

    SCHEMA: ClassVar[str] = "handslag.api.AckAnswer"

    results: tuple[AckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentsRequest(Record):
    """POST /v1/consents."""

    SCHEMA: ClassVar[str] = "handslag.api.ConsentsRequest"

    call_id: bytes
    seat_id: bytes
    act: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentsAnswer(Record):
    """Answered after commit."""

    SCHEMA: ClassVar[str] = "handslag.api.ConsentsAnswer"

    call_id: bytes
    ledger_seq: int
    head: bytes
    recorded_at_us: int
    counts: tuple[RoleCount, ...]
    affected: tuple[AffectedDelivery, ...]
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest(Record):
    """POST /v1/cases:open."""

    SCHEMA: ClassVar[str] = "handslag.api.OpenRequest"

    call_id: bytes
    unit_role: str
    statement: SignedStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteRequest(Record):
    """POST /v1/seats:invite."""

    SCHEMA: ClassVar[str] = "handslag.api.InviteRequest"

    call_id: bytes
    seat_id: bytes
    invitation: bytes
    seat_signature: bytes
    unit_signature: bytes
    submission: Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteAnswer(Record):
    """What became of the invitation."""

    SCHEMA: ClassVar[str] = "handslag.api.InviteAnswer"

    call_id: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptRequest(Record):
    """POST /v1/seats:accept."""

    SCHEMA: ClassVar[str] = "handslag.api.AcceptRequest"

    call_id: bytes
    invitation_id: bytes
    acceptance: bytes
    unit_signature: bytes
    hpke_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRequest(Record):
    """POST /v1/seats:state."""

    SCHEMA: ClassVar[str] = "handslag.api.StateRequest"

    call_id: bytes
    seat_id: bytes
    statement: SignedStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequest(Record):
    """POST /v1/seats:pass."""

    SCHEMA: ClassVar[str] = "handslag.api.PassRequest"

    call_id: bytes
    seat_id: bytes
    statement: bytes
    signature: bytes
    hpke_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest(Record):
    """POST /v1/seats:close."""

    SCHEMA: ClassVar[str] = "handslag.api.CloseRequest"

    call_id: bytes
    seat_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyedRequest(Record):
    """POST /v1/seats:destroyed."""

    SCHEMA: ClassVar[str] = "handslag.api.DestroyedRequest"

    call_id: bytes
    seat_id: bytes
    seat_key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatAnswer(Record):
    """A seat as it stands after the call."""

    SCHEMA: ClassVar[str] = "handslag.api.SeatAnswer"

    call_id: bytes
    seat_id: bytes
    state: str
    ledger_seq: int
    head: bytes
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery(Record):
    """Why somebody looks (LED art. 25(2): closed list of purposes)."""

    SCHEMA: ClassVar[str] = "handslag.api.AuditQuery"

    purpose: str
    actor_ref: str
    assurance: str
    case_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRequest(Record):
    """POST /v1/recipients:name."""

    SCHEMA: ClassVar[str] = "handslag.api.RecipientRequest"

    call_id: bytes
    seat_id: bytes
    event_id: bytes
    role: str
    query: AuditQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientAnswer(Record):
    """Which unit received, or why that is not told."""

    SCHEMA: ClassVar[str] = "handslag.api.RecipientAnswer"

    call_id: bytes
    unit: str | None = None
    refused: str | None = None
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFetchRequest(Record):
    """POST /v1/ledger:fetch."""

    SCHEMA: ClassVar[str] = "handslag.api.LedgerFetchRequest"

    seat_id: bytes
    after_seq: int
    query: AuditQuery | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPage(Record):
    """Acts of the seat's ledger."""

    SCHEMA: ClassVar[str] = "handslag.api.LedgerPage"

    events: tuple[LedgerEvent, ...]
    ledger_seq: int
    head: bytes
    entry_id: bytes | None = None
    leaf_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFetchRequest(Record):
    """POST /v1/audit:fetch."""

    SCHEMA: ClassVar[str] = "handslag.api.AuditFetchRequest"

    call_id: bytes
    seat_id: bytes
    query: AuditQuery
    after: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedEntry(Record):
    """An audit entry with the key that opens its payload."""

    SCHEMA: ClassVar[str] = "handslag.api.KeyedEntry"

    number: int
    entry: bytes
    payload: bytes
    key: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage(Record):
    """Entries of the seat."""

    SCHEMA: ClassVar[str] = "handslag.api.AuditPage"

    entries: tuple[KeyedEntry, ...]
    entry_id: bytes
    leaf_hash: bytes
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofsRequest(Record):
    """POST /v1/proofs."""

    SCHEMA: ClassVar[str] = "handslag.api.ProofsRequest"

    leaf_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafProof(Record):
    """A tlog-proof, or null while the leaf waits for its beat."""

    SCHEMA: ClassVar[str] = "handslag.api.LeafProof"

    leaf_hash: bytes
    proof: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofsAnswer(Record):
    """Answer to POST /v1/proofs."""

    SCHEMA: ClassVar[str] = "handslag.api.ProofsAnswer"

    proofs: tuple[LeafProof, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsAnswer(Record):
    """GET /v1/units: the whole directory, the same for everybody."""

    SCHEMA: ClassVar[str] = "handslag.api.UnitsAnswer"

    units: tuple[SignedUnit, ...]
