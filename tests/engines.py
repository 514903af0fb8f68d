"""Databases of the PostgreSQL server that the tests of one run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from broker.engine_settings import StoreSettings
from broker.store.cipher import ColumnCipher
from broker.store.migrate import migrate_server
from broker.store.port import Rows
from broker.store.postgresql import PostgresStore
from broker.store.postgresql_engine import MIGRATING, WRITING, engine_for
from deploy.postgres_local import LocalPostgres

TEMPLATE = "handslag_template"
PATIENT = {**WRITING, "idle_in_transaction_session_timeout": "20s", "lock_timeout": "10s"}


@dataclass(frozen=True, slots=True)
class Database:
    """One database with today's tables."""

    server: LocalPostgres
    settings: StoreSettings

    def store(
        self, cipher: ColumnCipher, rows: Any = Rows, *, server_clock: bool = False, patient: bool = True
    ) -> PostgresStore:
        """A node's store on it; tests move the time, and forgive a slow machine, unless they want it as it is."""
        session = PATIENT if patient else WRITING
        return PostgresStore(self.settings, cipher, rows, server_clock=server_clock, session=session)

    def connect(self) -> psycopg.Connection[Any]:
        """A session of the broker's user beside every store."""
        of = self.settings
        assert of.password_file is not None
        return psycopg.connect(
            host=of.host, port=of.port, dbname=of.database, user=of.user, password=of.password_file.read_text()
        )

    def seen(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a second session reads at this moment."""
        with self.connect() as other:
            return other.execute(query.replace("?", "%s"), values).fetchall()  # type: ignore[arg-type]


def template(server: LocalPostgres) -> str:
    """Make the database that all others are copied from."""
    engine = engine_for(StoreSettings(**server.create(TEMPLATE)), MIGRATING, connections=1)
    migrate_server(engine)
    engine.dispose()
    return TEMPLATE
