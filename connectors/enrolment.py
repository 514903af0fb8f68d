"""Setting a connector up: keys, certificate request, admission request, configuration file, trust list."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors import files, identity, recovery, trust
from connectors import settings as configuration
from connectors.box import DataKey
from connectors.context import load_trust
from connectors.keys import PublicKeys, UnitKeyPair
from connectors.settings import Settings
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit
from schemas.instances import RecoveryEntry
from schemas.statements import SignedUnit, UnitEntry

_YEAR_US = 366 * 24 * 3600 * 1_000_000
_SKEW_US = 60_000_000  # clocks of agency and operator
_ANSWER = {"certificate_pem", "ca_pem", "broker_url", "origin", "log_key"}
_ANSWER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Who is being set up."""

    unit: str
    agency: str
    controller: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a set-up wrote, and the shares of a recovery key that was drawn (none when one was given)."""

    paths: dict[str, str]
    recovery_key: PublicKeys
    shares: tuple[str, ...]


def initialise(
    folder: Path, who: Unit, agency_key: Path | None, extra: dict[str, Any], recovery_key: Path | None = None
) -> Made:
    """Make keys, `request.json` and `connector.toml` in a new folder; returns the paths written, and the shares.

    `agency_key` is an existing key file of the agency (128 raw bytes), else a new one is drawn; `recovery_key` the
    public half of the agency's recovery key, else one is drawn and split. Raises `HS-KEY-FILE` when keys exist already,
    `HS-IDENTIFIER-INVALID`, `HS-CODE-UNKNOWN`, `HS-CONFIG-INVALID`, `HS-RECOVERY-KEY-MISSING`.
    """
    checked_unit(who.unit)
    for role in who.roles:
        codes.known("role", role, "role")
    files.private_folder(folder, "dir")
    keys_dir = files.private_folder(folder / "keys", "keys_dir")
    values = {"unit": who.unit, "agency": who.agency, "controller": who.controller, **extra}
    config = folder / "connector.toml"
    if config.exists():
        raise HandslagError("HS-KEY-FILE", field="connector.toml")
    public, shares = (recovery.read_public(recovery_key), ()) if recovery_key else recovery.create()
    DataKey.create(keys_dir / "data.key")
    unit_keys = identity.create_unit_keys(keys_dir / "unit-signing.key", keys_dir / "unit-hpke.key")
    agency, agency_path = _agency(keys_dir, agency_key)
    csr = _certificate_request(keys_dir / "certificate.key", who.unit)
    signed = _entry(who, unit_keys, agency)
    request = {
        "unit": who.unit,
        "agency": who.agency,
        "agency_key_hex": agency.public.signing.hex(),
        "csr_pem": csr.decode("ascii"),
        "signed_unit": {
            "entry_b64": base64.b64encode(signed.entry).decode(),
            "signature_b64": base64.b64encode(signed.signature).decode(),
        },
        "recovery": recovery_request(who.unit, public, agency),
    }
    recovery.write_public(keys_dir, public)
    files.write_atomic(folder / "request.json", json.dumps(request, indent=1).encode() + b"\n")
    write_config(config, {"broker_url": "", "origin": "", "trust_fingerprint": "", **values})
    configuration.load(config)
    paths = {"config": str(config), "request": str(folder / "request.json"), "agency_key": str(agency_path)}
    return Made(paths=paths, recovery_key=public, shares=shares)


def recovery_request(unit: str, public: PublicKeys, agency: UnitKeyPair) -> dict[str, str]:
    """The part of a request that says whose recovery key may restore this unit, signed by the agency."""
    entry = RecoveryEntry(unit=unit, signing_key=public.signing).to_bytes()
    return {
        "entry_b64": base64.b64encode(entry).decode(),
        "signature_b64": base64.b64encode(agency.sign(entry)).decode(),
    }


def new_recovery_key(config: Path, agency_key: Path) -> Made:
    """Another recovery key for a connector that is set up: its public half, its shares, and a request to be admitted.

    Backups made from now on are sealed to it; the broker knows it when `request.json` was admitted anew. Raises
    `HS-KEY-FILE`, `HS-CONFIG-INVALID` (`request`).
    """
    current = configuration.load(config)
    agency = load_agency_key(agency_key)
    path = config.resolve().parent / "request.json"
    try:
        request = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise HandslagError("HS-CONFIG-INVALID", field="request") from None
    public, shares = recovery.create()
    request["recovery"] = recovery_request(current.unit, public, agency)
    recovery.write_public(current.keys_dir, public)
    files.write_atomic(path, json.dumps(request, indent=1).encode() + b"\n")
    return Made(paths={"request": str(path)}, recovery_key=public, shares=shares)


def _agency(keys_dir: Path, given: Path | None) -> tuple[UnitKeyPair, Path]:
    if given is not None:
        return load_agency_key(given), given
    keys = UnitKeyPair.generate()
    path = keys_dir / "agency.key"
    files.write_secret(path, keys.private_bytes())
    return keys, path


def load_agency_key(path: Path) -> UnitKeyPair:
    """The agency's key pair from the file named; raises `HS-KEY-PATH`, `HS-KEY-FILE`, `HS-FOLDER-UNSAFE`."""
    try:
        data = files.read_secret(path)
    except HandslagError as error:
        if error.code != "HS-KEY-FILE":
            raise
        raise HandslagError("HS-KEY-PATH", field="agency key") from None  # a slip of the hand, not a lost key
    try:
        return UnitKeyPair.from_private_bytes(data)
    except HandslagError:
        raise HandslagError("HS-KEY-FILE", field="agency key") from None


