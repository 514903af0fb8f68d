"""What a reader of the trail knows from elsewhere: keys of agencies, of units, and of the reader's own seats.

Nothing here comes from the trail that is being checked. Agencies' keys stand in the trust list that the agencies
signed; a unit's key counts when its agency signed it; a seat's own key is what the agency's connector holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.errors import HandslagError
from schemas.identifiers import vouches
from schemas.statements import SignedUnit, UnitEntry

LeadKey = tuple[bytes, bytes]
"""(case tag, member id) of a lead."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Keys from outside the trail; every Ed25519 public key is 32 bytes.

    `agencies` by code, None when no trust list was given. `units` are entries that an agency of the list signed, by
    unit code. `seats` by seat id. `leads` by (case tag, member): the statement that a connector pinned. `rotations` are
    the (statement, signature) by which leads went on from there.
    """

    agencies: Mapping[str, bytes] | None = None
    units: Mapping[str, tuple[UnitEntry, ...]] = field(default_factory=dict)
    seats: Mapping[bytes, bytes] = field(default_factory=dict)
    leads: Mapping[LeadKey, bytes] = field(default_factory=dict)
    rotations: tuple[tuple[bytes, bytes], ...] = ()

    def with_units(self, units: Iterable[SignedUnit]) -> Anchors:
        """Return these anchors with more units; those of agencies outside the list are left out.

        Raises HS-KEY-UNTRUSTED for an entry that its listed agency did not sign or may not, PayloadRejected.
        """
        # INVARIANT: test_a_unit_that_its_agency_did_not_sign_is_refused
        known = dict(self.units)
        for signed in units:
            entry = UnitEntry.from_bytes(signed.entry)
            key = (self.agencies or {}).get(entry.agency)
            if key is None:
                continue
            if not holds(key, signed.signature, signed.entry):
                raise HandslagError("HS-KEY-UNTRUSTED", check="unit-signature")
            if not vouches(entry.agency, entry.unit, self.agencies or ()):
                raise HandslagError("HS-KEY-UNTRUSTED", check="unit-agency")
            if entry not in known.get(entry.unit, ()):
                known[entry.unit] = (*known.get(entry.unit, ()), entry)
        return replace(self, units=known)

    def unit_signed(self, unit: str, owner: str, signature: bytes, data: bytes) -> bool | None:
        """Whether a unit of the controller `owner` signed `data`; None when no key of the unit is known.

        A key past its end still answers for what it signed before; when that was, the log alone tells.
        """
        entries = self.units.get(unit)
        if entries is None:
            return None
        return any(one.controller == owner and holds(one.signing_key, signature, data) for one in entries)


@lru_cache(maxsize=4096)
def holds(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether an Ed25519 signature (64 bytes) holds; never raises. Remembered: a unit signs many events at once."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def units_written(units: Iterable[SignedUnit]) -> str:
    """Return signed unit entries as a JSON file's text; `units_read` gives them back."""
    rows = [
        {"unit": UnitEntry.from_bytes(one.entry).unit, "entry": one.entry.hex(), "signature": one.signature.hex()}
        for one in units
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def units_read(text: str) -> list[SignedUnit]:
    """Return signed unit entries, not yet checked; raises HS-TRAIL-UNREADABLE (`part` = units)."""
    try:
        return [
            SignedUnit(entry=bytes.fromhex(row["entry"]), signature=bytes.fromhex(row["signature"]))
            for row in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError):
        raise HandslagError("HS-TRAIL-UNREADABLE", part="units") from None
