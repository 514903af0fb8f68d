"""Admitting a unit: its request checked, its certificate issued, the admission kept as a file in the data folder.

`admissions/<name>.json` is the operator's own list; the node reads it at start and is told of later ones over the
control socket. The operator admits to the transport only: whom a connector trusts stands in `trust.toml`, which the
agencies sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker import pki
from broker.keyfiles import SUPERVISOR_KEY_BYTES, write_atomic
from schemas.codes import known
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit, vouches
from schemas.instances import RecoveryEntry
from schemas.statements import TrustedAgency, TrustStatement, UnitEntry

REQUEST = 64 * 1024
FOLDER = "admissions"
HPKE_KEY_BYTES = SUPERVISOR_KEY_BYTES  # one suite for all


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What an agency's IT hands to the operator, made by `handslag connector init`."""

    unit: str
    agency: str
    agency_key: bytes
    csr_pem: bytes
    entry: bytes
    signature: bytes
    recovery: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted unit as it is kept and told to the node; times in microseconds UTC."""

    unit: str
    agency: str
    controller: str
    agency_key: bytes
    entry: bytes
    signature: bytes
    certificate_pem: str
    certificate_sha256: bytes
    admitted_at_us: int
    revoked_at_us: int | None = None
    probe: bool = False
    recovery_key: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """The admission with its bytes in hexadecimal."""
        return {k: v.hex() if isinstance(v, bytes) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Admission:
        """Read `to_json` back; raises `HS-ADMISSION-INVALID`."""
        try:
            values = dict(data)
            for name in ("agency_key", "entry", "signature", "certificate_sha256"):
                values[name] = bytes.fromhex(values[name])
            if values.get("recovery_key") is not None:
                values["recovery_key"] = bytes.fromhex(values["recovery_key"])
            return cls(**values)
        except (KeyError, TypeError, ValueError):
            raise HandslagError("HS-ADMISSION-INVALID", field="admission") from None


def read_request(data: bytes) -> AdmissionRequest:
    """Parse a request file: {unit, agency, agency_key_hex, csr_pem, signed_unit: {entry_b64, signature_b64}}.

    Raises `HS-ADMISSION-INVALID`.
    """
    if len(data) > REQUEST:
        raise HandslagError("HS-ADMISSION-INVALID", field="size")
    try:
        raw = json.loads(data)
        signed = raw["signed_unit"]
        return AdmissionRequest(
            unit=checked_unit(raw["unit"]),
            agency=str(raw["agency"]),
            agency_key=bytes.fromhex(raw["agency_key_hex"]),
            csr_pem=raw["csr_pem"].encode("ascii"),
            entry=base64.b64decode(signed["entry_b64"], validate=True),
            signature=base64.b64decode(signed["signature_b64"], validate=True),
            recovery=_recovery(raw.get("recovery")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, binascii.Error):
        raise HandslagError("HS-ADMISSION-INVALID", field="request") from None
    except HandslagError:
        raise HandslagError("HS-ADMISSION-INVALID", field="unit") from None


def _recovery(raw: Mapping[str, str] | None) -> tuple[bytes, bytes] | None:
    """The agency's word on the unit's recovery key: entry and signature, None from an earlier version."""
    if raw is None:
        return None
    entry, signature = (base64.b64decode(raw[name], validate=True) for name in ("entry_b64", "signature_b64"))
    return entry, signature


def recovery_key(request: AdmissionRequest) -> bytes | None:
    """Whose signature proves a restore of the unit, as its agency signed it; raises `HS-ADMISSION-INVALID`."""
    if request.recovery is None:
        return None
    raw, signature = request.recovery
    try:
        entry = RecoveryEntry.from_bytes(raw)
        Ed25519PublicKey.from_public_bytes(request.agency_key).verify(signature, raw)
    except (HandslagError, InvalidSignature, ValueError):
        raise HandslagError("HS-ADMISSION-INVALID", field="recovery") from None
    if entry.unit != request.unit:
        raise HandslagError("HS-ADMISSION-INVALID", field="recovery")
    return entry.signing_key


def checked_entry(request: AdmissionRequest, now: datetime) -> UnitEntry:
    """The unit's entry, when its agency's signature holds and it says what the request says.

    Raises `HS-ADMISSION-INVALID` naming the field that does not fit. The agency key is the one the request brings: that
    it is the agency's own is for a person to compare, which is why the answer prints its fingerprint.
    """
    # INVARIANT: test_an_inconsistent_request_is_refused
    try:
        entry = UnitEntry.from_bytes(request.entry)
        Ed25519PublicKey.from_public_bytes(request.agency_key).verify(request.signature, request.entry)
        for role in entry.roles:
            known("role", role, "roles")
    except HandslagError:
        raise HandslagError("HS-ADMISSION-INVALID", field="entry") from None
    except (InvalidSignature, ValueError):
        raise HandslagError("HS-ADMISSION-INVALID", field="signature") from None
    at = int(now.timestamp() * 1_000_000)
    checks = {
        "unit": entry.unit == request.unit,
        "agency": entry.agency == request.agency,
        "hpke_key": len(entry.hpke_key) == HPKE_KEY_BYTES,
        "valid_until": entry.valid_from_us <= at + 300_000_000 and at < entry.valid_until_us,
    }
    for field, fits in checks.items():
        if not fits:
            raise HandslagError("HS-ADMISSION-INVALID", field=field)
    return entry


def admit(
    request: AdmissionRequest,
    authority: pki.Authority,
    others: list[Admission],
    now: datetime,
    *,
    probe: bool = False,
) -> Admission:
    """Check the request and issue the unit's certificate; `probe` marks a unit of the operator's standing test case.

    Raises `HS-ADMISSION-INVALID`, also when the agency is on the list already under another key, the unit's code is
    under another agency's (`schemas.identifiers.vouches`) or a new unit's is not under its own agency's, and
    `HS-CERTIFICATE-INVALID`.
    """
    entry = checked_entry(request, now)
    if any(other.agency == request.agency and other.agency_key != request.agency_key for other in others):
        raise HandslagError("HS-ADMISSION-INVALID", field="agency_key")
    before = next((other for other in others if other.unit == request.unit and other.revoked_at_us is None), None)
    if before is not None and probe and not before.probe:
        # INVARIANT: test_an_agencys_unit_is_never_made_a_probe, it would vanish from every count and alarm
        raise HandslagError("HS-ADMISSION-INVALID", field="probe")
    taken = {other.agency for other in others if other.unit == request.unit and other.revoked_at_us is None}
    if taken - {request.agency} or not vouches(request.agency, request.unit, (other.agency for other in others)):
        raise HandslagError("HS-ADMISSION-INVALID", field="agency")
    # INVARIANT: test_a_unit_that_is_not_under_its_agencys_code_is_refused
    if before is None and request.unit != request.agency and not request.unit.startswith(f"{request.agency}/"):
        raise HandslagError("HS-ADMISSION-INVALID", field="agency")  # one admitted before keeps its agency's code
    certificate = pki.client_certificate(authority, request.csr_pem, request.unit, now)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Admission(
        unit=entry.unit,
        agency=entry.agency,
        controller=entry.controller,
        agency_key=request.agency_key,
        entry=request.entry,
        signature=request.signature,
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        certificate_sha256=hashlib.sha256(der).digest(),
        admitted_at_us=int(now.timestamp() * 1_000_000),
        probe=probe or (before is not None and before.probe),
        recovery_key=recovery_key(request),
    )


def subject(admission: Admission) -> bytes:
    """What an administrative act names of an admission: the SHA-256 of the unit's encoded entry."""
    return hashlib.sha256(admission.entry).digest()


