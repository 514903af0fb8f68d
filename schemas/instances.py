"""A connector that is backed up, restored under a new number, or closed because its keys are in other hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryEntry(Record):
    """Whose recovery key counts for a unit; signed by its agency."""

    SCHEMA: ClassVar[str] = "handslag.instance.RecoveryEntry"
    LABEL: ClassVar[str] = "HS1 recovery"

    unit: str
    signing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStatement(Record):
    """A connector was rebuilt from a backup with two shares in hand; signed by the recovery key."""

    SCHEMA: ClassVar[str] = "handslag.instance.RestoreStatement"
    LABEL: ClassVar[str] = "HS1 restore"

    origin: str
    unit: str
    restore_id: bytes
    backup_at_us: int
    restored_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatement(Record):
    """A restored connector takes a number; signed by the unit."""

    SCHEMA: ClassVar[str] = "handslag.instance.InstanceStatement"
    LABEL: ClassVar[str] = "HS1 instance"

    origin: str
    unit: str
    instance: int
    restore_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Compromise(Record):
    """The unit's keys are in other hands; signed by the unit, which is closed by it."""

    SCHEMA: ClassVar[str] = "handslag.instance.Compromise"
    LABEL: ClassVar[str] = "HS1 compromised"

    origin: str
    unit: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupHeader(Record):
    """The first part of a backup file; its SHA-256 is bound to every chunk that follows."""

    SCHEMA: ClassVar[str] = "handslag.instance.BackupHeader"
    LABEL: ClassVar[str] = "HS1 backup"

    key_id: bytes
    chunk_bytes: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo(Record):
    """What the sealing of a backup's key is bound to."""

    SCHEMA: ClassVar[str] = "handslag.instance.BackupInfo"
    LABEL: ClassVar[str] = "HS1 backup key"

    key_id: bytes
    chunk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest(Record):
    """POST /v1/instances."""

    SCHEMA: ClassVar[str] = "handslag.api.InstanceRequest"

    statement: bytes
    unit_signature: bytes
    restore: bytes
    recovery_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAnswer(Record):
    """Answer to POST /v1/instances."""

    SCHEMA: ClassVar[str] = "handslag.api.InstanceAnswer"

    instance: int
    entry_id: bytes
    leaf_hash: bytes
    receipts: int
    seats: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompromisedRequest(Record):
    """POST /v1/compromised."""

    SCHEMA: ClassVar[str] = "handslag.api.CompromisedRequest"

    statement: bytes
    unit_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompromisedAnswer(Record):
    """Answer to POST /v1/compromised; the last that the unit gets."""

    SCHEMA: ClassVar[str] = "handslag.api.CompromisedAnswer"

    held: int
    entry_id: bytes
    leaf_hash: bytes
