"""Looking at a broker's two SQLite files without changing them, also while it runs; and whether files can lock."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from broker.engine_settings import StoreSettings
from broker.store import rootkey
from broker.store.keyport import SEAT_KEY, OwnerKind, of
from broker.store.keys import opens_operator_key
from broker.store.postgresql_engine import READING, checked, engine_for
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look tells: `size` is the log's leaves, `newest_us` when the last checkpoint was made.

    `state` is absent, ok or damaged, and of a server also away or unsuitable.
    """

    state: str
    size: int = 0
    newest_us: int | None = None


def look(path: Path) -> Looked:
    """The log's head in `broker.db`; a file that no broker has opened yet has none and is no fault."""
    if not path.exists():
        return Looked("absent")
    try:
        with closing(_read_only(path)) as connection:
            size = connection.execute("SELECT size FROM head").fetchone()
            newest = connection.execute("SELECT max(at_us) FROM checkpoint").fetchone()
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, OSError):
        return Looked("damaged")
    if sound != ("ok",):
        return Looked("damaged")
    return Looked("ok", size[0] if size else 0, newest[0] if newest else None)


def look_server(settings: StoreSettings) -> Looked:
    """The log's head on a PostgreSQL server; a database that no broker has opened yet is absent and no fault.

    `state` is `away` for a server that cannot be reached or does not let the broker in, `unsuitable` for one that
    would not keep what it answers.
    """
    try:
        engine = engine_for(settings, READING, connections=1)
    except HandslagError:
        return Looked("away")
    try:
        checked(engine)
        with engine.connect() as connection:
            if not connection.exec_driver_sql("SELECT to_regclass('head') IS NOT NULL").scalar_one():
                return Looked("absent")
            size = connection.exec_driver_sql("SELECT size FROM head").scalar_one_or_none()
            newest = connection.exec_driver_sql("SELECT max(at_us) FROM checkpoint").scalar_one_or_none()
    except SQLAlchemyError:
        return Looked("damaged")
    except HandslagError as error:
        return Looked("away" if error.code == "HS-STORE-AWAY" else "unsuitable")
    finally:
        engine.dispose()
    return Looked("ok", size or 0, newest)


def keys_belong(path: Path, root_key: Path) -> bool | None:
    """Whether `keys.db` opens under the root key; None when the root key cannot be read, or no file is there yet."""
    try:
        root = rootkey.load(root_key)
    except HandslagError:
        return None
    if not path.exists():
        return False
    try:
        with closing(_read_only(path)) as connection:
            row = connection.execute(
                "SELECT epoch, wrapped FROM seat_key WHERE owner_kind=?", (OwnerKind.OPERATOR.value,)
            ).fetchone()
    except (sqlite3.Error, OSError):
        return False
    return row is not None and opens_operator_key(root, row[0], row[1])


def server_keys_belong(settings: StoreSettings, root_key: Path) -> bool | None:
    """Whether the keys in a PostgreSQL database open under the root key; None when one of them cannot be read.

    A database that no broker has opened yet has none and is no fault.
    """
    try:
        root = rootkey.load(root_key)
        engine = engine_for(settings, READING, connections=1)
    except HandslagError:
        return None
    query = select(SEAT_KEY.c.epoch, SEAT_KEY.c.wrapped).where(of((OwnerKind.OPERATOR, b"")))
    try:
        with engine.connect() as connection:
            if not connection.exec_driver_sql("SELECT to_regclass('seat_key') IS NOT NULL").scalar_one():
                return None
            row = connection.execute(query).one_or_none()
    except (SQLAlchemyError, HandslagError):
        return None
    finally:
        engine.dispose()
    return None if row is None else opens_operator_key(root, row.epoch, row.wrapped)


def locks(folder: Path) -> bool | None:
    """Whether a lock on a file in this folder keeps a second one out; None when no file can be made there."""
    path = folder / f".lock-{uuid4().hex}"
    try:
        path.touch(mode=0o600)
    except OSError:
        return None
    try:
        with (
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as first,
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as second,
        ):
            try:
                first.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error:
                return False
            try:
                second.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
            return False
    finally:
        for left in folder.glob(f"{path.name}*"):
            with suppress(OSError):
                left.unlink()


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)
