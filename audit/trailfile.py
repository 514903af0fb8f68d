"""A copied trail, read from its SQLite file in pieces and never written.

Give it a copy (a backup, or the file of a stopped broker): reading for minutes from the file that a running broker
writes would keep its write-ahead log growing. Nothing read here is believed; columns may hold any type, and whoever
uses the rows checks them. Names of tables and columns are those of `broker/store/tables.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from schemas.errors import HandslagError
from schemas.trail import AuditEntry

_ENTRY = 64 * 1024
PIECE = 2_000
"""Rows per query: a few megabytes, well under a tenth of a second."""

_TABLES = {
    "entry": ("number", "entry_id", "owner", "handle", "at_us", "operation", "outcome", "reason_class", "bytes",
              "leaf_hash"),
    "payload": ("entry_id", "blob"),
    "leaf": ("idx", "entry_number"),
    "tile": ("level", "n", "width", "hashes"),
    "head": ("id", "size", "root"),
    "checkpoint": ("size", "note", "at_us"),
    "beat": ("first", "size", "count", "seed", "entry_id"),
}  # fmt: skip


class Opener(Protocol):
    """The key of the broker's sealed columns."""

    def open(self, column: str, sealed: bytes) -> bytes:
        """The content of a column named `table.column`; raises HandslagError."""
        ...


class EntryRow(NamedTuple):
    """A row of `entry` with its ciphertext and its leaf index; None where there is none. Types are not checked."""

    number: Any
    entry_id: Any
    owner: Any
    handle: Any
    at_us: Any
    operation: Any
    outcome: Any
    reason_class: Any
    entry_bytes: Any
    leaf_hash: Any
    payload: Any
    index: Any


class LeafRow(NamedTuple):
    """A row of `leaf` with the leaf hash that its entry states; `number` None is a filler."""

    index: Any
    number: Any
    entry_id: Any
    leaf_hash: Any


class BeatRow(NamedTuple):
    """A row of `beat`."""

    first: Any
    size: Any
    count: Any
    seed: Any
    entry_id: Any


class TileRow(NamedTuple):
    """A row of `tile`."""

    level: Any
    n: Any
    width: Any
    hashes: Any


