"""What arrived and must not have: kept on disk until a named person takes note of it.

A counter that starts again with the process would forget the worst thing there is to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors import files
from schemas.errors import HandslagError

KINDS = ("withheld", "withdrawal")
_DONE = "acknowledged"


def keep(folder: Path, kind: str, value: Mapping[str, Any], at: datetime) -> None:
    """Keep one of them, durable; the same event is kept once. Only ids, hashes and codes of the delivery are kept."""
    kept = {name: value.get(name) for name in ("event_id", "delivery_id", "entry_id", "leaf_hash", "purpose")}
    name = f"{kept['event_id']}.json"
    if (folder / name).exists() or (folder / _DONE / name).exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    row = {"kind": kind, "at": at.astimezone(UTC).isoformat(timespec="seconds"), **kept}
    files.write_atomic(folder / name, json.dumps(row, indent=1).encode() + b"\n")


def unacknowledged(folder: Path) -> list[dict[str, Any]]:
    """All that nobody has taken note of, oldest first; raises `HS-CONFIG-INVALID` for a file that cannot be read."""
    try:
        rows = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
        return sorted(rows, key=lambda row: str(row["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise HandslagError("HS-CONFIG-INVALID", field="evidence") from None


def acknowledged(folder: Path, who: str) -> list[dict[str, Any]]:
    """Note who has seen them and put them aside; returns them."""
    rows = unacknowledged(folder)
    aside = folder / _DONE
    aside.mkdir(mode=0o700, exist_ok=True)
    for row in rows:
        name = f"{row['event_id']}.json"
        files.write_atomic(aside / name, json.dumps({**row, "acknowledged_by": who}, indent=1).encode() + b"\n")
        (folder / name).unlink()
    return rows
