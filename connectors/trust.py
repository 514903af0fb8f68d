"""The trust list of a connector and the directory of units it lets through.

`trust.toml` names the broker's origin and log key, the agencies with their signing keys, and the supervisor's key. It
counts only when at least two of the agencies it lists signed it and its fingerprint is the one that the connector's
own configuration names, compared out of band: never the operator alone (protocol, "Directory").
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from connectors.keys import HPKE_PUBLIC_BYTES, SIGNING_BYTES, PublicKeys, UnitKeyPair, verify
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit, vouches
from schemas.statements import SignedUnit, TrustedAgency, TrustStatement, UnitEntry

SIGNERS = 2  # agencies that must have signed
_KEYS = frozenset({"origin", "log_key", "supervisor_key", "agency", "signature"})
_HEX_GROUP = 4

AgencySigner = UnitKeyPair
"""An agency signs with a key pair of the same make as its units' (its HPKE half is not used)."""


@dataclass(frozen=True, slots=True)
class TrustList:
    """A trust list as read: the statement and its signatures by agency code (64 bytes); not yet trusted."""

    statement: TrustStatement
    signatures: Mapping[str, bytes]

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the encoded TrustStatement, 32 bytes."""
        return sha256(self.statement.to_bytes())


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust list that passed `trusted`."""

    statement: TrustStatement

    @property
    def origin(self) -> str:
        """Origin of the broker this list is for."""
        return self.statement.origin

    @property
    def log_key(self) -> str:
        """Verifier key of the broker's log (C2SP vkey)."""
        return self.statement.log_key

    def agency_key(self, agency: str) -> bytes | None:
        """Ed25519 public key (32 bytes) of an agency, None when it is not listed."""
        return next((each.signing_key for each in self.statement.agencies if each.agency == agency), None)


@dataclass(frozen=True, slots=True)
class Directory:
    """Unit entries that verified, by unit code; `unlisted` counts entries of agencies outside the trust list."""

    entries: Mapping[str, tuple[UnitEntry, ...]]
    unlisted: int

    def unit(self, code: str, at_us: int) -> UnitEntry:
        """The unit's entry valid at a moment.

        One that its agency has ended before its time, by a later entry that is over, counts no more. Raises
        HandslagError `HS-KEY-UNTRUSTED` when none is listed, `HS-KEY-EXPIRED` when none is valid then,
        `HS-EQUIVOCATION` when two are.
        """
        listed = self.entries.get(code, ())
        if not listed:
            raise HandslagError("HS-KEY-UNTRUSTED", check="unit")
        valid = [entry for entry in listed if entry.valid_from_us <= at_us <= entry.valid_until_us]
        latest = max(entry.valid_from_us for entry in listed)
        ended = any(entry.valid_from_us == latest and entry.valid_until_us < at_us for entry in listed)
        if not valid or ended:
            raise HandslagError("HS-KEY-EXPIRED")
        if len(valid) > 1:
            raise HandslagError("HS-EQUIVOCATION", check="unit")
        return valid[0]

    def keys(self, code: str, at_us: int) -> PublicKeys:
        """The unit's public keys valid at a moment; raises as `unit`."""
        entry = self.unit(code, at_us)
        return PublicKeys(entry.signing_key, entry.hpke_key)


def parse(text: str) -> TrustList:
    """Read `trust.toml`; raises HandslagError `HS-TRUST-INVALID` naming the field, also for unknown keys."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise HandslagError("HS-TRUST-INVALID", field="toml") from None
    if not data.keys() <= _KEYS:
        raise HandslagError("HS-TRUST-INVALID", field="unknown key")
    agencies = tuple(
        TrustedAgency(agency=_text(row, "code"), signing_key=_hex(row, "signing_key", SIGNING_BYTES))
        for row in _rows(data, "agency", {"code", "signing_key"})
    )
    statement = TrustStatement(
        origin=_text(data, "origin"),
        log_key=_text(data, "log_key"),
        agencies=agencies,
        supervisor_key=_hex(data, "supervisor_key", HPKE_PUBLIC_BYTES),
    )
    signatures: dict[str, bytes] = {}
    for row in _rows(data, "signature", {"agency", "signature"}):
        agency = _text(row, "agency")
        if agency in signatures:
            raise HandslagError("HS-TRUST-INVALID", field="signature")
        signatures[agency] = _hex(row, "signature", 64)
    return TrustList(statement, MappingProxyType(signatures))


def trusted(listed: TrustList, fingerprint: str) -> Trust:
    """The list as trusted: its fingerprint is the configured one, and two agencies it lists signed it.

    `fingerprint` is 64 hex digits in any grouping. Every signature present must hold. Raises `HS-TRUST-INVALID`.
    """
    # INVARIANT: test_the_operator_alone_cannot_make_a_trust_list
    if normal(fingerprint) != listed.fingerprint.hex():
        raise HandslagError("HS-TRUST-INVALID", check="fingerprint")
    agencies = listed.statement.agencies
    keys = {each.agency: each.signing_key for each in agencies}
    # One agency under two names, or two names for one key, would let one signer count twice.
    if len(keys) != len(agencies) or len(set(keys.values())) != len(agencies):
        raise HandslagError("HS-TRUST-INVALID", check="agencies")
    data = listed.statement.to_bytes()
    for agency, signature in listed.signatures.items():
        if agency not in keys:
            raise HandslagError("HS-TRUST-INVALID", check="signature")
        try:
            verify(keys[agency], signature, data)
        except HandslagError:
            raise HandslagError("HS-TRUST-INVALID", check="signature") from None
    if len(listed.signatures) < SIGNERS:
        raise HandslagError("HS-TRUST-INVALID", check="signers")
    return Trust(listed.statement)


def signed_by(listed: TrustList, agency: str, sign: AgencySigner) -> TrustList:
    """The list with one agency's signature added or replaced; raises `HS-TRUST-INVALID` for an unlisted key."""
    key = next((each.signing_key for each in listed.statement.agencies if each.agency == agency), None)
    if key is None or key != sign.public.signing:
        raise HandslagError("HS-TRUST-INVALID", field="agency")
    signature = sign.sign(listed.statement.to_bytes())
    return TrustList(listed.statement, MappingProxyType({**listed.signatures, agency: signature}))


