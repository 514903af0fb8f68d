"""One running connector per data folder, on every system: two would draw the same attempt numbers.

The lock is an exclusive transaction on a SQLite file of its own, held as long as the connector runs; the system lets
it go when the process ends, however it ends. Beside it stands which configuration the holder was started with.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from connectors import files
from schemas.errors import HandslagError

LOCK = "running.lock"
_HOLDER = "running.config"


@contextmanager
def sole_runner(data_dir: Path, config: Path | None = None) -> Iterator[None]:
    """Hold the data folder for this process; raises `HS-CONNECTOR-RUNNING` when another has it."""
    # INVARIANT: test_two_connectors_never_share_a_data_folder
    with closing(sqlite3.connect(data_dir / LOCK, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise HandslagError("HS-CONNECTOR-RUNNING") from None
        if config is not None:
            files.write_atomic(data_dir / _HOLDER, name_of(config).encode())
        yield


def held(data_dir: Path) -> bool:
    """Whether a connector runs on this data folder now; changes nothing."""
    try:
        with closing(sqlite3.connect(data_dir / LOCK, isolation_level=None, timeout=0)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return True
    return False


def configuration_of(data_dir: Path) -> str | None:
    """`name_of` the configuration that the last connector here was started with, None where none was noted."""
    try:
        return (data_dir / _HOLDER).read_text("ascii") or None
    except (OSError, UnicodeDecodeError):
        return None


def name_of(config: Path) -> str:
    """A configuration file by the hash of its place, which tells no path to who reads it."""
    return hashlib.sha256(os.fsencode(config.resolve())).hexdigest()
