"""The trail by itself, in a file for whoever verifies it: entries, leaves, tiles, beats and checkpoints, opened.

The broker's own file is sealed where it names units (`cipher.py`), and holds seats and deliveries that are none of an
auditor's business. This copy has neither; names of its tables and columns are the format that `audit verify` reads.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from broker.store import tables
from broker.store.cipher import ColumnCipher
from schemas.errors import HandslagError
from schemas.trail import AuditEntry

TRAIL = (tables.entry, tables.payload, tables.leaf, tables.tile, tables.head, tables.checkpoint, tables.beat,
         tables.continuation)  # fmt: skip
PIECE = 2_000
_ENTRY = 64 * 1024


def copy(
    database: Path, cipher: ColumnCipher, out: Path, told: Callable[[str, int], None] = lambda _table, _rows: None
) -> int:
    """Write the trail of a store to a new file, 0600; returns how many entries. `told` hears table and rows so far.

    One snapshot: of a running broker take it when little is written, for its write-ahead log grows meanwhile. Raises
    `HS-FILE-EXISTS`, `HS-KEYS-UNREADABLE`, `HS-TRAIL-UNREADABLE`; then nothing is left at `out`.
    """
    try:
        os.close(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        raise HandslagError("HS-FILE-EXISTS") from None
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(_empty(out)) as target,
        ):
            source.isolation_level = None
            source.execute("BEGIN")
            count = 0
            for table in TRAIL:
                done = _copied(source, target, table, cipher, told)
                count = done if table is tables.entry else count
            for guard in tables.GUARDS_SQLITE:
                target.execute(guard)
            target.commit()
    except (sqlite3.Error, HandslagError) as error:
        out.unlink(missing_ok=True)
        raise error if isinstance(error, HandslagError) else HandslagError("HS-TRAIL-UNREADABLE") from None
    return count


def _empty(out: Path) -> sqlite3.Connection:
    engine = sa.create_engine(f"sqlite:///{out}")
    tables.metadata.create_all(engine, tables=list(TRAIL))
    engine.dispose()
    return sqlite3.connect(out)


def _copied(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: sa.Table,
    cipher: ColumnCipher,
    told: Callable[[str, int], None],
) -> int:
    names = [column.name for column in table.columns]
    places = ", ".join("?" * len(names))
    # The names are this module's own.
    rows = source.execute(f"SELECT {', '.join(names)} FROM {table.name}")  # noqa: S608
    done = 0
    while piece := rows.fetchmany(PIECE):
        if table in {tables.entry, tables.payload}:
            open_ = _entry if table is tables.entry else _payload
            piece = [open_(dict(zip(names, row, strict=True)), cipher) for row in piece]
        target.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})", piece)  # noqa: S608
        done += len(piece)
        told(table.name, done)
    return done


def _payload(row: dict[str, object], cipher: ColumnCipher) -> tuple[object, ...]:
    if isinstance(row["blob"], bytes):
        row["blob"] = cipher.open("payload.blob", row["blob"])
    return tuple(row.values())


def _entry(row: dict[str, object], cipher: ColumnCipher) -> tuple[object, ...]:
    """An entry's row with its bytes as they were hashed; one whose bytes are gone stays so, and verifying tells."""
    raw = row["bytes"]
    if isinstance(raw, bytes):
        row["bytes"] = opened = cipher.open("entry.bytes", raw)
        with contextlib.suppress(HandslagError):  # what does not decode is for the verifier to name
            row["owner"] = AuditEntry.from_bytes(opened, _ENTRY).owner
    return tuple(row.values())
