"""Incidents that follow annulled consents of this unit, and notices about those of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors.spool.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident: when this unit came to know of it, how often its file was written, what it says.

    `stale`: a recipient has answered since the list was fetched.
    """

    incident_id: bytes
    seat_id: bytes
    opened_at_us: int
    version: int
    stale: bool
    value: dict[str, Any]


class Annulled:
    """Kept for ever and small."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open_incident(self, incident_id: bytes, seat_id: bytes, at_us: int, value: dict[str, Any]) -> None:
        """Keep a new incident; one that is here stays as it is."""
        sealed = self._store.seal_json("incident.value", value)
        self._store.run("INSERT OR IGNORE INTO incident VALUES(?,?,?,0,0,?)", incident_id, seat_id, at_us, sealed)

    def write(self, incident: Incident, value: dict[str, Any]) -> None:
        """Keep what a new version of the file says."""
        sealed = self._store.seal_json("incident.value", value)
        sql = "UPDATE incident SET version=version+1, stale=0, value=? WHERE incident_id=?"
        self._store.run(sql, sealed, incident.incident_id)

    def answered(self, seat_id: bytes) -> None:
        """A recipient answered: incidents of this seat are to be listed again."""
        self._store.run("UPDATE incident SET stale=1 WHERE seat_id=?", seat_id)

    def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        rows = self._store.all(
            "SELECT incident_id, seat_id, opened_at_us, version, stale, value FROM incident ORDER BY opened_at_us"
        )
        return [
            Incident(
                incident_id=i, seat_id=s, opened_at_us=at, version=n, stale=bool(stale),
                value=self._store.open_json("incident.value", value),
            )
            for i, s, at, n, stale, value in rows
        ]  # fmt: skip

    def incident(self, incident_id: bytes) -> Incident | None:
        """One incident, or None."""
        return next((one for one in self.incidents() if one.incident_id == incident_id), None)

    def keep_notice(self, notice_id: bytes, seat_id: bytes, value: dict[str, Any]) -> None:
        """Keep a notice about a consent that another unit annulled."""
        sealed = self._store.seal_json("annulment.value", value)
        self._store.run("INSERT OR IGNORE INTO annulment VALUES(?,?,?)", notice_id, seat_id, sealed)

    def notice(self, notice_id: bytes) -> dict[str, Any] | None:
        """What a notice said, or None."""
        row = self._store.one("SELECT value FROM annulment WHERE notice_id=?", notice_id)
        if row is None:
            return None
        value: dict[str, Any] = self._store.open_json("annulment.value", row[0])
        return value