def _certificate_request(path: Path, unit: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files.write_secret(path, pem)
    # Å, Ä and Ö are percent-encoded: a certificate's URI is ASCII (RFC 5280 section 4.2.1.6).
    uri = x509.UniformResourceIdentifier("handslag:unit:" + quote(unit, safe="/"))
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Handslag connector")]))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=True)
        .sign(key, hashes.SHA256())
    )
    return csr.public_bytes(serialization.Encoding.PEM)


def _entry(who: Unit, keys: UnitKeyPair, agency: UnitKeyPair) -> SignedUnit:
    now = time.time_ns() // 1000
    entry = UnitEntry(
        unit=who.unit,
        agency=who.agency,
        controller=who.controller,
        roles=who.roles,
        signing_key=keys.public.signing,
        hpke_key=keys.public.hpke,
        valid_from_us=now - _SKEW_US,
        valid_until_us=now + _YEAR_US,
    )
    return trust.signed_unit(entry, agency)


def enrol(config: Path, answer_file: Path) -> Settings:
    """Take the operator's answer: certificate, authority, URL and origin; raises `HS-CONFIG-INVALID` (`answer`)."""
    current = configuration.load(config)
    try:
        data = answer_file.read_bytes()
        answer = json.loads(data)
        values = {name: answer[name] for name in sorted(_ANSWER)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise HandslagError("HS-CONFIG-INVALID", field="answer") from None
    if len(data) > _ANSWER_BYTES or not all(isinstance(value, str) for value in values.values()):
        raise HandslagError("HS-CONFIG-INVALID", field="answer")
    _check_certificate(values["certificate_pem"].encode(), current)
    files.write_atomic(current.certificate, values["certificate_pem"].encode())
    files.write_atomic(current.ca, values["ca_pem"].encode())
    further = _further(answer, current)
    update_config(config, {"broker_url": values["broker_url"], "origin": values["origin"], **further})
    return configuration.load(config)


def _further(answer: dict[str, Any], current: Settings) -> dict[str, list[str]]:
    """The addresses of the broker's other nodes as the answer tells them, for the configuration; else nothing."""
    told = answer.get("further_urls", [])
    if not isinstance(told, list) or not all(isinstance(url, str) and url.startswith("https://") for url in told):
        raise HandslagError("HS-CONFIG-INVALID", field="answer")
    return {"further_urls": told} if told or current.further_urls else {}


@dataclass(frozen=True, slots=True)
class Offer:
    """The trust list in the operator's answer: unsigned, and nothing until its fingerprint was compared by phone."""

    listed: trust.TrustList

    @property
    def spoken(self) -> str:
        """The fingerprint on one line, in groups of four digits."""
        return " ".join(trust.spoken(self.listed.fingerprint).split())

    def known(self, current: Settings) -> bool:
        """Whether this very list was compared before: a renewed certificate needs no new call."""
        return self.listed.fingerprint.hex() == current.trust_fingerprint

    @property
    def comparable(self) -> bool:
        """Whether there is another agency to compare with."""
        return len(self.listed.statement.agencies) >= trust.SIGNERS


def offer(answer_file: Path) -> Offer | None:
    """The trust list that an answer brings, or None; raises `HS-CONFIG-INVALID`, `HS-TRUST-INVALID`."""
    try:
        text = json.loads(answer_file.read_bytes()).get("trust_toml")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise HandslagError("HS-CONFIG-INVALID", field="answer") from None
    return Offer(trust.parse(text)) if isinstance(text, str) else None


def compared(config: Path, offered: Offer, heard: str, agency_key: Path | None = None) -> bool:
    """Take the list whose fingerprint another agency read out, signed by this agency where its key lies here.

    Returns whether it was signed. Raises `HS-TRUST-COMPARE` for another fingerprint, `HS-TRUST-INVALID` when the list
    is another broker's or shows another key of this agency.
    """
    # INVARIANT: test_a_list_that_sounds_otherwise_is_not_taken
    if trust.normal(heard) != offered.listed.fingerprint.hex():
        raise HandslagError("HS-TRUST-COMPARE")
    current = configuration.load(config)
    if offered.listed.statement.origin != current.origin:
        raise HandslagError("HS-TRUST-INVALID", field="origin")
    key = agency_key or current.keys_dir / "agency.key"
    signs = agency_key is not None or key.exists()
    listed = _held(current, offered.listed)
    listed = trust.signed_by(listed, current.agency, load_agency_key(key)) if signs else listed
    files.write_atomic(current.trust_file, trust.rendered(listed).encode())
    update_config(config, {"trust_fingerprint": listed.fingerprint.hex()})
    return signs


def _held(current: Settings, offered: trust.TrustList) -> trust.TrustList:
    """The list as it lies here already with the signatures that came, when it is the one offered."""
    try:
        held = trust.parse(current.trust_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, HandslagError):
        return offered
    return held if held.statement == offered.statement else offered


def _check_certificate(pem: bytes, current: Settings) -> dt.datetime:
    """The certificate names this unit and holds this key; returns when it ends. Raises `HS-CONFIG-INVALID`."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(files.read_secret(current.certificate_key), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        same = certificate.public_key() == key.public_key()
    except (ValueError, TypeError, x509.ExtensionNotFound):
        raise HandslagError("HS-CONFIG-INVALID", field="certificate") from None
    if not same or uris != ["handslag:unit:" + quote(current.unit, safe="/")]:
        raise HandslagError("HS-CONFIG-INVALID", field="certificate")
    return certificate.not_valid_after_utc


def sign_trust(draft: Path, agency: str, key: Path) -> str:
    """The trust list with this agency's signature added, as text; raises `HS-TRUST-INVALID`, `HS-KEY-FILE`."""
    return trust.rendered(trust.signed_by(_listed(draft), agency, load_agency_key(key)))


def install_trust(config: Path, file: Path, fingerprint: str) -> Settings:
    """Check a trust list against the fingerprint that was compared by phone, and use it from now on.

    Raises `HS-TRUST-INVALID`: another fingerprint, fewer than two agencies' signatures, another broker's origin.
    """
    current = configuration.load(config)
    listed = _listed(file)
    trusted = trust.trusted(listed, fingerprint)
    if trusted.origin != current.origin:
        raise HandslagError("HS-TRUST-INVALID", field="origin")
    files.write_atomic(current.trust_file, trust.rendered(listed).encode())
    update_config(config, {"trust_fingerprint": listed.fingerprint.hex()})
    return configuration.load(config)


def fingerprint_of(file: Path) -> str:
    """The fingerprint of a trust list, for the phone; the list need not be signed yet."""
    return trust.spoken(_listed(file).fingerprint)


def _listed(file: Path) -> trust.TrustList:
    try:
        return trust.parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-TRUST-INVALID", field="file") from None


def verify(config: Path) -> dict[str, str]:
    """Check all that can be checked without the broker; returns what was found, by name. Raises HandslagError."""
    current = configuration.load(config)
    for name in ("data_dir", "keys_dir"):
        files.private_folder(getattr(current, name), name)
    files.private_folder(current.folder, "folder")
    for name in ("in", "out", "receipts"):
        files.private_folder(current.folder / name, f"folder {name}")
    DataKey.load(current.data_key)
    keys = identity.load_unit_keys(current.unit_signing_key, current.unit_hpke_key)
    try:
        ends = _check_certificate(current.certificate.read_bytes(), current)
    except OSError:
        raise HandslagError("HS-KEY-FILE", field="certificate") from None
    listed = load_trust(current)
    if listed.origin != current.origin:
        raise HandslagError("HS-TRUST-INVALID", field="origin")
    return {
        "unit": current.unit,
        "unit_key_id": keys.key_id.hex(),
        "certificate_until": ends.isoformat(),
        "origin": listed.origin,
        "agencies": ", ".join(each.agency for each in listed.statement.agencies),
        "recovery_key": recovery.public_of(current.keys_dir).key_id.hex()[:16],
    }


def write_config(path: Path, values: dict[str, Any]) -> None:
    """Write `connector.toml`; strings as TOML basic strings, numbers as they are."""
    lines = ["# One Handslag connector; see docs/connector-quickstart.md. Paths are relative to this file."]
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    files.write_atomic(path, ("\n".join(lines) + "\n").encode())


def authority_says(config: Path) -> list[str]:
    """What the authority's certificate says against its own use, for every start; nothing where it cannot be read."""
    try:
        subject = x509.load_pem_x509_certificate(configuration.load(config).ca.read_bytes()).subject
    except (OSError, ValueError, HandslagError):
        return []
    return [str(name.value) for name in subject if "NOT FOR PERSONAL DATA" in str(name.value)]


def update_config(path: Path, changes: dict[str, Any]) -> None:
    """Change values of `connector.toml` line by line: comments and order are the administrator's."""
    lines = path.read_text(encoding="utf-8").splitlines()
    left = dict(changes)
    for index, line in enumerate(lines):
        name = line.split("=", 1)[0].strip()
        if name in left:
            lines[index] = f"{name} = {json.dumps(left.pop(name), ensure_ascii=False)}"
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in left.items()]
    files.write_atomic(path, ("\n".join(lines) + "\n").encode())
