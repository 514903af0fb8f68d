"""Connections to PostgreSQL: how they are made, what each session is told, and what a server must be to be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from broker.engine_settings import StoreSettings
from schemas.errors import HandslagError

LEAST_VERSION = 150000  # `server_version_num`; GRANT SET ON PARAMETER came with 15
WRITING = {
    # A node that is stopped in the middle of a transaction holds its locks no longer than this.
    "idle_in_transaction_session_timeout": "150ms",
    "lock_timeout": "300ms",
    # Below lock_timeout, or a deadlock would look like a long wait.
    "deadlock_timeout": "100ms",
    "statement_timeout": "20s",
    "synchronous_commit": "on",
}
"""What each session that writes is told."""
READING = {**WRITING, "idle_in_transaction_session_timeout": "30s"}
"""A session that reads holds no lock, only an old snapshot."""
MIGRATING = {**WRITING, "idle_in_transaction_session_timeout": "0", "statement_timeout": "0", "lock_timeout": "1s"}
"""A migration waits for each lock only shortly: everybody who comes after it waits behind it."""


def engine_for(settings: StoreSettings, session: Mapping[str, str], *, connections: int) -> Engine:
    """An engine whose connections are in autocommit, so that the driver alone says BEGIN and COMMIT.

    Nothing is connected yet. Raises `HS-SETTINGS-INVALID` for a password file that cannot be read.
    """
    engine = create_engine(
        _url(settings),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=1,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",
        connect_args=_how(settings),
    )

    @event.listens_for(engine, "connect")
    def _told(dbapi: Any, _record: Any) -> None:
        # Arrays of bytes as they are: as text each byte is escaped twice, which takes a node a microsecond a byte.
        dbapi.adapters.register_dumper(list, ListBinaryDumper)
        try:
            _tell(dbapi, session)
        except BaseException:
            dbapi.close()  # nobody else knows of it yet
            raise

    event.listen(engine, "after_cursor_execute", _heard)
    return engine


def _heard(_connection: Connection, cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    """After many rows at once the server is asked something more, or it would not look at its clock until then.

    Psycopg sends them as a pipeline and ends it with Sync and Flush. The server begins to count how long a transaction
    stands still when it answers Sync, stops at whatever comes next, and a Flush makes it begin no more (PostgreSQL 15).
    """
    # INVARIANT: test_a_transaction_that_stands_still_after_many_rows_is_ended_too
    if context is not None and context.execute_style is ExecuteStyle.EXECUTEMANY:
        cursor.connection.execute("SELECT 1")


def _url(settings: StoreSettings) -> URL:
    password = None
    if settings.password_file is not None:
        password = _secret(settings.password_file)
    return URL.create(
        "postgresql+psycopg",
        username=settings.user,
        password=password,
        host=settings.host or None,
        port=settings.port,
        database=settings.database,
    )


def _how(settings: StoreSettings) -> dict[str, Any]:
    """Libpq's parameters; a server that is silent is given up within seconds, also in the middle of a call."""
    how: dict[str, Any] = {
        "connect_timeout": 3,
        "keepalives": 1,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
        "application_name": "handslag",
        "options": "-c default_transaction_isolation=read\\ committed -c timezone=UTC -c client_encoding=UTF8",
    }
    if settings.ca_file is not None:
        how |= {"sslmode": "verify-full", "sslrootcert": str(settings.ca_file), "ssl_min_protocol_version": "TLSv1.3"}
    if settings.certificate_file is not None and settings.key_file is not None:
        how |= {"sslcert": str(settings.certificate_file), "sslkey": str(settings.key_file)}
    return how


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-SETTINGS-INVALID", field="store.password_file") from None


def _tell(dbapi: Any, session: Mapping[str, str]) -> None:
    """Set what the session needs; raises `HS-STORE-UNSUITABLE` for a right that the user lacks."""
    with dbapi.cursor() as cursor:
        for name, value in session.items():
            try:
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
            except psycopg.errors.InsufficientPrivilege:
                # INVARIANT: test_a_user_who_may_not_shorten_the_wait_for_a_deadlock_is_refused
                raise HandslagError("HS-STORE-UNSUITABLE", part=name) from None


def require_suitable(connection: Connection) -> None:
    """Raise `HS-STORE-UNSUITABLE` (`part`: which property) for a server that would not keep what it answers.

    Newer than 14, the primary, writable, in UTF-8, with a commit that is on the disk before it is answered.
    """
    shown: dict[str, Callable[[str], bool]] = {
        "server_version_num": lambda value: int(value) >= LEAST_VERSION,
        "server_encoding": lambda value: value == "UTF8",
        "fsync": lambda value: value == "on",
        "full_page_writes": lambda value: value == "on",
        "synchronous_commit": lambda value: value in {"on", "remote_apply"},
        "in_hot_standby": lambda value: value == "off",
        "default_transaction_read_only": lambda value: value == "off",
        "transaction_isolation": lambda value: value == "read committed",
    }
    for name, good in shown.items():
        # INVARIANT: test_a_server_that_answers_before_it_is_on_the_disk_is_refused
        if not good(connection.exec_driver_sql(f"SHOW {name}").scalar_one()):
            raise HandslagError("HS-STORE-UNSUITABLE", part=name)


def checked(engine: Engine) -> None:
    """Connect once and look; raises `HS-STORE-UNSUITABLE`, and `HS-STORE-AWAY` for a server that cannot be reached."""
    try:
        with engine.connect() as connection:
            require_suitable(connection)
    except DBAPIError:
        raise HandslagError("HS-STORE-AWAY") from None
