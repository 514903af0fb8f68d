"""How far this connector has come, once in the database and once beside it: a database that is behind was put back.

The number rises once a minute while the connector runs, in the database first and then in the marker file, so that
the database is never honestly behind. The marker lies in the adapter's folder, which no backup of `data_dir` holds.
"""

from __future__ import annotations

import json
from pathlib import Path

from connectors import files
from connectors.context import Context

NAME = "high-water"
FILE = ".high-water.json"


def advance(ctx: Context) -> None:
    """Raise the number and note it beside the database; raises `HS-SPOOL-FAILED`.

    A marker of this instance that is ahead is left alone: it is what shows that the database went back.
    """
    # INVARIANT: test_a_database_put_back_stays_visible_after_a_run
    held = number(ctx.spool.memory.get(NAME)) + 1
    ctx.spool.memory.put(NAME, str(held).encode())
    place = ctx.settings.folder / FILE
    before = marker(place)
    if before is None or before[0] != ctx.settings.instance or before[1] <= held:
        files.write_atomic(place, json.dumps({"instance": ctx.settings.instance, "number": held}).encode())


def number(value: bytes | None) -> int:
    """The number as the database holds it, 0 before the first."""
    return int(value) if value else 0


def marker(path: Path) -> tuple[int, int] | None:
    """(instance, number) of the marker file, None when there is none that can be read."""
    try:
        value = json.loads(path.read_bytes())
        return int(value["instance"]), int(value["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
