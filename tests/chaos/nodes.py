"""The nodes of a chaos run as processes: started, watched, and what their traces say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAUNCH = Path(__file__).with_name("launch.py")
_STOP_S = 30.0
_SERVES = b"Serving on"
_AWAY = (b"HS-STORE-AWAY", b"HS-STREAM-AWAY", b"HS-NOT-READY", b"HS-NOT-RECORDED")  # engines that were not there yet


class NodeFailedError(AssertionError):
    """A node ended although nobody ended it, or does not do what every node does."""


class Node:
    """One broker node: its configuration, its process, its trace."""

    def __init__(self, name: str, config: Path, control: Path, logs: Path) -> None:
        self.name, self.config = name, config
        self._control, self._log = control, logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.down_on_purpose = False
        host, _, port = tomllib.loads(config.read_text(encoding="utf-8"))["listen"].rpartition(":")
        self.address = (host, int(port))
        self.started_again = 0
        self._said = 0
        self._traced: list[dict[str, Any]] = []
        self._traced_to = 0

    @property
    def running(self) -> bool:
        """Whether its process is there (it may be stopped)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its process; raises NodeFailedError when it has none."""
        if self._process is None:
            raise NodeFailedError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start it by its command."""
        argv = [sys.executable, str(LAUNCH), "node", self.name, str(self._control), "serve", "--config",
                str(self.config)]  # fmt: skip
        with self._log.open("ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.down_on_purpose = False

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self.down_on_purpose = True
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self.down_on_purpose = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to its process."""
        os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Whether the kernel says that every thread of it stands still."""
        tasks = Path(f"/proc/{self.pid}/task")
        states = [(task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] for task in tasks.iterdir()]
        return bool(states) and set(states) <= {"T", "t"}

    def arm(self, place: str, action: str) -> None:
        """Make it stop or die when it next passes a place."""
        draft = self._control / f".{self.name}.arm"
        draft.write_text(f"{place} {action}", encoding="ascii")
        draft.rename(self._control / f"{self.name}.arm")

    def disarm(self) -> bool:
        """Take the order back; False when it was followed already."""
        arm = self._control / f"{self.name}.arm"
        there = arm.exists()
        arm.unlink(missing_ok=True)
        return there

    def clock(self, wrong_us: int) -> None:
        """Step its wall clock away from the machine's by so much; 0 sets it right."""
        draft = self._control / f".{self.name}.clock"
        draft.write_text(str(wrong_us), encoding="ascii")
        draft.rename(self._control / f"{self.name}.clock")

    def trace(self) -> list[dict[str, Any]]:
        """What its launcher wrote, oldest first."""
        path = self._control / f"{self.name}.trace"
        if path.exists():
            with path.open("rb") as file:  # what was read before is kept: an hour's trace is looked at often
                file.seek(self._traced_to)
                whole, _, _rest = file.read().rpartition(b"\n")
            if whole:
                self._traced_to += len(whole) + 1
                self._traced += [json.loads(line) for line in whole.split(b"\n")]
        return list(self._traced)

    def serves(self) -> bool:
        """Whether somebody listens at its gateway."""
        with contextlib.suppress(OSError), socket.create_connection(self.address, 1):
            return True
        return False

    def watch(self) -> None:
        """Raise NodeFailedError for a node that served and ended although nobody ended it.

        One that could not start because an engine was away is started again, as a service manager does.
        """
        if self._process is None or self.running or self.down_on_purpose:
            return
        said = self._log.read_bytes()[self._said :]
        if _SERVES in said or not any(code in said for code in _AWAY):
            raise NodeFailedError(f"{self.name} ended by itself with {self._process.returncode}; see {self._log}")
        self.started_again += 1
        self.start()


def awaited(met: Callable[[], Any], seconds: float) -> Any:
    """What `met` returned when it was first true; its last value when it never was."""
    end = time.monotonic() + seconds
    while not (found := met()) and time.monotonic() < end:
        time.sleep(0.01)
    return found
