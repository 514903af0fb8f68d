"""Bringing a database to the newest tables before anything else opens it."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from schemas.errors import HandslagError

HERE = Path(__file__).parent
_LOCK = 0x48534C4147  # one migration at a time on a database, whoever starts it
_TRIES = 120
_PAUSE_S = 0.25
_TRANSIENT = {"55P03", "40P01", "57014"}  # waited too long for a lock, a deadlock, cancelled
_NO_RIGHT = "42501"


def migrate(database: Path) -> None:
    """Apply every migration that the SQLite file lacks; makes the file when there is none."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(configured(connection), "head")
    engine.dispose()
    database.chmod(0o600)


def migrate_server(engine: Engine, revision: str = "head") -> None:
    """Apply every migration that a PostgreSQL database lacks, all or none, also while nodes of before work on it.

    `engine` has the session settings `MIGRATING`. Raises `HS-STORE-OLDER` when the user may not change the tables,
    `HS-STORE-AWAY`, and `HS-NOT-READY` when others held the tables for half a minute.
    """
    for _ in range(_TRIES):
        try:
            with engine.connect() as connection:
                if revision == "head" and is_newest(connection):
                    return
                _upgraded(connection, revision)
                return
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == _NO_RIGHT:
                raise HandslagError("HS-STORE-OLDER") from None
            if state not in _TRANSIENT:
                raise HandslagError("HS-STORE-AWAY") from None
        time.sleep(_PAUSE_S)
    raise HandslagError("HS-NOT-READY")


def _upgraded(connection: Connection, revision: str) -> None:
    """One transaction: a migration that fails leaves the tables as they were."""
    connection.exec_driver_sql("BEGIN")
    try:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")  # two nodes that start at once
        command.upgrade(configured(connection), revision)
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
        raise


def is_newest(connection: Connection) -> bool:
    """Whether a database has every table of this program."""
    newest = ScriptDirectory.from_config(configured(connection)).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def configured(connection: Connection) -> Config:
    """Alembic's configuration for one connection, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
