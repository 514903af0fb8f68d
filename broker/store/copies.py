"""Copying SQLite files of a broker that writes them, and looking whether a copy is sound."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from broker.store.cipher import ColumnCipher
from broker.store.port import Rows
from broker.store.sqlite import engine_for
from schemas.errors import HandslagError

T = TypeVar("T")
_PAGES = 512  # two megabytes in one step


def copy_file(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """SQLite's online backup inside one read transaction; `progress` is told (pages left, pages in all).

    Without the transaction every commit of the broker would make it begin anew, and under load it would never end.
    Raises HS-COPY-FAILED.
    """
    # INVARIANT: test_a_copy_taken_under_load_restores_to_a_store_that_verifies
    with _failing(), closing(_read_only(source)) as old:
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM sqlite_master").fetchone()
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(target, isolation_level=None)) as new:
            old.backup(new, pages=_PAGES, progress=lambda _status, left, total: progress(left, total), sleep=0.001)
            new.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        old.execute("COMMIT")
        with target.open("rb") as file:
            os.fsync(file.fileno())


def sound(path: Path) -> bool:
    """Whether SQLite can open a file and finds it whole."""
    try:
        with closing(_read_only(path)) as copy:
            return bool(copy.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def written(path: Path, cipher: ColumnCipher, work: Callable[[Rows], T]) -> T:
    """Run `work` in one transaction on a store that no node has open, all of it in the file when this returns.

    Raises what `work` raised, or HS-COPY-FAILED.
    """
    engine = engine_for(path)
    try:
        with _failing(), engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = work(Rows(connection, cipher))
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return result
    finally:
        engine.dispose()


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=10)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error):
        raise HandslagError("HS-COPY-FAILED") from None
