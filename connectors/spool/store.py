"""The SQLite file: opened, checked, its tables, its transactions.

WAL with `synchronous=FULL`: a commit that returned survives a power cut. `secure_delete`: what is deleted is
overwritten, in the file and, after a checkpoint, in the log.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors import files
from connectors.box import DataKey
from connectors.spool.tables import VERSIONS
from schemas.errors import HandslagError

PROBE = b"this file belongs to this key"


class Store:
    """A SQLite file whose `value`-like columns are sealed under the data key."""

    def __init__(self, path: Path, key: DataKey) -> None:
        """Open, create or bring up to date.

        Raises `HS-SPOOL-FAILED`, `HS-FOLDER-UNSAFE`, `HS-SPOOL-UNREADABLE` for another key, or `HS-SPOOL-NEWER` for a
        file that a later Handslag has written.
        """
        self.key = key
        self._depth = 0
        files.private_folder(path.parent, "data_dir")
        try:
            # Autocommit by hand: the module's own BEGIN would defeat BEGIN IMMEDIATE.
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            if not path.is_symlink():
                path.chmod(0o600)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
                self._db.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, OSError):
            raise HandslagError("HS-SPOOL-FAILED") from None
        try:
            self._bring_up_to_date()
            self._probe()
        except HandslagError:
            self._db.close()
            raise

    def _bring_up_to_date(self) -> None:
        """Every version that the file lacks, all in one transaction."""
        with self.transaction():
            [(held,)] = self.all("PRAGMA user_version")
            if held > len(VERSIONS):
                raise HandslagError("HS-SPOOL-NEWER")
            for script in VERSIONS[held:]:
                for statement in script.split(";\n"):
                    self.run(statement)
            self.run(f"PRAGMA user_version={len(VERSIONS)}")

    def _probe(self) -> None:
        """A database and a key that do not belong together are found at the start, not at the first message."""
        with self.transaction():
            row = self.one("SELECT value FROM meta WHERE name='probe'")
            if row is None:
                self.run("INSERT INTO meta VALUES('probe', ?)", self.key.seal("meta.probe", PROBE))
            else:
                self.key.open("meta.probe", row[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; a nested call joins the outer one. Nothing is awaited inside."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        self.run("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            if self._db.in_transaction:
                self.run("ROLLBACK")
            raise
        self._depth = 0
        self.run("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction around it that is undone alone when it fails; without one, a transaction."""
        if not self._depth:
            with self.transaction():
                yield
            return
        self.run("SAVEPOINT part")
        try:
            with self.transaction():
                yield
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled back everything: then COMMIT says so
                self.run("ROLLBACK TO part")
                self.run("RELEASE part")
            raise
        self.run("RELEASE part")

    def run(self, sql: str, *values: Any) -> int:
        """Execute one statement; returns the rows changed. Raises `HS-SPOOL-FAILED`."""
        try:
            return self._db.execute(sql, values).rowcount
        except sqlite3.Error:
            raise HandslagError("HS-SPOOL-FAILED") from None

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute one statement for every row, in one transaction; raises `HS-SPOOL-FAILED`."""
        with self.transaction():
            try:
                self._db.executemany(sql, rows)
            except sqlite3.Error:
                raise HandslagError("HS-SPOOL-FAILED") from None

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query; raises `HS-SPOOL-FAILED`."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error:
            raise HandslagError("HS-SPOOL-FAILED") from None

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query or None; raises `HS-SPOOL-FAILED`."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def seal_json(self, column: str, value: Any) -> bytes:
        """A JSON value, sealed for the column."""
        return self.key.seal(column, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def open_json(self, column: str, sealed: bytes) -> Any:
        """The JSON value of a sealed column; raises `HS-SPOOL-UNREADABLE`."""
        return json.loads(self.key.open(column, sealed))

    def tidy(self) -> None:
        """Fold the write-ahead log back and cut it: deleted content leaves the disk here."""
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
