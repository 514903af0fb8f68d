"""Opening the Store that the configuration names: at its newest tables, under its own key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError

from broker.engine_settings import StoreSettings
from broker.store.cipher import ColumnCipher
from broker.store.conversion import PROOF, column_key, convert
from broker.store.migrate import migrate, migrate_server
from broker.store.postgresql import PostgresStore
from broker.store.postgresql_engine import MIGRATING, checked, engine_for
from broker.store.sqlite import SqliteStore
from schemas.errors import HandslagError


def open_sqlite(database: Path, cipher: Callable[[], ColumnCipher], told: Callable[[str, int], None]) -> SqliteStore:
    """The store in a file, every row of an earlier version sealed.

    Blocks for as long as there is something to seal. `cipher` is asked once the tables are there. Raises what it raises
    and `convert`.
    """
    migrate(database)
    opened = cipher()
    convert(database, opened, told)
    return SqliteStore(database, opened)


def open_server(
    settings: StoreSettings, cipher: Callable[[], ColumnCipher], undone: Callable[[str], None] = lambda _reason: None
) -> PostgresStore:
    """The store on a server; several nodes may open it at once, and the first brings the tables up to date.

    `undone` as `PostgresStore` tells it.
    Raises `HS-STORE-AWAY`, `HS-STORE-UNSUITABLE`, `HS-STORE-OLDER`, `HS-KEYS-UNREADABLE` for a database that was
    written under another key, and what `cipher` raises.
    """
    engine = engine_for(settings, MIGRATING, connections=1)
    try:
        checked(engine)
        migrate_server(engine)
        opened = cipher()
        with engine.connect() as connection:
            _own_key(connection, opened)
    except DBAPIError:
        raise HandslagError("HS-STORE-AWAY") from None
    finally:
        engine.dispose()
    return PostgresStore(settings, opened, undone=undone)


def _own_key(connection: Connection, cipher: ColumnCipher) -> None:
    """A database that has never had a key takes this one; another's is refused."""
    proof = cipher.handle("column_key", PROOF)
    connection.exec_driver_sql("BEGIN")
    try:
        connection.exec_driver_sql("LOCK TABLE column_key IN EXCLUSIVE MODE")  # two nodes that start at once
        found = connection.execute(select(column_key.c.proof)).scalar_one_or_none()
        if found is None:
            connection.execute(insert(column_key).values(id=1, proof=proof, done=True))
        connection.exec_driver_sql("COMMIT")
    except DBAPIError:
        connection.invalidate()
        raise
    # INVARIANT: test_a_database_under_another_key_is_refused
    if found not in {None, proof}:
        raise HandslagError("HS-KEYS-UNREADABLE", part="columns")
