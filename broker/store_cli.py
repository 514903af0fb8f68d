"""The commands `handslag store`: what an operator does to the store's tables."""

from __future__ import annotations

from pathlib import Path

import click

from broker import control, settings
from broker.cli_parts import as_json, config_option, examples, told
from broker.settings import BrokerSettings
from broker.store.migrate import migrate, migrate_server
from broker.store.postgresql_engine import MIGRATING, checked, engine_for


@click.group()
def store() -> None:
    """The tables of the store: bringing them up to date."""


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


def _server(loaded: BrokerSettings, user: str | None, password_file: Path | None) -> None:
    as_owner = {"user": user, "password_file": password_file} if user else {}
    engine = engine_for(loaded.store.model_copy(update=as_owner), MIGRATING, connections=1)
    try:
        checked(engine)
        migrate_server(engine)
    finally:
        engine.dispose()
