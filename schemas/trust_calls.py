"""Request and answer of `POST /v1/trust`: how the agencies' signatures under the trust list find each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRequest(Record):
    """POST /v1/trust: the signature of the caller's agency (64 bytes), or None to ask only."""

    SCHEMA: ClassVar[str] = "handslag.api.TrustRequest"

    signature: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencySignature(Record):
    """One agency's signature over the trust statement."""

    SCHEMA: ClassVar[str] = "handslag.api.AgencySignature"

    agency: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnswer(Record):
    """The encoded TrustStatement of every admitted agency, and the signatures that came so far.

    The broker carries them and vouches for nothing: a connector counts only signatures over the statement whose
    fingerprint its own administrator compared with another agency.
    """

    SCHEMA: ClassVar[str] = "handslag.api.TrustAnswer"

    statement: bytes
    signatures: tuple[AgencySignature, ...]
