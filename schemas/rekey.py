"""A seat whose keys are lost with no backup: what the broker tells of it, what it asks, what the others are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record
from schemas.statements import SignedStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekey(Record):
    """New keys that a lost seat asks two others to vouch for; its SHA-256 is read aloud."""

    SCHEMA: ClassVar[str] = "handslag.member.Rekey"
    LABEL: ClassVar[str] = "HS1 rekey"

    pin: bytes
    statement: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSeatsRequest(Record):
    """POST /v1/seats:lost."""

    SCHEMA: ClassVar[str] = "handslag.api.LostSeatsRequest"

    after: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSeat(Record):
    """An active seat of the unit, as a connector that lost it must know it."""

    SCHEMA: ClassVar[str] = "handslag.api.LostSeat"

    seat_id: bytes
    role: str
    member: bytes
    chain: bytes
    case_tag: bytes
    statements: tuple[SignedStatement, ...]
    may_sign: tuple[str, ...]
    handed: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSeatsAnswer(Record):
    """The unit's active seats by id, some at a time."""

    SCHEMA: ClassVar[str] = "handslag.api.LostSeatsAnswer"

    seats: tuple[LostSeat, ...]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyRequest(Record):
    """POST /v1/seats:rekey."""

    SCHEMA: ClassVar[str] = "handslag.api.RekeyRequest"

    call_id: bytes
    seat_id: bytes
    rekey: bytes
    unit_signature: bytes
    hpke_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyNotice(Record):
    """A seat of the case lost its keys and asks this one to vouch for new ones; names no unit."""

    SCHEMA: ClassVar[str] = "handslag.inbox.RekeyNotice"

    seat_id: bytes
    rekey: bytes
    hpke_key: bytes
    at_us: int
