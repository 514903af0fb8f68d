"""Lost seats of this unit and how far each is on its way to new keys; and requests of others that wait for a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connectors.spool.store import Store


class RekeyState(StrEnum):
    """LOST -> ASKED -> COMPARED -> DONE of an own seat; OPEN -> SIGNED of a request of another."""

    LOST = "LOST"
    ASKED = "ASKED"
    COMPARED = "COMPARED"
    DONE = "DONE"
    OPEN = "OPEN"
    SIGNED = "SIGNED"


_OWN = (RekeyState.LOST, RekeyState.ASKED, RekeyState.COMPARED, RekeyState.DONE)


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """One row: the seat's id, or a request's 16 bytes; its state; what is known of it as JSON."""

    name: bytes
    state: RekeyState
    value: dict[str, Any]


class Rekeys:
    """Verbs on `rekey`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, name: bytes, state: RekeyState, value: dict[str, Any]) -> None:
        """Keep a row in place of an earlier one."""
        sealed = self._store.seal_json("rekey.value", value)
        self._store.run("INSERT OR REPLACE INTO rekey VALUES(?,?,?)", name, state.value, sealed)

    def get(self, name: bytes) -> Rekeyed | None:
        """One row, or None."""
        row = self._store.one("SELECT name, state, value FROM rekey WHERE name=?", name)
        return self._row(row) if row else None

    def own(self) -> list[Rekeyed]:
        """Lost seats of this unit, also those that have their keys again."""
        return self._in(_OWN)

    def asked(self) -> list[Rekeyed]:
        """Requests of other seats."""
        return self._in((RekeyState.OPEN, RekeyState.SIGNED))

    def empty(self) -> bool:
        """Whether nothing here was ever lost, nor asked."""
        return self._store.one("SELECT 1 FROM rekey LIMIT 1") is None

    def _in(self, states: tuple[RekeyState, ...]) -> list[Rekeyed]:
        rows = (self._row(row) for row in self._store.all("SELECT name, state, value FROM rekey ORDER BY name"))
        return [row for row in rows if row.state in states]

    def _row(self, row: tuple[Any, ...]) -> Rekeyed:
        return Rekeyed(row[0], RekeyState(row[1]), self._store.open_json("rekey.value", row[2]))