def load_all(data_dir: Path) -> list[Admission]:
    """Every admission of the data folder by unit code, revoked ones included; raises `HS-ADMISSION-INVALID`."""
    found = []
    for path in sorted((data_dir / FOLDER).glob("*.json")):
        try:
            found.append(Admission.from_json(json.loads(path.read_bytes())))
        except ValueError:
            raise HandslagError("HS-ADMISSION-INVALID", field="admission") from None
    return sorted(found, key=lambda admission: admission.unit)


def save(data_dir: Path, admission: Admission) -> None:
    """Keep the admission; a later one of the same unit takes its place."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(admission.unit.encode()).hexdigest()[:32]
    write_atomic(folder / f"{name}.json", json.dumps(admission.to_json(), indent=1).encode())


def revoked(admission: Admission, now: datetime) -> Admission:
    """The same admission, ended at `now`."""
    return replace(admission, revoked_at_us=int(now.astimezone(UTC).timestamp() * 1_000_000))


def trust_statement(origin: str, vkey: str, supervisor_key: bytes, admitted: list[Admission]) -> TrustStatement:
    """What the agencies are asked to sign: every agency of these with a unit that is not revoked, by code."""
    agencies = {each.agency: each.agency_key for each in admitted if each.revoked_at_us is None}
    listed = tuple(TrustedAgency(agency=code, signing_key=key) for code, key in sorted(agencies.items()))
    return TrustStatement(origin=origin, log_key=vkey, agencies=listed, supervisor_key=supervisor_key)


def trust_draft(statement: TrustStatement) -> str:
    """The statement as `trust.toml` without signatures; every value is a code, a key or hexadecimal."""
    lines = [
        "# Draft. Valid once at least two of the agencies below have signed it; compare the fingerprint by phone.",
        f'origin = "{statement.origin}"',
        f'log_key = "{statement.log_key}"',
        f'supervisor_key = "{statement.supervisor_key.hex()}"',
    ]
    for agency in statement.agencies:
        lines += ["", "[[agency]]", f"code = {json.dumps(agency.agency, ensure_ascii=False)}"]
        lines.append(f'signing_key = "{agency.signing_key.hex()}"')
    return "\n".join(lines) + "\n"


def fingerprint(statement: TrustStatement) -> str:
    """SHA-256 of the statement in hexadecimal: what a connector's configuration names."""
    return hashlib.sha256(statement.to_bytes()).hexdigest()


def key_fingerprint(admission: Admission) -> str:
    """SHA-256 of the agency's key in hexadecimal, for two people to compare by phone."""
    return hashlib.sha256(admission.agency_key).hexdigest()
