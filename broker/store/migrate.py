"""Bringing a database to the newest tables before anything else opens it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine

HERE = Path(__file__).parent


def migrate(database: Path) -> None:
    """Apply every migration that the SQLite file lacks; makes the file when there is none."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(configured(connection), "head")
    engine.dispose()
    database.chmod(0o600)


def configured(connection: Connection) -> Config:
    """Alembic's configuration for one connection, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
