"""Who vouches for a key: units, seats, invitations and acceptances (protocol, "Who vouches for a key")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEntry(Record):
    """A unit's public keys, signed by its agency."""

    SCHEMA: ClassVar[str] = "handslag.member.UnitEntry"
    LABEL: ClassVar[str] = "HS1 unit"

    unit: str
    agency: str
    controller: str
    roles: tuple[str, ...]
    signing_key: bytes
    hpke_key: bytes
    valid_from_us: int
    valid_until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUnit(Record):
    """A unit entry with its agency's signature."""

    SCHEMA: ClassVar[str] = "handslag.member.SignedUnit"

    entry: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAgency(Record):
    """One agency of the trust list."""

    SCHEMA: ClassVar[str] = "handslag.member.TrustedAgency"

    agency: str
    signing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStatement(Record):
    """What the agencies sign when they vouch for one trust list."""

    SCHEMA: ClassVar[str] = "handslag.member.TrustStatement"
    LABEL: ClassVar[str] = "HS1 trust"

    origin: str
    log_key: str
    agencies: tuple[TrustedAgency, ...]
    supervisor_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatement(Record):
    """A seat's keys in a case."""

    SCHEMA: ClassVar[str] = "handslag.member.MemberStatement"
    LABEL: ClassVar[str] = "HS1 member"

    case_tag: bytes
    member: bytes
    role: str
    kind: str
    seq: int
    signing_key: bytes
    hpke_key_hash: bytes
    not_before_us: int
    not_after_us: int
    previous: bytes
    invitation_hash: bytes
    signer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatement(Record):
    """A member statement with its signature; the HPKE key travels beside the current one."""

    SCHEMA: ClassVar[str] = "handslag.member.SignedStatement"

    statement: bytes
    signature: bytes
    hpke_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation(Record):
    """Signed by the inviter's seat and by its unit."""

    SCHEMA: ClassVar[str] = "handslag.member.Invitation"
    LABEL: ClassVar[str] = "HS1 invitation"

    invitation_id: bytes
    case_tag: bytes
    inviter: bytes
    inviter_unit: str
    unit: str
    role: str
    core_hash: bytes
    digests_hash: bytes
    lead_statement_hash: bytes
    created_at_us: int
    expires_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance(Record):
    """Signed by the invited unit: it takes the role with these keys."""

    SCHEMA: ClassVar[str] = "handslag.member.Acceptance"
    LABEL: ClassVar[str] = "HS1 accept"

    invitation_hash: bytes
    unit: str
    role: str
    member: bytes
    signing_key: bytes
    hpke_key_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouch(Record):
    """The police seat's word for the key that takes a case over in a protected relocation; names no unit."""

    SCHEMA: ClassVar[str] = "handslag.member.Vouch"
    LABEL: ClassVar[str] = "HS1 vouch"

    case_tag: bytes
    invitation_hash: bytes
    member: bytes
    signing_key: bytes
    hpke_key_hash: bytes
    voucher: bytes
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession(Record):
    """The keys with which a seat will hold the lead's role once the lead has signed them over."""

    SCHEMA: ClassVar[str] = "handslag.member.Succession"
    LABEL: ClassVar[str] = "HS1 succession"

    case_tag: bytes
    member: bytes
    signing_key: bytes
    hpke_key_hash: bytes
    at_us: int
