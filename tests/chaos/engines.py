"""The engines of a chaos run: how each is written into a node's configuration, started, restarted, filled, stopped."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from deploy.postgres_local import LocalPostgres

Seen = dict[str, Any]
EngineFault = Callable[[Any, random.Random], Seen]


class Engines(Protocol):
    """What a run needs of its engines."""

    names: dict[str, str]
    """Name -> version of the real servers, for the evidence."""
    faults: dict[str, EngineFault]
    """Faults of these engines, as those of faults.py."""
    clock_steps: tuple[float, ...]
    """Seconds by which a node's wall clock may be stepped."""

    def configure(self, config: Path) -> None:
        """Write the engines into a new broker's configuration, before it first starts."""
        ...


class Embedded:
    """SQLite carries Store and Stream; one node."""

    def __init__(self) -> None:
        self.names = {"SQLite": sqlite3.sqlite_version}
        self.faults: dict[str, EngineFault] = {}
        # The embedded node has no other clock than its own: a lease given while it is ahead lasts as much longer.
        self.clock_steps: tuple[float, ...] = (-60.0, -5.0, 2.0, 5.0)

    def configure(self, config: Path) -> None:
        """Nothing to write: it is what `init` writes."""


class Postgres:
    """PostgreSQL carries Store and Stream; any number of nodes."""

    def __init__(self, server: LocalPostgres, database: str) -> None:
        """Use a database of a running server; it is made here."""
        self.server = server
        self.names = {"PostgreSQL": server.version}
        self.faults: dict[str, EngineFault] = {
            "PostgreSQL restarted": self._restarted,
            "PostgreSQL killed": self._killed,
        }
        self.clock_steps: tuple[float, ...] = (-3600.0, -60.0, -5.0, 5.0, 60.0, 3600.0)
        self._settings = server.create(database)

    def configure(self, config: Path) -> None:
        """The table `[store]` of `broker.toml`."""
        lines = "".join(f"{name} = {_toml(value)}\n" for name, value in self._settings.items())
        text = config.read_text(encoding="utf-8").replace('store = "sqlite"\n', "")
        config.write_text(f"{text}\n[store]\n{lines}", encoding="utf-8")

    def _restarted(self, _site: Any, _draw: random.Random) -> Seen:
        """Stopped as an operator does, and started."""
        self.server.restart()
        return {"engine": "PostgreSQL"}

    def _killed(self, _site: Any, draw: random.Random) -> Seen:
        """Every process of the server killed at once, as a machine that loses power; it recovers from its WAL."""
        self.server.kill()
        self.server.start()
        return {"engine": "PostgreSQL"}


def _toml(value: Any) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


@contextlib.contextmanager
def started(store: str) -> Iterator[Engines]:
    """The engines of a run by name, with whatever server they need; leaving stops it."""
    if store == "sqlite":
        yield Embedded()
        return
    with LocalPostgres.temporary() as server:
        yield Postgres(server, "chaos")
