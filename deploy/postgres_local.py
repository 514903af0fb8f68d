"""A real PostgreSQL server on this machine, in a folder of its own: for tests, demonstrations and measurements.

The server comes from the distribution's packages (`apt-get install postgresql`), listens on a free port of the
loopback address and on a Unix socket in its folder, and commits as an operator's does (`fsync`, `synchronous_commit`).
The server refuses to run as root; started by root it runs as the system user `postgres`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from deploy.processes import free_ports

USER = "handslag"
_SUPERUSER = "postgres"
_SYSTEM_USER = "postgres"
_LEAST = 15
_START_S = 60.0
_MEMORY, _DISK = Path("/dev/shm"), Path("/tmp")  # noqa: S108 - a folder of mode 0700 is made in them
_ROOM = 2 << 30
_PACKAGED = Path("/usr/lib/postgresql")
_HOW = "PostgreSQL 15 or newer is not on this machine: apt-get install postgresql"
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "5s",
    "log_min_messages": "warning",
    "timezone": "'UTC'",
}


def binaries() -> Path:
    """The folder of the newest packaged server; raises ClickException with how to install one."""
    found = [path for path in _PACKAGED.glob("*/bin/postgres") if path.parent.parent.name.isdigit()]
    newest = max(found, key=lambda path: int(path.parent.parent.name), default=None)
    if newest is None or int(newest.parent.parent.name) < _LEAST:
        raise click.ClickException(_HOW)
    return newest.parent


class LocalPostgres:
    """One server; leaving its context stops it. `conf` are further lines of `postgresql.conf`."""

    def __init__(self, folder: Path, conf: dict[str, str] | None = None, *, temporary: bool = False) -> None:
        self.folder = folder
        self.bin = binaries()
        self.port = free_ports(1)[0]
        self.socket = folder / "s"
        self.password_file = folder / "password"
        self._conf = {**_SETTINGS, **(conf or {})}
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def temporary(cls, conf: dict[str, str] | None = None, *, in_memory: bool = False) -> LocalPostgres:
        """A server in a new folder under /tmp that is removed when its context is left.

        `in_memory`, where the machine has room: it does all that it does on a disk, and never waits for one.
        """
        # not under a folder of the caller's: the server's own user must be able to reach it; a socket path is short
        roomy = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
        folder = Path(tempfile.mkdtemp(prefix="handslag-pg-", dir=_MEMORY if roomy else _DISK))
        return cls(folder, conf, temporary=True)

    def __enter__(self) -> Self:
        if not self.data.exists():
            self._init()
        self.start()
        self._role()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        """The server's data folder, WAL included."""
        return self.folder / "data"

    @property
    def version(self) -> str:
        """Of the running server, as it says it itself."""
        return self.sql("SHOW server_version").split()[0]

    @property
    def pid(self) -> int:
        """Of the postmaster; raises ClickException when the server is not running."""
        if self._process is None:
            raise click.ClickException("the server is not running")
        return self._process.pid

    def settings(self, database: str) -> dict[str, Any]:
        """The table `[store]` of a broker's configuration that uses a database of this server."""
        return {
            "engine": "postgresql", "host": "127.0.0.1", "port": self.port, "database": database, "user": USER,
            "password_file": str(self.password_file),
        }  # fmt: skip

    def create(self, database: str, template: str = "template1") -> dict[str, Any]:
        """Make a new database that the broker's user owns; returns its `settings`."""
        self.sql(f'CREATE DATABASE "{database}" OWNER {USER} TEMPLATE "{template}"')
        return self.settings(database)

    def drop(self, database: str) -> None:
        """Remove a database and whoever is still connected to it."""
        self.sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for one statement of the superuser's, a row a line, columns parted by `|`."""
        done = self._run(
            self.bin / "psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-p", self.port, "-U", _SUPERUSER,
            "-d", database, "-c", statement,
        )  # fmt: skip
        return done.strip()

    def start(self) -> None:
        """Start the server and wait until it answers; raises ClickException with the log when it ends instead."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the packaged server
                [
                    str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port),
                    "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.socket}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **_as_server(),
            )  # fmt: skip
        end = time.monotonic() + _START_S
        ready = [str(self.bin / "pg_isready"), "-q", "-h", str(self.socket), "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:  # noqa: S603 - the packaged command
            if self._process.poll() is not None or time.monotonic() > end:
                raise click.ClickException("the server did not start: " + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop as an operator does: sessions are ended, everything is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_START_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End every process of the server at once, as a machine does that loses power; `start` recovers."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # or it would clean up after the first of its children
        children = self.backends()
        for child in children:
            _kill(child)
        self._process.kill()
        self._process.wait()
        self._process = None
        while any(_runs(child) for child in children):
            time.sleep(0.01)

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()

    def backends(self) -> list[int]:
        """Process ids of the server's children, sessions and helpers."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in text.split()]

    def _init(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.mkdir(mode=0o700)
        self.password_file.write_text(secrets.token_hex(16), encoding="ascii")
        self.password_file.chmod(0o600)
        for path in (self.folder, self.socket):
            _give(path)
        self._run(
            self.bin / "initdb", "-D", self.data, "-U", _SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions",
        )  # fmt: skip
        lines = "".join(f"{name} = {value}\n" for name, value in self._conf.items())
        with (self.data / "postgresql.conf").open("a", encoding="ascii") as conf:
            conf.write(lines)

    def _role(self) -> None:
        """The broker's own user, with what it must be allowed to set, and nothing more."""
        if self.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"):  # noqa: S608 - a constant
            return
        password = self.password_file.read_text(encoding="ascii")
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'")
        self.sql(f"GRANT SET ON PARAMETER deadlock_timeout TO {USER}")

    def _run(self, *command: Any) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - the packaged commands
            [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/", **_as_server()
        )
        if done.returncode:
            raise click.ClickException(f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout


def _as_server() -> dict[str, Any]:
    """How a process becomes the server's user when root starts it."""
    if os.geteuid() != 0:
        return {}
    return {"user": _SYSTEM_USER, "group": _SYSTEM_USER, "extra_groups": []}


def _give(path: Path) -> None:
    """Make a folder the server user's own, closed to all others."""
    path.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _runs(pid: int) -> bool:
    """Whether a process is there and is not waiting to be collected only."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