class TrailFile:
    """An open trail; use it as a context manager. Every read raises HS-TRAIL-UNREADABLE when SQLite cannot answer."""

    def __init__(self, path: Path, key: Callable[[], Opener] | None = None) -> None:
        """Open a SQLite file, or the one trail in a directory, read-only.

        `key` is asked when the file is the broker's own, whose entries lie sealed: only who has that key can read it.

        Raises HS-TRAIL-UNREADABLE (`part` = file, several, store for the broker's own file, which is sealed, or the
        table that is missing or has other columns).
        """
        self.path = _located(path)
        try:
            self._db = sqlite3.connect(_uri(self.path), uri=True, isolation_level=None)
        except sqlite3.Error:
            raise HandslagError("HS-TRAIL-UNREADABLE", part="file") from None
        # A file made to harm must not run functions through its schema, nor end the reading by a broken letter.
        self._db.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            self._one("PRAGMA trusted_schema=OFF")
            self._opener = self._unsealer(key)
            for table, columns in _TABLES.items():
                have = {row[1] for row in self._all(f"PRAGMA table_info({table})")}
                if not have.issuperset(columns):
                    raise HandslagError("HS-TRAIL-UNREADABLE", part=table)
        except HandslagError:
            self._db.close()
            raise

    def _unsealer(self, key: Callable[[], Opener] | None) -> Opener | None:
        if not self._all("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'column_key'"):
            return None
        if key is None:  # sealed where it names units: `handslag trail copy` makes what anybody can read
            raise HandslagError("HS-TRAIL-UNREADABLE", part="store")
        return key()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._db.close()

    def head(self) -> tuple[Any, Any] | None:
        """Return (size, root) of the stored head, or None."""
        row = self._one("SELECT size, root FROM head WHERE id = 1")
        return (row[0], row[1]) if row else None

    def checkpoints(self) -> Iterator[tuple[Any, Any]]:
        """Yield (size, note) of every published checkpoint, in the order of their storing."""
        for row in self._pieces("SELECT rowid, size, note FROM checkpoint", "rowid"):
            yield row[1], row[2]

    def continuations(self) -> list[tuple[Any, Any, Any, Any]]:
        """(number, statement, signature, entry id) of every continuation; none in a trail older than that table."""
        known = self._one("SELECT 1 FROM sqlite_master WHERE type='table' AND name='continuation'")
        if known is None:
            return []
        return self._all("SELECT number, statement, signature, entry_id FROM continuation ORDER BY number")

    def erasures(self) -> list[EntryRow]:
        """The entries that say that something was erased, as `entries` would give them."""
        columns = ", ".join(f"e.{name}" for name in _TABLES["entry"])
        rows = self._all(
            f"SELECT {columns}, p.blob, l.idx FROM entry AS e"  # noqa: S608 - the names are this module's own
            " LEFT JOIN payload AS p ON p.entry_id = e.entry_id LEFT JOIN leaf AS l ON l.entry_number = e.number"
            " WHERE e.operation = 'ERASURE' ORDER BY e.number"
        )
        return [self._entry(EntryRow._make(row)) for row in rows]

    def row_of(self, entry_id: bytes) -> EntryRow | None:
        """One entry, or None."""
        columns = ", ".join(f"e.{name}" for name in _TABLES["entry"])
        rows = self._all(
            f"SELECT {columns}, p.blob, l.idx FROM entry AS e"  # noqa: S608 - as above
            " LEFT JOIN payload AS p ON p.entry_id = e.entry_id LEFT JOIN leaf AS l ON l.entry_number = e.number"
            " WHERE e.entry_id = ?",
            (entry_id,),
        )
        return self._entry(EntryRow._make(rows[0])) if rows else None

    def place_of(self, entry_id: bytes) -> tuple[Any, Any, Any] | None:
        """(operation, owner, leaf index) of an entry, index None while it waits; None when there is no such entry."""
        rows = self._all(
            "SELECT e.operation, e.owner, l.idx, e.bytes FROM entry AS e"
            " LEFT JOIN leaf AS l ON l.entry_number = e.number WHERE e.entry_id = ?",
            (entry_id,),
        )
        if not rows:
            return None
        operation, owner, index, raw = rows[0]
        return operation, owner if self._opener is None else _owner(self._open("entry.bytes", raw)), index

    def beats(self) -> Iterator[BeatRow]:
        """Yield the beats in order of their first leaf."""
        query = "SELECT first, size, count, seed, entry_id FROM beat"
        return (BeatRow(*row) for row in self._pieces(query, "first"))

    def leaves(self) -> Iterator[LeafRow]:
        """Yield the leaves in order of their index."""
        query = (
            "SELECT l.idx, l.entry_number, e.entry_id, e.leaf_hash FROM leaf AS l"
            " LEFT JOIN entry AS e ON e.number = l.entry_number"
        )
        return map(LeafRow._make, self._pieces(query, "l.idx"))

    def entries(self) -> Iterator[EntryRow]:
        """Yield the entries in order of their number; one that stands in two leaves comes twice."""
        columns = ", ".join(f"e.{name}" for name in _TABLES["entry"])
        query = (
            f"SELECT {columns}, p.blob, l.idx FROM"  # noqa: S608 - the names are this module's own
            f" (SELECT * FROM entry WHERE number > ? ORDER BY number LIMIT {PIECE}) AS e"
            " LEFT JOIN payload AS p ON p.entry_id = e.entry_id"
            " LEFT JOIN leaf AS l ON l.entry_number = e.number ORDER BY e.number, l.idx"
        )
        after: Any = _BEFORE_ALL
        while rows := self._all(query, (after,)):
            yield from (self._entry(EntryRow._make(row)) for row in rows)
            after = rows[-1][0]

    def _entry(self, row: EntryRow) -> EntryRow:
        """A row as the auditor's copy would have it."""
        if self._opener is None:
            return row
        raw = self._open("entry.bytes", row.entry_bytes)
        return row._replace(owner=_owner(raw), entry_bytes=raw, payload=self._open("payload.blob", row.payload))

    def _open(self, column: str, value: Any) -> Any:
        assert self._opener is not None
        return self._opener.open(column, value) if isinstance(value, bytes) else value

    def tiles(self) -> Iterator[TileRow]:
        """Yield the tiles by level, n and width."""
        for (level,) in self._all("SELECT DISTINCT level FROM tile ORDER BY level"):
            after: Any = _BEFORE_ALL
            query = (
                "SELECT level, n, width, hashes FROM tile WHERE level IS ? AND n IN"
                " (SELECT DISTINCT n FROM tile WHERE level IS ? AND n > ? ORDER BY n LIMIT 64) ORDER BY n, width"
            )
            while rows := self._all(query, (level, level, after)):
                yield from (TileRow(*row) for row in rows)
                after = rows[-1][1]

    def entries_in(self, first: int, end: int) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (number, entry id, leaf index) of the entries in the leaves first..end-1."""
        yield from self._all(
            "SELECT e.number, e.entry_id, l.idx FROM leaf AS l JOIN entry AS e ON e.number = l.entry_number"
            " WHERE l.idx >= ? AND l.idx < ? ORDER BY l.idx LIMIT 1",
            (first, end),
        )

    def strays(self) -> list[Any]:
        """Return up to 100 ids of payloads that belong to no entry."""
        query = (
            "SELECT p.entry_id FROM payload AS p LEFT JOIN entry AS e ON e.entry_id = p.entry_id"
            " WHERE e.number IS NULL LIMIT 100"
        )
        return [row[0] for row in self._all(query)]

    def _pieces(self, query: str, order: str) -> Iterator[tuple[Any, ...]]:
        """Run a query in pieces along its first column, which is unique."""
        piece = f"{query} WHERE {order} > ? ORDER BY {order} LIMIT {PIECE}"
        after: Any = _BEFORE_ALL
        while rows := self._all(piece, (after,)):
            yield from rows
            after = rows[-1][0]

    def _all(self, query: str, parameters: Iterable[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(query, tuple(parameters)).fetchall()
        except (sqlite3.Error, OverflowError):
            raise HandslagError("HS-TRAIL-UNREADABLE", part="sqlite") from None

    def _one(self, query: str) -> Any:
        rows = self._all(query)
        return rows[0] if rows else None


def _owner(raw: Any) -> str:
    """Whose an entry is by its own bytes; empty for what does not decode, which is for the verifier to name."""
    try:
        return AuditEntry.from_bytes(raw, _ENTRY).owner
    except (HandslagError, TypeError):
        return ""


_BEFORE_ALL = -(2**63)


def _located(path: Path) -> Path:
    """Return the SQLite file itself; in a directory, the one that holds a trail."""
    if path.is_file():
        return path
    try:
        found = [file for file in sorted(path.iterdir()) if file.is_file() and _is_trail(file)]
    except OSError:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="file") from None
    if len(found) != 1:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="several" if found else "file")
    return found[0]


def _uri(file: Path) -> str:
    """Return the read-only address of a file; without a write-ahead log beside it nothing beside it is made either."""
    # A running broker always has one, be it empty: its file is never opened as one that cannot change.
    log = file.with_name(f"{file.name}-wal")
    alone = not log.exists()
    return f"{file.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def _is_trail(file: Path) -> bool:
    with file.open("rb") as opened:
        if opened.read(16) != b"SQLite format 3\x00":
            return False
    try:
        db = sqlite3.connect(_uri(file), uri=True)
        try:
            return bool(db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'leaf'").fetchone())
        finally:
            db.close()
    except sqlite3.Error:
        return False
