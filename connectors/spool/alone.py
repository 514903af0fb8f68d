"""One running connector per data folder, on every system: two would draw the same attempt numbers.

The lock is an exclusive transaction on a SQLite file of its own, held as long as the connector runs; the system lets
it go when the process ends, however it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from schemas.errors import HandslagError


@contextmanager
def sole_runner(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process; raises `HS-CONNECTOR-RUNNING` when another has it."""
    # INVARIANT: test_two_connectors_never_share_a_data_folder
    with closing(sqlite3.connect(data_dir / "running.lock", isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise HandslagError("HS-CONNECTOR-RUNNING") from None
        yield
