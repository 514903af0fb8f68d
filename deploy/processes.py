"""Commands of Handslag as processes of their own, started, talked to and stopped."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import click

import handslag as front

_STOP_S = 20


class Started:
    """One running command; leaving its context stops it as a service manager does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal, as a service manager or a debugger does."""
        self._process.send_signal(number)

    def line_with(self, piece: str) -> str:
        """The next line on stderr that has `piece`; raises ClickException when the process ends before."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if piece in line:
                return line
        raise click.ClickException("a command ended before it said what to read aloud")

    def type(self, line: str) -> None:
        """What a person types."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait(self) -> int:
        """The exit code of a command that ends by itself."""
        with self:
            return self._process.wait(_STOP_S)


def argv(*arguments: str | Path) -> list[str]:
    """The command line of one command."""
    return [sys.executable, str(Path(front.__file__)), "--lang", "en", *map(str, arguments)]


def handslag(*arguments: str | Path) -> str:
    """Run one command to its end and return its stdout; raises ClickException with its own words when it fails."""
    done = subprocess.run(argv(*arguments), capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise click.ClickException(f"handslag {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def started(log: Path | None, *arguments: str | Path) -> Started:
    """Start one command; without a log it can be talked to: stdin and stderr are pipes."""
    if log is None:
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        return Started(
            subprocess.Popen(argv(*arguments), stdin=pipe, stdout=null, stderr=pipe, text=True)  # noqa: S603
        )
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            argv(*arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
        )
    return Started(process)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
