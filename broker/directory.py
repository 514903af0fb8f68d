"""Admitted units in memory: who a certificate belongs to, who owns a unit's entries, its public keys."""

from __future__ import annotations

from collections.abc import Iterable

from broker.store.units import UnitRow
from schemas.codes import base_role
from schemas.errors import HandslagError
from schemas.statements import UnitEntry


class Directory:
    """A view of the `unit` table; replaced whole after each admission or revocation, after COMMIT."""

    def __init__(self) -> None:
        self._units: dict[str, UnitRow] = {}
        self._by_certificate: dict[bytes, str] = {}

    def replace(self, rows: Iterable[UnitRow]) -> None:
        """Take over the units as they stand in the store."""
        units = {row.unit: row for row in rows}
        self._units, self._by_certificate = units, {row.certificate: row.unit for row in units.values()}

    def all(self) -> list[UnitRow]:
        """Every admitted unit, by unit code."""
        return [self._units[code] for code in sorted(self._units)]

    def get(self, unit: str) -> UnitRow:
        """One unit; raises `HS-UNIT-UNKNOWN`."""
        row = self._units.get(unit)
        if row is None:
            raise HandslagError("HS-UNIT-UNKNOWN")
        return row

    def require_role(self, unit: str, role: str) -> None:
        """Raise `HS-STATE-INVALID` unless the unit's agency listed it for this role."""
        if base_role(role) not in UnitEntry.from_bytes(self.get(unit).entry).roles:
            raise HandslagError("HS-STATE-INVALID", field="role")

    def is_probe(self, unit: str) -> bool:
        """Whether a unit belongs to the operator's standing test case; nobody that is not admitted does."""
        row = self._units.get(unit)
        return row is not None and row.probe

    def probes(self) -> frozenset[str]:
        """The units of the operator's standing test case."""
        return frozenset(row.unit for row in self._units.values() if row.probe)

    def controller(self, unit: str) -> str:
        """Who owns the entries about a unit's seats; also answers for a unit that was revoked meanwhile."""
        row = self._units.get(unit)
        return row.controller if row else unit.split("/", 1)[0]

    def unit_of(self, certificate: bytes) -> str | None:
        """The unit a client certificate (SHA-256 of its DER) belongs to, or None."""
        return self._by_certificate.get(certificate)
