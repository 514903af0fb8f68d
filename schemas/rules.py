"""A rule set on its way into force: the name of what lies between two files, a unit's approval, and the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRules(Record):
    """Hashed: names the rule set that allows what both of two rule sets allow; hashes of 32 bytes."""

    SCHEMA: ClassVar[str] = "handslag.rules.EffectiveRules"
    LABEL: ClassVar[str] = "HS1 effective rules"

    before: bytes
    proposed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesApproval(Record):
    """One unit lets a rule set open what it opens for the unit's own releases."""

    SCHEMA: ClassVar[str] = "handslag.rules.RulesApproval"
    LABEL: ClassVar[str] = "HS1 rules approval"

    origin: str
    unit: str
    rules_hash: bytes
    actor_ref: str
    assurance: str
    approved_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedApproval(Record):
    """An encoded RulesApproval with the Ed25519 signature (64 bytes) of the unit's key over it."""

    SCHEMA: ClassVar[str] = "handslag.rules.SignedApproval"

    approval: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesStateRequest(Record):
    """POST /v1/rules:state; without approvals it only asks."""

    SCHEMA: ClassVar[str] = "handslag.rules.RulesStateRequest"

    approvals: tuple[SignedApproval, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedApproval(Record):
    """An approval as recorded: the entry (16 bytes) and its leaf (32 bytes)."""

    SCHEMA: ClassVar[str] = "handslag.rules.RecordedApproval"

    rules_hash: bytes
    entry_id: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesStateAnswer(Record):
    """Where the rule sets of the caller's unit stand; hashes of 32 bytes, `steps` in the order they took effect."""

    SCHEMA: ClassVar[str] = "handslag.rules.RulesStateAnswer"

    base: bytes
    steps: tuple[bytes, ...]
    proposed: tuple[bytes, ...]
    effective: bytes
    approvals: tuple[RecordedApproval, ...]
