"""The sealed capsule: where a person moves to, and the record that somebody looked (docs/relocation.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Record):
    """Where a person moves to; exists sealed only."""

    SCHEMA: ClassVar[str] = "handslag.capsule.Place"
    LABEL: ClassVar[str] = "HS1 place"

    address: str | None = None
    postal_code: str | None = None
    locality: str | None = None
    school: str | None = None
    contact: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCapsule(Record):
    """A place, sealed for the receiving unit."""

    SCHEMA: ClassVar[str] = "handslag.capsule.SealedCapsule"
    LABEL: ClassVar[str] = "HS1 capsule"

    capsule_id: bytes
    case_tag: bytes
    ciphertext: bytes
    enc: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CapsuleInfo(Record):
    """What a sealed place is bound to."""

    SCHEMA: ClassVar[str] = "handslag.capsule.CapsuleInfo"
    LABEL: ClassVar[str] = "HS1 capsule info"

    capsule_id: bytes
    case_tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRequest(Record):
    """POST /v1/capsules:look."""

    SCHEMA: ClassVar[str] = "handslag.api.LookRequest"

    call_id: bytes
    seat_id: bytes
    capsule_id: bytes
    allowed: bool
    actor_ref: str
    assurance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAnswer(Record):
    """The look is recorded."""

    SCHEMA: ClassVar[str] = "handslag.api.LookAnswer"

    call_id: bytes
    entry_id: bytes
    leaf_hash: bytes
