"""The engines of a chaos run: how each is written into a node's configuration, started, restarted, filled, stopped."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import click

from broker.engine_settings import StreamSettings
from broker.stream.topic import creating, wanted
from deploy.kafka_local import Cluster
from deploy.postgres_local import LocalPostgres

_DISK_MB, _DISK_MB_S = 640, 0.4
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
    store: dict[str, Any] | None
    """The table `[store]` of every node; None for the file of SQLite."""
    stream: dict[str, Any] | None
    """The table `[stream]`; None for the one in the Store."""
    folders: dict[str, Path]
    """What else a run fills: words -> a server's folder."""


class Embedded:
    """SQLite carries Store and Stream; one node."""

    def __init__(self) -> None:
        self.names = {"SQLite": sqlite3.sqlite_version}
        self.faults: dict[str, EngineFault] = {}
        # The embedded node has no other clock than its own: a lease given while it is ahead lasts as much longer.
        self.clock_steps: tuple[float, ...] = (-60.0, -5.0, 2.0, 5.0)
        self.folders: dict[str, Path] = {}
        self.store: dict[str, Any] | None = None
        self.stream: dict[str, Any] | None = None


class Postgres:
    """PostgreSQL carries Store and Stream; any number of nodes."""

    def __init__(self, server: LocalPostgres, database: str, disk: Path | None = None) -> None:
        """Use a database of a running server; it is made here. `disk` is where the server's small disk is mounted."""
        self.server = server
        self.names = {"PostgreSQL": server.version}
        self.faults: dict[str, EngineFault] = {
            "PostgreSQL restarted": self._restarted,
            "PostgreSQL killed": self._killed,
        }
        if disk is not None:
            self.faults["disk full"] = self._full
        self.disk = disk
        self.folders: dict[str, Path] = {"PostgreSQL": server.folder}
        self.clock_steps: tuple[float, ...] = (-3600.0, -60.0, -5.0, 5.0, 60.0, 3600.0)
        self.store: dict[str, Any] | None = server.create(database)
        self.stream: dict[str, Any] | None = None

    def _restarted(self, _site: Any, _draw: random.Random) -> Seen:
        """Stopped as an operator does, and started."""
        self.server.restart()
        return {"engine": "PostgreSQL"}

    def _killed(self, _site: Any, _draw: random.Random) -> Seen:
        """Every process of the server killed at once, as a machine that loses power; it recovers from its WAL."""
        self.server.kill()
        self.server.start()
        return {"engine": "PostgreSQL"}

    def _full(self, _site: Any, draw: random.Random) -> Seen:
        """Somebody else fills the server's disk to the last byte, and makes room again."""
        assert self.disk is not None
        ballast = self.disk / "of-another-program"
        held = draw.uniform(1.0, 4.0)
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        free = shutil.disk_usage(self.disk).free
        time.sleep(held)
        ballast.unlink()
        ended = not _answers(self.server)
        if ended:  # it may have ended for want of room for its WAL; an operator starts it again
            self.server.stop()
            self.server.start()
        return {"free_bytes": free, "held_s": round(held, 2), "server_ended": ended}


class PostgresKafka:
    """PostgreSQL carries the Store, a three-node Apache Kafka cluster the Stream."""

    def __init__(self, postgres: Postgres, cluster: Cluster, topic: str) -> None:
        """Use a running cluster; the topic is made here."""
        self.postgres, self.cluster = postgres, cluster
        self.names = {**postgres.names, "Apache Kafka": cluster.version}
        self.faults: dict[str, EngineFault] = {
            **postgres.faults,
            "Kafka server restarted": self._restarted,
            "Kafka server lost": self._lost,
            "Kafka server silent": self._silent,
        }
        self.clock_steps: tuple[float, ...] = (-60.0, -5.0, 5.0, 60.0)  # the stream's keys are keys of a day
        self.folders: dict[str, Path] = {**postgres.folders, "Apache Kafka": cluster.folder}
        copies = len(cluster.nodes)
        self.store = postgres.store
        self.stream: dict[str, Any] | None = {
            "engine": "kafka", "bootstrap": list(cluster.bootstrap), "topic": topic, "transit_key_file": "transit.key",
            "replication_factor": copies, "min_insync_replicas": min(2, copies),
        }  # fmt: skip
        words = creating(wanted(StreamSettings(**self.stream)), cluster.bootstrap[0], "-").split()
        cluster.tool("TopicCommand", *words[words.index("--create") :])

    def _restarted(self, _site: Any, draw: random.Random) -> Seen:
        node = draw.choice(self.cluster.nodes)
        node.stop()
        node.start()
        return {"server": node.node_id}

    def _lost(self, _site: Any, draw: random.Random) -> Seen:
        node, away = draw.choice(self.cluster.nodes), draw.uniform(2.0, 8.0)
        node.kill()
        time.sleep(away)
        node.start()
        return {"server": node.node_id, "away_s": round(away, 2)}

    def _silent(self, _site: Any, draw: random.Random) -> Seen:
        node, held = draw.choice(self.cluster.nodes), draw.uniform(2.0, 6.0)
        node.pause()
        time.sleep(held)
        node.resume()
        return {"server": node.node_id, "held_s": round(held, 2)}


def _answers(server: LocalPostgres, seconds: float = 10.0) -> bool:
    """Whether a server that was full answers again by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(click.ClickException):
            return server.sql("SELECT 1") == "1"
        time.sleep(0.2)
    return False


@contextlib.contextmanager
def small_disk(megabytes: int = _DISK_MB) -> Iterator[Path]:
    """A file system of its own in memory; mounting it needs root, or sudo. Raises ClickException without either."""
    folder = Path(tempfile.mkdtemp(prefix="handslag-disk-", dir="/tmp"))
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    words = [*root, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        raise click.ClickException(f"a small disk is mounted for this, and may not be: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*root, "umount", "-l", str(folder)], check=False)
        folder.rmdir()


@contextlib.contextmanager
def started(store: str, stream: str = "embedded", *, full_disk: bool = True, seconds: float = 0.0) -> Iterator[Engines]:
    """The engines of a run by name, with whatever servers they need; leaving stops them.

    The small disk has room for what a run of so many seconds writes.
    """
    if store == "sqlite":
        yield Embedded()
        return
    with contextlib.ExitStack() as held:
        disk = held.enter_context(small_disk(_DISK_MB + int(seconds * _DISK_MB_S))) if full_disk else None
        if disk is None:
            server = held.enter_context(LocalPostgres.temporary())
        else:
            server = held.enter_context(LocalPostgres(disk / "pg", {"max_wal_size": "64MB", "min_wal_size": "32MB"}))
        postgres = Postgres(server, "chaos", disk)
        if stream == "embedded":
            yield postgres
            return
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="handslag-kafka-")))
        yield PostgresKafka(postgres, held.enter_context(Cluster(folder / "cluster", nodes=3)), "handslag.submissions")
