"""What waits in a unit's inbox (protocol, `POST /v1/inbox:fetch`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.acts import LedgerEvent
from schemas.envelope import Delivery
from schemas.records import Record
from schemas.statements import SignedStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionOutcome(Record):
    """What became of one section for one role."""

    SCHEMA: ClassVar[str] = "handslag.inbox.SectionOutcome"

    category: str
    released: bool
    carried_by: int | None = None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOutcome(Record):
    """What became of one submission for one role."""

    SCHEMA: ClassVar[str] = "handslag.inbox.RoleOutcome"

    role: str
    outcome: str
    sections: tuple[SectionOutcome, ...]
    obligations: tuple[str, ...]
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Record):
    """The broker's answer about a submission."""

    SCHEMA: ClassVar[str] = "handslag.inbox.Receipt"

    seat_id: bytes
    event_id: bytes
    attempt: int
    decided_at_us: int
    refused_code: str | None = None
    roles: tuple[RoleOutcome, ...]
    ledger_seq: int
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCount(Record):
    """What an act stopped, per role."""

    SCHEMA: ClassVar[str] = "handslag.inbox.RoleCount"

    role: str
    stopped: int
    may_have_arrived: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedDelivery(Record):
    """One delivery that an act shrank."""

    SCHEMA: ClassVar[str] = "handslag.inbox.AffectedDelivery"

    delivery_id: bytes
    event_id: bytes
    role: str
    hand_number: int
    removed: int
    state_before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerNotice(Record):
    """An act on the seat's ledger that another seat noted."""

    SCHEMA: ClassVar[str] = "handslag.inbox.LedgerNotice"

    seat_id: bytes
    event: LedgerEvent
    counts: tuple[RoleCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(Record):
    """Sections handed over earlier must not be used."""

    SCHEMA: ClassVar[str] = "handslag.inbox.Recall"

    seat_id: bytes
    delivery_id: bytes
    event_id: bytes
    digests: tuple[bytes, ...]
    code: str
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEnded(Record):
    """What was received earlier no longer rests on a consent in force."""

    SCHEMA: ClassVar[str] = "handslag.inbox.ConsentEnded"

    seat_id: bytes
    delivery_id: bytes
    event_id: bytes
    role: str
    categories: tuple[str, ...]
    code: str
    at_us: int
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementNotice(Record):
    """Keys of a member, or an acceptance that waits for the lead's statement."""

    SCHEMA: ClassVar[str] = "handslag.inbox.StatementNotice"

    seat_id: bytes
    statements: tuple[SignedStatement, ...]
    acceptance: bytes | None = None
    unit_signature: bytes | None = None
    hpke_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Record):
    """Something the unit must know, in codes."""

    SCHEMA: ClassVar[str] = "handslag.inbox.Notice"

    seat_id: bytes
    code: str
    event_id: bytes | None = None
    attempt: int | None = None
    role: str | None = None
    categories: tuple[str, ...]
    detail: str | None = None
    at_us: int
    entry_id: bytes | None = None
    leaf_hash: bytes | None = None
    member: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassNotice(Record):
    """To the lead: who takes its role over, as keys."""

    SCHEMA: ClassVar[str] = "handslag.inbox.PassNotice"

    seat_id: bytes
    statement: bytes
    signature: bytes
    hpke_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationDelivery(Record):
    """A sealed invitation."""

    SCHEMA: ClassVar[str] = "handslag.inbox.InvitationDelivery"

    invitation: bytes
    seat_signature: bytes
    unit_signature: bytes
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem(Record):
    """One item of the inbox; its body is the record its kind names."""

    SCHEMA: ClassVar[str] = "handslag.inbox.InboxItem"

    item_id: bytes
    kind: str
    body: bytes
