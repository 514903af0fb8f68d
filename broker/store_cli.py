"""The commands `handslag store`: what an operator does to the store's tables."""

from __future__ import annotations

from pathlib import Path

import click

from broker import control, moved, settings
from broker.cli_parts import as_json, config_option, examples, told
from broker.settings import BrokerSettings
from broker.store import grants
from broker.store.cipher import ColumnCipher
from broker.store.conversion import convert
from broker.store.keys import columns_key
from broker.store.migrate import migrate, migrate_server
from broker.store.postgresql_engine import MIGRATING, checked, engine_for
from broker.store.transfer import Carried, to_server
from schemas.errors import HandslagError


@click.group()
def store() -> None:
    """The tables of the store: bringing them up to date, and carrying them to a server."""


@store.command(
    "migrate",
    epilog=examples(
        "handslag store migrate --config broker.toml",
        "handslag store migrate --config broker.toml --user handslag_owner --password-file owner.password",
    ),
)
@config_option
@click.option("--user", help="On PostgreSQL: the user who owns the tables, where that is not the broker's own.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="A file with that password.")
@as_json
def store_migrate(config: Path, user: str | None, password_file: Path | None, as_json: bool) -> None:
    """Bring the tables to those of this program; `handslag serve` does the same where its user may.

    On PostgreSQL nodes may go on working meanwhile: it is one transaction, all or nothing. A file must not be in use.
    """
    loaded = settings.load(config)
    if loaded.store.engine == "sqlite":
        with control.sole_node(loaded.data_dir):
            migrate(loaded.database)
    else:
        _server(loaded, user, password_file)
    told(as_json, {"migrated": True}, ["The tables are those of this program."])


@store.command("grants", epilog=examples("handslag store grants --user handslag | psql -d handslag"))
@click.option("--user", required=True, help="The user under whom nodes serve; another one owns the tables.")
@as_json
def store_grants(user: str, as_json: bool) -> None:
    """Print the SQL that leaves the nodes' user what they need: no right to alter or remove what the trail rests on.

    Run it as the owner after every `handslag store migrate`.
    """
    made = grants.statements(user)
    told(as_json, {"sql": made}, made)


@store.command("move", epilog=examples("handslag store move --config broker.toml"))
@config_option
@as_json
def store_move(config: Path, as_json: bool) -> None:
    """Carry the store from the file in the data folder to the PostgreSQL server that the configuration names.

    Stop the broker, name the server under [store], make its database, run this, start the broker. All rows, the log and
    the wrapped seat keys go in one transaction; the log's root is computed anew from what arrived and compared with the
    last signed checkpoint. The file is only read and marked: it never starts again. Destroy it and every copy of it
    when you trust the server, for what is erased from now on lies in it still.
    """
    loaded = settings.load(config)
    if loaded.store.engine != "postgresql":
        raise HandslagError("HS-SETTINGS-INVALID", field="store.engine")
    database, keys = loaded.data_dir / "broker.db", loaded.data_dir / "keys.db"
    with control.sole_node(loaded.data_dir):
        carried = _moved(loaded, database, keys)
    told(as_json, {"size": carried.size, "root": carried.root.hex(), "rows": carried.rows}, [
        f"{carried.rows} rows carried; the log of {carried.size} leaves verifies there.",
        "The file is marked and never starts again. Destroy it when you trust the server.",
    ])  # fmt: skip


def _moved(loaded: BrokerSettings, database: Path, keys: Path) -> Carried:
    """Carry and mark; what fails before the comparison was passed leaves the file unmarked and in service."""
    if not database.is_file() or not keys.is_file():
        raise HandslagError("HS-SETTINGS-INVALID", field="data_dir")
    cipher = ColumnCipher(columns_key(keys, loaded.root_key_file))
    convert(database, cipher)
    # Marked before the commit: whatever happens then, two stores never go on from one log.
    carried = to_server(database, keys, loaded.store, lambda: moved.mark(loaded.data_dir, moved.MOVING, 0), _progress)
    moved.mark(loaded.data_dir, moved.MOVED, carried.size)
    return carried


def _progress(table: str, rows: int) -> None:
    click.echo(f"{table}: {rows}", err=True)


def _server(loaded: BrokerSettings, user: str | None, password_file: Path | None) -> None:
    as_owner = {"user": user, "password_file": password_file} if user else {}
    engine = engine_for(loaded.store.model_copy(update=as_owner), MIGRATING, connections=1)
    try:
        checked(engine)
        migrate_server(engine)
    finally:
        engine.dispose()
