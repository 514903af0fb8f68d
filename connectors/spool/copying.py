"""A copy of the spool while it is in use: SQLite's online backup, from one moment of its life."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from schemas.errors import HandslagError

_PAGES = 2048  # 8 MiB a step at 4 KiB a page: often enough to tell of progress

Progress = Callable[[int, int], None]
"""Called with (pages copied, pages in all)."""


def copy_spool(source: Path, target: Path, progress: Progress) -> None:
    """Copy the database as it stands now, whole and checked, mode 0600; writers go on meanwhile.

    A read transaction is held from the first page to the last, so what is copied is one moment, and a writer in
    between does not make the copy begin anew. Raises `HS-BACKUP-FAILED`.
    """
    try:
        target.touch(mode=0o600)
        with (
            closing(sqlite3.connect(source, isolation_level=None, timeout=10.0)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM meta").fetchone()
            live.backup(copy, pages=_PAGES, progress=lambda _status, left, total: progress(total - left, total))
            live.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")
            [(found,)] = copy.execute("PRAGMA quick_check(1)").fetchall()
    except (sqlite3.Error, OSError):
        raise HandslagError("HS-BACKUP-FAILED", check="spool") from None
    if found != "ok":
        raise HandslagError("HS-BACKUP-FAILED", check="spool damaged")
