"""The mark on a data folder whose store was carried to a server: the file that is left behind never starts again."""

from __future__ import annotations

import json
from pathlib import Path

from broker.keyfiles import write_atomic
from schemas.errors import HandslagError

FILE = "moved.json"
MOVING, MOVED = "MOVING", "MOVED"


def mark(data_dir: Path, state: str, size: int) -> None:
    """Write that the store is being carried away or was, with the leaves of its log; durable when this returns."""
    # INVARIANT: test_a_file_that_was_carried_away_never_starts_again
    write_atomic(data_dir / FILE, json.dumps({"state": state, "size": size}).encode())


def require_here(data_dir: Path) -> None:
    """Raise `HS-STORE-MOVED` for a folder whose store is on a server now, or may be."""
    if (data_dir / FILE).exists():
        raise HandslagError("HS-STORE-MOVED")