def rendered(listed: TrustList) -> str:
    """The list as `trust.toml`; `parse` of it gives the same list."""
    statement = listed.statement
    lines = [
        f"origin = {_quoted(statement.origin)}",
        f"log_key = {_quoted(statement.log_key)}",
        f'supervisor_key = "{statement.supervisor_key.hex()}"',
    ]
    for each in statement.agencies:
        lines += ["", "[[agency]]", f"code = {_quoted(each.agency)}", f'signing_key = "{each.signing_key.hex()}"']
    for agency, signature in sorted(listed.signatures.items()):
        lines += ["", "[[signature]]", f"agency = {_quoted(agency)}", f'signature = "{signature.hex()}"']
    return "\n".join(lines) + "\n"


def spoken(fingerprint: bytes) -> str:
    """A fingerprint for the phone: 16 groups of four hex digits, four groups a line."""
    text = fingerprint.hex()
    groups = [text[at : at + _HEX_GROUP] for at in range(0, len(text), _HEX_GROUP)]
    return "\n".join(" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4))


def directory(units: Iterable[SignedUnit], trust: Trust) -> Directory:
    """The units of `GET /v1/units` whose entries their own agency signed.

    An entry of an agency that this trust list does not have is left out and counted: another connector may have a
    newer list. Raises `HS-KEY-UNTRUSTED` for an entry that a listed agency did not sign, or signed for a unit under
    another agency's code (`schemas.identifiers.vouches`), PayloadRejected, `HS-IDENTIFIER-INVALID`.
    """
    entries: dict[str, tuple[UnitEntry, ...]] = {}
    unlisted = 0
    for signed in units:
        entry = UnitEntry.from_bytes(signed.entry)
        key = trust.agency_key(entry.agency)
        if key is None:
            unlisted += 1
            continue
        try:
            verify(key, signed.signature, signed.entry)
        except HandslagError:
            raise HandslagError("HS-KEY-UNTRUSTED", check="unit-signature") from None
        if not vouches(entry.agency, entry.unit, (each.agency for each in trust.statement.agencies)):
            raise HandslagError("HS-KEY-UNTRUSTED", check="unit-agency")
        PublicKeys(entry.signing_key, entry.hpke_key)
        others = entries.get(checked_unit(entry.unit), ())
        if entry not in others:
            entries[entry.unit] = (*others, entry)
    return Directory(MappingProxyType(entries), unlisted)


def newest(directory: Directory) -> dict[str, int]:
    """Per unit code from when its newest entry is valid, microseconds UTC."""
    return {code: max(entry.valid_from_us for entry in entries) for code, entries in directory.entries.items()}


def check_not_older(directory: Directory, seen: Mapping[str, int]) -> None:
    """Raise `HS-DIRECTORY-OLD` when a unit's newest entry is older than one that was seen (`newest`) before.

    A unit may be gone: that only keeps it from being invited. An older entry is a key that its agency took back.
    """
    # INVARIANT: test_an_older_entry_of_a_unit_is_not_used
    if any(since < seen.get(code, since) for code, since in newest(directory).items()):
        raise HandslagError("HS-DIRECTORY-OLD")


def signed_unit(entry: UnitEntry, agency: AgencySigner) -> SignedUnit:
    """A unit entry signed by its agency."""
    data = entry.to_bytes()
    return SignedUnit(entry=data, signature=agency.sign(data))


def normal(fingerprint: str) -> str:
    """A fingerprint as it was typed, without its grouping and in small letters."""
    return "".join(fingerprint.replace("-", " ").replace(":", " ").split()).lower()


def _quoted(text: str) -> str:
    """A TOML basic string; what is not a plain character is written by its code point."""
    plain = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return f'"{plain}"'


def _rows(data: Mapping[str, Any], name: str, keys: set[str]) -> list[Mapping[str, Any]]:
    rows = data.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() <= keys for row in rows):
        raise HandslagError("HS-TRUST-INVALID", field=name)
    return rows


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise HandslagError("HS-TRUST-INVALID", field=name)
    return value


def _hex(row: Mapping[str, Any], name: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(_text(row, name))
    except ValueError:
        raise HandslagError("HS-TRUST-INVALID", field=name) from None
    if len(value) != size:
        raise HandslagError("HS-TRUST-INVALID", field=name)
    return value
