"""Sealing what an earlier version wrote in the clear: at the first start with the key, in pieces, and for good.

Which columns are handles and which are sealed stands here and nowhere else. A row that bears the mark already is left
alone, so a start that was cut off goes on at the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Boolean, Column, Connection, Integer, String, Table
from sqlalchemy.exc import SQLAlchemyError

from broker.store.cipher import HANDLE_MARK, SEALED_MARK, ColumnCipher
from broker.store.sqlite import engine_for
from broker.store.tables import GUARDS_SQLITE, metadata
from schemas.errors import HandslagError

HANDLES = {
    "seat": ("unit",),
    "invitation": ("unit",),
    "call": ("unit",),
    "stream": ("unit",),
    "delivery": ("sender_unit", "recipient_unit"),
    "annul_notice": ("recipient_unit",),
    "inbox_item": ("unit",),
    "instance": ("unit",),
    "unit_memory": ("unit",),
    "contact": ("unit",),
    "case_join": ("unit",),
    "rule_approval": ("unit",),
    "approval": ("agency",),
}
SEALED = {
    "invitation": ("envelope", "acceptance"),
    "ledger_event": ("event",),
    "stream": ("record",),
    "delivery": ("body",),
    "inbox_item": ("body",),
    "instance": ("request", "answer"),
    "entry": ("bytes",),
    "shared_file": ("content",),
    "acute": ("decider_key", "decider_hash"),
    "payload": ("blob",),  # encrypted already, but as long as the unit code in it makes it
}
EMPTY = {"entry": ("owner",)}
"""Columns that hold nothing here: what they held stands in a sealed one of the same row."""

PIECE = 500
column_key = Table(
    "column_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("proof", String, nullable=False),  # by which the key in `keys.db` is known again
    Column("done", Boolean, nullable=False),  # whether every earlier row was sealed
)
PROOF = "HANDSLAG"
_TRUNCATED = (0, 0, 0)  # not busy; no frame was left in the write-ahead log


def convert(database: Path, cipher: ColumnCipher, told: Callable[[str, int], None] = lambda _table, _rows: None) -> int:
    """Seal every row that is not sealed yet, then leave nothing of it in file or write-ahead log.

    `told` hears the table and the rows done in it, piece by piece. Returns how many rows were sealed. Raises
    `HS-KEYS-UNREADABLE` when the store was written under another key, `HS-NOT-READY` when the file cannot be written.
    """
    engine = engine_for(database)
    try:
        with engine.connect() as connection:
            if _known(connection, cipher):
                return 0
            sealed = sum(_table(connection, table, cipher, told) for table in sorted(HANDLES.keys() | SEALED.keys()))
            # INVARIANT: test_nothing_is_left_in_the_clear_in_file_or_log
            _truncate(connection)
            connection.exec_driver_sql("UPDATE column_key SET done = 1")
            return sealed
    except SQLAlchemyError:
        raise HandslagError("HS-NOT-READY") from None
    finally:
        engine.dispose()


def _known(connection: Connection, cipher: ColumnCipher) -> bool:
    """Whether this store was converted under this key; a store that has never had a key takes this one."""
    row = connection.exec_driver_sql("SELECT proof, done FROM column_key").one_or_none()
    proof = cipher.handle("column_key", PROOF)
    if row is None:
        connection.exec_driver_sql("INSERT INTO column_key (id, proof, done) VALUES (1, ?, 0)", (proof,))
        return False
    # INVARIANT: test_a_store_under_another_key_is_refused
    if row.proof != proof:
        raise HandslagError("HS-KEYS-UNREADABLE", part="columns")
    return bool(row.done)


def _table(connection: Connection, table: str, cipher: ColumnCipher, told: Callable[[str, int], None]) -> int:
    handles, sealed, empty = (which.get(table, ()) for which in (HANDLES, SEALED, EMPTY))
    columns = (*handles, *sealed, *empty)
    # The names are this module's own. A rowid never changes while nobody else writes, and nobody does before the start.
    query = f"SELECT rowid, {', '.join(columns)} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {PIECE}"  # noqa: S608
    change = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in columns)} WHERE rowid = ?"  # noqa: S608
    if connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() != 1:
        raise HandslagError("HS-NOT-READY")
    done, after = 0, -(2**63)
    while rows := connection.exec_driver_sql(query, (after,)).fetchall():
        after = rows[-1][0]
        made = [(*_row(table, row[1:], cipher), row[0]) for row in rows if not _marked(table, row[1:])]
        if made:
            _write(connection, change, made, guarded=table == "entry")
        done += len(made)
        told(table, done)
    return done


def _marked(table: str, values: tuple[object, ...]) -> bool:
    """Whether a row was sealed before; its first column that holds anything tells, for all change together."""
    for value, handle in zip(values, _is_handle(table), strict=False):
        if value is not None:
            return str(value).startswith(HANDLE_MARK) if handle else bytes(value).startswith(SEALED_MARK)  # type: ignore[call-overload]
    return False


def _is_handle(table: str) -> list[bool]:
    return [True] * len(HANDLES.get(table, ())) + [False] * len(SEALED.get(table, ()))


def _row(table: str, values: tuple[object, ...], cipher: ColumnCipher) -> list[object]:
    handles, sealed = HANDLES.get(table, ()), SEALED.get(table, ())
    made: list[object] = [cipher.handle(table, str(value)) for value in values[: len(handles)]]
    for name, value in zip(sealed, values[len(handles) :], strict=False):
        made.append(None if value is None else cipher.seal(f"{table}.{name}", bytes(value)))  # type: ignore[call-overload]
    return made + [""] * len(EMPTY.get(table, ()))


def _write(connection: Connection, change: str, made: list[tuple[object, ...]], *, guarded: bool) -> None:
    """One piece in one transaction; the guards of the entries stand again when it commits."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        if guarded:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS entry_no_update")
        connection.exec_driver_sql(change, made)
        if guarded:
            connection.exec_driver_sql(GUARDS_SQLITE[0])
        connection.exec_driver_sql("COMMIT")
    except SQLAlchemyError:
        connection.exec_driver_sql("ROLLBACK")
        raise


def _truncate(connection: Connection) -> None:
    row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    if tuple(row) != _TRUNCATED:
        raise HandslagError("HS-NOT-READY")
