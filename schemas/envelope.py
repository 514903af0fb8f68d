"""An event on its way: core, items, attempt, bundle, submission and delivery (protocol, "An event on the wire")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Core(Record):
    """What every recipient of an event is shown; the seat signature covers its hash."""

    SCHEMA: ClassVar[str] = "handslag.wire.Core"
    LABEL: ClassVar[str] = "HS1 core"

    event_id: bytes
    event_type: str
    schema_hash: bytes
    occurred_at_us: int
    sent_at_us: int
    valid_until_us: int | None = None
    purpose: str
    action: str
    statement_kind: str
    reliability: str | None = None
    in_reply_to: bytes | None = None
    replaces: bytes | None = None
    seat_key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedSection(Record):
    """One section as the broker sees it."""

    SCHEMA: ClassVar[str] = "handslag.wire.RoutedSection"

    category: str
    digest: bytes
    persons: tuple[int, ...]
    public_interest_released: bool
    data_from_us: int | None = None
    data_until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingItem(Record):
    """What the broker needs to decide; shown to the broker only."""

    SCHEMA: ClassVar[str] = "handslag.wire.RoutingItem"
    LABEL: ClassVar[str] = "HS1 routing"

    salt: bytes
    seat_id: bytes
    sections: tuple[RoutedSection, ...]
    is_minor: bool
    protected_handling: bool
    regime: str
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientItem(Record):
    """One recipient role and the commitment to its W; shown to the broker and to that recipient."""

    SCHEMA: ClassVar[str] = "handslag.wire.RecipientItem"
    LABEL: ClassVar[str] = "HS1 recipient"

    salt: bytes
    role: str
    w_commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionItem(Record):
    """One sealed section; shown to the broker and to recipients it is released to."""

    SCHEMA: ClassVar[str] = "handslag.wire.SectionItem"
    LABEL: ClassVar[str] = "HS1 section item"

    salt: bytes
    category: str
    ciphertext: bytes
    key_commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WCommitment(Record):
    """Hashed: binds a recipient item to one W."""

    SCHEMA: ClassVar[str] = "handslag.wire.WCommitment"
    LABEL: ClassVar[str] = "HS1 W"

    event_id: bytes
    role: str
    w: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCommitment(Record):
    """Hashed: one ciphertext means one text."""

    SCHEMA: ClassVar[str] = "handslag.wire.KeyCommitment"
    LABEL: ClassVar[str] = "HS1 section key"

    core_hash: bytes
    category: str
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionAad(Record):
    """Associated data of a section's AES-256-GCM."""

    SCHEMA: ClassVar[str] = "handslag.wire.SectionAad"
    LABEL: ClassVar[str] = "HS1 section"

    core_hash: bytes
    case_tag: bytes
    category: str
    projection_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapInfo(Record):
    """HPKE info of a wrap."""

    SCHEMA: ClassVar[str] = "handslag.wire.WrapInfo"
    LABEL: ClassVar[str] = "HS1 wrap"

    core_hash: bytes
    case_tag: bytes
    seat_key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatKey(Record):
    """Hashed: the id of a pair of public keys."""

    SCHEMA: ClassVar[str] = "handslag.wire.SeatKey"
    LABEL: ClassVar[str] = "HS1 seat key"

    signing_key: bytes
    hpke_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStatement(Record):
    """Signed by the sender's seat: core and digests of one event never change."""

    SCHEMA: ClassVar[str] = "handslag.wire.EventStatement"
    LABEL: ClassVar[str] = "HS1 event"

    core_hash: bytes
    digests_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey(Record):
    """A section key under W (RFC 3394)."""

    SCHEMA: ClassVar[str] = "handslag.wire.WrappedKey"

    index: int
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap(Record):
    """W sealed to one recipient, and the section keys under W."""

    SCHEMA: ClassVar[str] = "handslag.wire.Wrap"

    role: str
    seat_key_id: bytes
    enc: bytes
    keys: tuple[WrappedKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Record):
    """What may differ between attempts at sending one event."""

    SCHEMA: ClassVar[str] = "handslag.wire.Attempt"
    LABEL: ClassVar[str] = "HS1 attempt"

    event_id: bytes
    attempt: int
    rules_hash: bytes
    deadline_at_us: int | None = None
    recipients: tuple[str, ...]
    wraps: tuple[Wrap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(Record):
    """A sealed, signed event as a connector sends it."""

    SCHEMA: ClassVar[str] = "handslag.wire.Submission"

    core: bytes
    digests: bytes
    seat_signature: bytes
    attempt: bytes
    routing_item: bytes
    recipient_items: tuple[bytes, ...]
    section_items: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLeaf(Record):
    """One submission as a leaf of its bundle's RFC 6962 tree."""

    SCHEMA: ClassVar[str] = "handslag.wire.BundleLeaf"
    LABEL: ClassVar[str] = "HS1 leaf"

    core_hash: bytes
    digests_hash: bytes
    seat_signature: bytes
    attempt_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleStatement(Record):
    """Signed by the unit: it sent these submissions to this broker."""

    SCHEMA: ClassVar[str] = "handslag.wire.BundleStatement"
    LABEL: ClassVar[str] = "HS1 bundle"

    origin: str
    unit: str
    bundle_id: bytes
    count: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredSection(Record):
    """A released section with its wrapped key."""

    SCHEMA: ClassVar[str] = "handslag.wire.DeliveredSection"

    item: bytes
    index: int
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Record):
    """What one recipient seat is handed: the released sections and nothing else."""

    SCHEMA: ClassVar[str] = "handslag.wire.Delivery"

    delivery_id: bytes
    hand_number: int
    seat_id: bytes
    core: bytes
    digests: bytes
    seat_signature: bytes
    recipient_item: bytes
    sections: tuple[DeliveredSection, ...]
    seat_key_id: bytes
    enc: bytes
    obligations: tuple[str, ...]
    deadline_at_us: int | None = None
    valid_until_us: int
    entry_id: bytes
    leaf_hash: bytes
