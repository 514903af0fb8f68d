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
from schemas.errors import HandslagError

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intake(mark BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seat(ref BLOB PRIMARY KEY, seat_id BLOB UNIQUE, state TEXT NOT NULL,
  case_handle BLOB NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS command(number INTEGER PRIMARY KEY AUTOINCREMENT, command_id BLOB NOT NULL UNIQUE, ref BLOB,
  kind TEXT NOT NULL, narrowing INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  next_at_us INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outgoing(number INTEGER PRIMARY KEY AUTOINCREMENT, event_id BLOB NOT NULL UNIQUE,
  ref BLOB NOT NULL, event_type TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,
  posted INTEGER NOT NULL DEFAULT 0, basis TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
  next_at_us INTEGER NOT NULL DEFAULT 0, accepted_at_us INTEGER NOT NULL, shelf_until_us INTEGER NOT NULL,
  event BLOB, sealed BLOB, submission BLOB);
CREATE INDEX IF NOT EXISTS outgoing_state ON outgoing(state, next_at_us);
CREATE TABLE IF NOT EXISTS outgoing_section(event_id BLOB NOT NULL, role TEXT NOT NULL, category TEXT NOT NULL,
  state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, reasons TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(event_id, role, category)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt(event_id BLOB NOT NULL, attempt INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY(event_id, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incoming(delivery_id BLOB PRIMARY KEY, seat_id BLOB NOT NULL, event_id BLOB NOT NULL,
  state TEXT NOT NULL, at_us INTEGER NOT NULL, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incoming_section(event_id BLOB NOT NULL, digest BLOB NOT NULL, delivery_id BLOB NOT NULL,
  state TEXT NOT NULL, PRIMARY KEY(event_id, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event_hash(event_id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ack(item_id BLOB PRIMARY KEY, hand_number INTEGER NOT NULL, verdict TEXT NOT NULL,
  code TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
  folder TEXT NOT NULL, delivery_id BLOB, written INTEGER NOT NULL DEFAULT 0, value BLOB);
CREATE INDEX IF NOT EXISTS outbox_waits ON outbox(number) WHERE NOT written;
CREATE TABLE IF NOT EXISTS ledger(seat_id BLOB NOT NULL, seq INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY(seat_id, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_head(seat_id BLOB PRIMARY KEY, seq INTEGER NOT NULL,
  head BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statement(number INTEGER PRIMARY KEY AUTOINCREMENT, case_handle BLOB NOT NULL,
  hash BLOB NOT NULL, value BLOB NOT NULL, UNIQUE(case_handle, hash));
CREATE TABLE IF NOT EXISTS invitation(invitation_id BLOB PRIMARY KEY, state TEXT NOT NULL,
  value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS call(call_id BLOB PRIMARY KEY, path TEXT NOT NULL, at_us INTEGER NOT NULL,
  request BLOB NOT NULL, answer BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proof(leaf_hash BLOB PRIMARY KEY, kind TEXT NOT NULL, since_us INTEGER NOT NULL,
  alarmed INTEGER NOT NULL DEFAULT 0, value BLOB, seat_id BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS proof_waits ON proof(since_us) WHERE value IS NULL;
CREATE TABLE IF NOT EXISTS evidence(number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL,
  code TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS reading(number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL,
  value BLOB NOT NULL);
"""
_PROBE = b"this file belongs to this key"


class Store:
    """A SQLite file whose `value`-like columns are sealed under the data key."""

    def __init__(self, path: Path, key: DataKey) -> None:
        """Open or create; raises `HS-SPOOL-FAILED`, `HS-FOLDER-UNSAFE`, or `HS-SPOOL-UNREADABLE` for another key."""
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
            self._db.executescript(_TABLES)
        except (sqlite3.Error, OSError):
            raise HandslagError("HS-SPOOL-FAILED") from None
        try:
            self._probe()
        except HandslagError:
            self._db.close()
            raise

    def _probe(self) -> None:
        """A database and a key that do not belong together are found at the start, not at the first message."""
        with self.transaction():
            row = self.one("SELECT value FROM meta WHERE name='probe'")
            if row is None:
                self.run("INSERT INTO meta VALUES('probe', ?)", self.key.seal("meta.probe", _PROBE))
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
