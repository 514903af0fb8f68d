"""The part of a trust list that a verifier needs: the log's key, the agencies' keys, and who signed the list."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from audit.anchors import holds
from audit.note import Verifier
from schemas.errors import HandslagError
from schemas.statements import TrustedAgency, TrustStatement

SIGNERS = 2
"""Agencies that must have signed a list before anybody uses it (protocol, "Directory")."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A trust list as read: origin, the log's key, agencies' keys (32 bytes) by code.

    `signers` counts the listed agencies whose signature holds; `fingerprint` is SHA-256 of the statement they signed,
    in hexadecimal, for two people to compare by phone.
    """

    origin: str
    log: Verifier
    agencies: Mapping[str, bytes]
    signers: int
    fingerprint: str


def read(text: str) -> Listed:
    """Read `trust.toml`; raises HS-TRAIL-UNREADABLE (`part` = trust).

    Whether to trust it is the reader's decision: by where it came from, or by its fingerprint.
    """
    try:
        listed: dict[str, Any] = tomllib.loads(text)
        agencies = {str(row["code"]): bytes.fromhex(row["signing_key"]) for row in listed.get("agency", [])}
        statement = TrustStatement(
            origin=str(listed["origin"]),
            log_key=str(listed["log_key"]),
            agencies=tuple(TrustedAgency(agency=code, signing_key=key) for code, key in agencies.items()),
            supervisor_key=bytes.fromhex(listed.get("supervisor_key", "")),
        )
        signatures = {str(row["agency"]): bytes.fromhex(row["signature"]) for row in listed.get("signature", [])}
        data = statement.to_bytes()
    except (KeyError, ValueError, TypeError, AttributeError, HandslagError):
        raise HandslagError("HS-TRAIL-UNREADABLE", part="trust") from None
    # One key under two names counts once.
    good = {agencies[code] for code, one in signatures.items() if code in agencies and holds(agencies[code], one, data)}
    return Listed(
        origin=statement.origin,
        log=Verifier.from_vkey(statement.log_key),
        agencies=agencies,
        signers=len(good),
        fingerprint=sha256(data).hexdigest(),
    )
