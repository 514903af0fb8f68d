"""The operator's administrative acts as records: drawn up, signed by two, numbered without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.calls import KeyedEntry
from schemas.records import Record

ADMINISTRATORS = "ADMINISTRATORS"
ADMIT = "ADMIT"
REVOKE = "REVOKE"
RULES = "RULES"
RESTORE = "RESTORE"
HOLD = "HOLD"
ERASE = "ERASE"
RESTRICT = "RESTRICT"
LIFT = "LIFT"
PROPOSE = "PROPOSE"
ACTIVATE = "ACTIVATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrator(Record):
    """Somebody who may sign an administrative act; `name` is a function, never a person's name."""

    SCHEMA: ClassVar[str] = "handslag.admin.Administrator"

    name: str
    signing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTarget(Record):
    """One unit that an act is about; `subject` is the SHA-256 (32 bytes) of its encoded entry."""

    SCHEMA: ClassVar[str] = "handslag.admin.AdminTarget"

    unit: str
    subject: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAct(Record):
    """One act; `previous` is the SHA-256 of the encoded act before it, zeros in the first; times in microseconds.

    `subject` (32 bytes): the hash of the rules of RULES, PROPOSE and ACTIVATE; `audit.continuation.subject` of RESTORE
    and HOLD; of ERASE, RESTRICT and LIFT `SeatKeys.erasure_subject`, by which nobody knows the seat; else None.
    `reason` of ERASE and RESTRICT is a code of the list `erasure_ground` or `restriction_ground`. `rules` of PROPOSE
    is the file itself.
    """

    SCHEMA: ClassVar[str] = "handslag.admin.AdminAct"
    LABEL: ClassVar[str] = "HS1 admin act"

    origin: str
    number: int
    previous: bytes
    kind: str
    made_at_us: int
    targets: tuple[AdminTarget, ...] = ()
    administrators: tuple[Administrator, ...] = ()
    reason: str | None = None
    subject: bytes | None = None
    rules: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSignature(Record):
    """One administrator's Ed25519 signature (64 bytes) over the encoded act."""

    SCHEMA: ClassVar[str] = "handslag.admin.AdminSignature"

    name: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAdminAct(Record):
    """An act with the signatures under it."""

    SCHEMA: ClassVar[str] = "handslag.admin.SignedAdminAct"

    act: bytes
    signatures: tuple[AdminSignature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminActsAnswer(Record):
    """GET /v1/acts: the entry of every act, each with the key that opens it; the same for everybody."""

    SCHEMA: ClassVar[str] = "handslag.admin.AdminActsAnswer"

    entries: tuple[KeyedEntry, ...]
