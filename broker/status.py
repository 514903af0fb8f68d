"""`handslag agency status`: how each unit's connector is, for whoever is on call.

Last contact, version, certificate, clock. Never how much waits for a unit or how much it sent: in a small place a
count of one is a person.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from broker import control
from broker.admissions import Admission, load_all
from broker.lookout import unit_end
from broker.settings import BrokerSettings
from broker.store import contacts
from broker.store.cipher import ColumnCipher
from broker.store.contacts import ContactRow
from broker.store.keys import columns_key
from broker.store.keys_server import ServerVault
from schemas.errors import HandslagError
from schemas.languages import Text


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit: ISO 8601 times in UTC, seconds; None for what its connector has not told."""

    unit: str
    agency: str
    state: str
    probe: bool
    certificate_until: str
    last_contact: str | None
    silent_s: int | None
    connector_version: str | None
    clock_offset_s: float | None

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        # INVARIANT: test_status_tells_no_depths_and_no_counts
        return asdict(self)


def units(loaded: BrokerSettings, *, running: bool, now: datetime) -> list[UnitStatus]:
    """Every admitted and revoked unit by code; raises `HS-ADMISSION-INVALID`, `HS-NOT-READY`, `HS-NODE-ABSENT`."""
    seen = {row.unit: row for row in _contacts(loaded, running=running)}
    return [_status(each, seen.get(each.unit), now) for each in load_all(loaded.data_dir)]


def _contacts(loaded: BrokerSettings, *, running: bool) -> list[ContactRow]:
    if running:
        try:
            told = control.call(loaded.data_dir, "contacts", {})
        except HandslagError as error:
            if error.code != "HS-NODE-ABSENT":
                raise
        else:
            return [ContactRow(**row) for row in told["contacts"]]
    if loaded.store.engine == "postgresql":
        return contacts.offline_server(loaded.store, lambda: _server_cipher(loaded))
    keys = loaded.data_dir / "keys.db"
    return contacts.offline(loaded.database, lambda: ColumnCipher(columns_key(keys, loaded.root_key_file)))


def _server_cipher(loaded: BrokerSettings) -> ColumnCipher:
    vault = ServerVault.open(loaded.store, loaded.root_key_file)
    try:
        return ColumnCipher(vault.columns())
    finally:
        vault.close()


def _status(admission: Admission, seen: ContactRow | None, now: datetime) -> UnitStatus:
    at = None if seen is None else datetime.fromtimestamp(seen.at_us / 1e6, UTC)
    offset_us = None if seen is None else seen.clock_offset_us
    return UnitStatus(
        unit=admission.unit,
        agency=admission.agency,
        state="ADMITTED" if admission.revoked_at_us is None else "REVOKED",
        probe=admission.probe,
        certificate_until=unit_end(admission).date().isoformat(),
        last_contact=None if at is None else at.isoformat(timespec="seconds"),
        silent_s=None if at is None else max(0, int((now - at).total_seconds())),
        connector_version=None if seen is None else seen.version,
        clock_offset_s=None if offset_us is None else round(offset_us / 1e6, 1),
    )


_STATES = {"ADMITTED": Text("ansluten", "ADMITTED"), "REVOKED": Text("utestängd", "REVOKED")}
_LINE = Text(
    "{}  {}  senaste kontakt {}  version {}  certifikat till {}  klocka {}",
    "{}  {}  last contact {}  version {}  certificate until {}  clock {}",
)
_PROBE = Text(" (sond)", " (probe)")
_NEVER = Text("aldrig", "never")
_NONE = Text("Ingen enhet är ansluten.", "No unit is admitted.")
_STOPPED = Text(
    "Handslag är inte i gång: kontakter som de sparades.", "The broker does not run: contacts as it kept them."
)
_RESTORED = Text("{}: ÅTERSTÄLLD som instans {} den {}", "{}: RESTORED as instance {} at {}")


def lines(rows: list[UnitStatus], running: bool, language: str) -> list[str]:
    """The same for a person, in `sv` or `en`, the longest silent first."""
    if not rows:
        return [_NONE.told(language)]
    told = [] if running else [_STOPPED.told(language)]
    for row in sorted(rows, key=_silence):
        state = _STATES[row.state].told(language) + (_PROBE.told(language) if row.probe else "")
        at = f"{row.last_contact} ({span(row.silent_s or 0)})" if row.last_contact else _NEVER.told(language)
        drift = "?" if row.clock_offset_s is None else f"{row.clock_offset_s:+.1f} s"
        version = row.connector_version or "?"
        told.append(_LINE.told(language, row.unit, state, at, version, row.certificate_until, drift))
    return told


def restored(unit: str, instance: int, at: str, language: str) -> str:
    """The line of a unit whose connector was restored, in `sv` or `en`."""
    return _RESTORED.told(language, unit, instance, at)


def _silence(row: UnitStatus) -> tuple[bool, int]:
    return row.state != "ADMITTED", -(2**31 if row.silent_s is None else row.silent_s)


def span(seconds: int) -> str:
    """A time span for a tired reader: `41 s`, `12 min`, `3 h`, `5 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
