"""Carrying a whole store from a file into a PostgreSQL database, and a snapshot of a database into files.

Both ways every table is copied as it lies, sealed columns sealed, and what arrived is compared before it counts: rows
per table, the log's head, and its root computed anew from the copied tiles.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from audit.tiles import frontier
from broker.engine_settings import StoreSettings
from broker.store import conversion, erasure_tables, join_tables, rule_tables, shared_tables, statute_tables
from broker.store.keyport import METADATA, SEAT_KEY
from broker.store.log import LogRows
from broker.store.migrate import migrate, migrate_server
from broker.store.postgresql_engine import MIGRATING, checked, engine_for
from broker.store.sqlite import engine_for as file_engine
from broker.store.tables import metadata
from schemas.errors import HandslagError

Told = Callable[[str, int], None]
PIECE = 1_000
# Their tables are in `metadata` once they are loaded.
_KNOWN = (conversion, erasure_tables, join_tables, rule_tables, shared_tables, statute_tables)
_OF_NODES = {"key_holder", "lease", "node"}  # who is there: no part of what is kept
_DRAWN = ("entry", "inbox_item")


class Carried(NamedTuple):
    """What arrived: leaves of the log, its root (32 bytes), rows in all tables."""

    size: int
    root: bytes
    rows: int


def tables() -> list[sa.Table]:
    """Every table of a store that is kept, in a fixed order."""
    return [table for table in metadata.sorted_tables if table.name not in _OF_NODES]


def to_server(database: Path, keys: Path, settings: StoreSettings, before: Callable[[], None], told: Told) -> Carried:
    """Carry a file and its keys into an empty database; `before` is called when all is there and not committed yet.

    No node may have the file open. Raises `HS-COPY-EXISTS` for a database that holds anything, `HS-COPY-INVALID` when
    what arrived is not what was there, `HS-STORE-AWAY`, `HS-STORE-UNSUITABLE`, `HS-COPY-FAILED`; then the database is
    as it was.
    """
    migrate(database)
    target = engine_for(settings, MIGRATING, connections=1)
    try:
        checked(target)
        migrate_server(target)
        with _reading(database) as old, _reading(keys) as old_keys, _writing(target) as new:
            _require_empty(new)
            count = sum(_copied(old, new, table, told) for table in tables())
            count += _copied(old_keys, new, SEAT_KEY, told)
            for name in _DRAWN:
                new.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'number'),"  # noqa: S608 - names of this module
                    f" coalesce((SELECT max(number) FROM {name}), 0) + 1, false)"
                )
            head = _same(old, new)
            before()
    except (SQLAlchemyError, OSError):
        raise HandslagError("HS-COPY-FAILED") from None
    finally:
        target.dispose()
    return Carried(*head, count)


def to_files(settings: StoreSettings, database: Path, keys: Path | None, told: Told,
             only: Iterable[sa.Table] | None = None) -> Carried:  # fmt: skip
    """Write one snapshot of a database, in use or not, into a new file, and the keys into another, both 0600.

    The keys are read after the snapshot: a key is durable before its use. Raises `HS-STORE-AWAY`,
    `HS-STORE-UNSUITABLE`, `HS-COPY-FAILED`, `HS-COPY-INVALID`.
    """
    # INVARIANT: test_a_copy_of_a_database_under_load_is_one_moment
    source = engine_for(settings, MIGRATING, connections=1)
    wanted = tables() if only is None else list(only)
    try:
        checked(source)
        with source.connect() as old:
            old.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            migrate(database)
            with _file(database) as new:
                count = sum(_copied(old, new, table, told) for table in wanted)
                head = _same(old, new, wanted)
            old.exec_driver_sql("COMMIT")
            if keys is not None:
                old.exec_driver_sql("BEGIN")
                os.close(os.open(keys, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                with _file(keys) as new:
                    METADATA.create_all(new)
                    count += _copied(old, new, SEAT_KEY, told)
                old.exec_driver_sql("COMMIT")
    except (SQLAlchemyError, OSError):
        raise HandslagError("HS-COPY-FAILED") from None
    finally:
        source.dispose()
    return Carried(*head, count)


def _copied(old: sa.Connection, new: sa.Connection, table: sa.Table, told: Told) -> int:
    """Every row of a table in the place of what is there; returns how many."""
    new.execute(sa.delete(table))
    rows = old.execute(sa.select(table).execution_options(yield_per=PIECE))
    done = 0
    for piece in rows.mappings().partitions():
        new.execute(sa.insert(table), [dict(row) for row in piece])
        done += len(piece)
        told(table.name, done)
    return done


def _same(old: sa.Connection, new: sa.Connection, wanted: Iterable[sa.Table] | None = None) -> tuple[int, bytes]:
    """Compare what arrived with what was there; returns the log's head."""
    # INVARIANT: test_what_did_not_arrive_whole_is_not_kept
    for table in tables() if wanted is None else wanted:
        count = sa.select(sa.func.count()).select_from(table)
        if old.execute(count).scalar_one() != new.execute(count).scalar_one():
            raise HandslagError("HS-COPY-INVALID", part=table.name)
    before, after = LogRows(old), LogRows(new)
    head, note = after.head(), after.latest_checkpoint()
    if head != before.head() or frontier(head.size, after.read_tile).root() != head.root:
        raise HandslagError("HS-COPY-INVALID", part="head")
    if note != before.latest_checkpoint() or (note is not None and not _stated(note.note, after)):
        raise HandslagError("HS-COPY-INVALID", part="checkpoint")
    return head.size, head.root


def _stated(note: str, log: LogRows) -> bool:
    """Whether a checkpoint states the tree as the tiles give it (C2SP tlog-checkpoint: origin, size, root)."""
    with suppress(ValueError, IndexError):
        _origin, size, root = note.split("\n")[:3]
        return frontier(int(size), log.read_tile).root() == base64.b64decode(root)
    return False


def _require_empty(new: sa.Connection) -> None:
    """Raise HS-COPY-EXISTS for a database that any broker has worked on."""
    used = [table for table in (*tables(), SEAT_KEY) if table.name in {"entry", "unit", "seat_key", "admin_act"}]
    if any(new.execute(sa.select(table).limit(1)).first() is not None for table in used):
        raise HandslagError("HS-COPY-EXISTS")


@contextmanager
def _reading(path: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true", poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction on a server, committed when the block ends well."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            # Nobody else begins to work on what looks empty.
            connection.exec_driver_sql("LOCK TABLE turn, bucket IN ACCESS EXCLUSIVE MODE")
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.invalidate()
            raise


@contextmanager
def _file(path: Path) -> Iterator[sa.Connection]:
    """One transaction on a file of its own, all of it in the file when the block ends well."""
    engine = file_engine(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        with path.open("rb") as file:
            os.fsync(file.fileno())
    finally:
        engine.dispose()
