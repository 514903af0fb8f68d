"""What the three connectors themselves say after a run, as plain data that can be kept, read again and tampered with.

Sources: the files that were dropped; `in/`, `out/` and `receipts/` with the times of their files; each connector's own
spool (columns in clear by SQL, the ledger copy through the spool's public reader); the entries of each unit's own case
as `handslag audit search` gave them to that unit; and what `handslag audit verify` said of the stopped broker's trail.
Nothing of the broker is imported.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from connectors import settings
from connectors.box import DataKey
from connectors.identity import Identities
from connectors.spool import Spool
from schemas.acts import LedgerEvent
from schemas.identifiers import shown

Value = dict[str, Any]


@dataclass(slots=True)
class History:
    """One run as recorded: every field maps a unit's name to its rows, except `dropped`, `verify` and `roles`.

    `roles`: unit -> (role, unit code). `dropped`: input files. `left`: names still in `in/`. `files`: out and receipts
    with `folder`, `file`, `at_us`. `sections`: (event_id, role, category, state) at the sender. `events`: (event_id,
    event_type, state). `ledger`: own ledger copy. `proofs`: (held, wanted). `trail`: own entries by number.
    """

    roles: dict[str, tuple[str, str]]
    dropped: list[Value]
    left: dict[str, list[str]]
    files: dict[str, list[Value]]
    sections: dict[str, list[list[str]]]
    events: dict[str, list[list[str]]]
    ledger: dict[str, list[Value]]
    proofs: dict[str, tuple[int, int]]
    trail: dict[str, list[Value]]
    verify: Value

    def kept(self) -> Value:
        """As JSON data."""
        return asdict(self)


def read_unit(history: History, unit: str, config: Path) -> None:
    """Add everything that one connector's own folder says."""
    given = settings.load(config)
    root = given.folder
    history.left[unit] = sorted(path.name for path in (root / "in").iterdir())
    history.files[unit] = [_file(p) for folder in ("out", "receipts") for p in sorted((root / folder).iterdir())]
    with contextlib.closing(sqlite3.connect(f"file:{given.database}?mode=ro", uri=True)) as spool:
        rows = spool.execute("SELECT event_id, role, category, state FROM outgoing_section").fetchall()
        history.sections[unit] = [[shown(event_id), *rest] for event_id, *rest in rows]
        rows = spool.execute("SELECT event_id, event_type, state FROM outgoing").fetchall()
        history.events[unit] = [[shown(event_id), *rest] for event_id, *rest in rows]
        held, asked = spool.execute("SELECT count(value), count(*) FROM proof").fetchone()
        history.proofs[unit] = (held, asked - held)
    opened = Spool(given.database, DataKey.load(given.data_key))
    try:
        (seat,) = Identities(opened.store).all()
        history.ledger[unit] = [_ledger(event) for event in opened.memory.ledger(seat.sid)]
    finally:
        opened.close()


def _file(path: Path) -> Value:
    value: Value = json.loads(path.read_bytes()) if path.name.endswith(".json") else {"kind": "?"}
    return {**value, "folder": path.parent.name, "file": path.name, "at_us": path.stat().st_mtime_ns // 1000}


def _ledger(event: LedgerEvent) -> Value:
    return {
        "seq": event.ledger_seq,
        "act": event.act.hex(),
        "holders": [[holder.role, holder.member.hex()] for holder in event.holders],
        "recorded_at_us": event.recorded_at_us,
        "head": event.head.hex(),
    }


def read_trail(text: str) -> list[Value]:
    """The entries of `handslag audit search --json`, in the order of their numbers."""
    return sorted(json.loads(text)["entries"], key=lambda entry: int(entry["number"]))
