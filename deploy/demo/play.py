"""Playing a scenario: processes as an operator and an agency start them, files dropped as a system drops them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

import handslag
from deploy.demo.scenario import Scenario, Step, filled

_PATIENCE_S = 60.0  # a slow machine is no fault; a step that needs longer is
_LOOK_S = 0.05
# On slots of seconds a machine that stands still is as a connector that slept for weeks, and recovers as it does.
_SLOW = frozenset({"HS-KEY-UNCONFIRMED", "HS-LEAD-SILENT"})


class Play:
    """One run in a folder: `broker/`, `connectors/<unit>/`, `inputs/` as they were dropped, `logs/`."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        say: Callable[[str], None],
        store: dict[str, Any] | None = None,
        stream: dict[str, Any] | None = None,
    ) -> None:
        """`store` and `stream` are the broker's tables `[store]` and `[stream]`; without them it keeps a file."""
        self.folder = folder
        self.store = store
        self.stream = stream
        self.scenario = scenario
        self._say = say
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started = time.monotonic()
        self._commands: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    # --- places

    def config(self, unit: str) -> Path:
        """A connector's configuration file."""
        return self.folder / "connectors" / self.scenario.units[unit].code.replace("/", "-") / "connector.toml"

    def shares(self, unit: str) -> Path:
        """The paper shares of a connector's recovery key, which a real agency prints, spreads and deletes."""
        return self.folder / "shares" / f"{unit}.txt"

    @property
    def broker(self) -> Path:
        """The broker's configuration file."""
        return self.folder / "broker" / "broker.toml"

    @property
    def trail(self) -> Path:
        """The broker's data folder, which holds the trail among other things."""
        return self.folder / "broker" / "data"

    def files(self, unit: str, known: set[str] | None = None, *, taken: bool = False) -> list[dict[str, Any]]:
        """Everything a connector has given its agency's system, oldest first; `folder` and `file` say where.

        With `known` only what is not in it yet, by name, and it is in it then; `taken` removes what was read.
        """
        root = self.config(unit).parent / "folder"
        found = []
        # What has its name is whole; a file that begins with a dot is still the connector's.
        for path in (*root.glob("out/[!.]*.json"), *root.glob("receipts/[!.]*.json")):
            if known is not None and path.name in known:
                continue
            with contextlib.suppress(OSError):
                value = json.loads(path.read_bytes())
                found.append((path.stat().st_mtime_ns, {**value, "folder": path.parent.name, "file": path.name}))
                if known is not None:
                    known.add(path.name)
                if taken:
                    path.unlink()
        return [value for _at, value in sorted(found, key=lambda pair: pair[0])]

    # --- commands and processes

    def handslag(self, *arguments: str | Path) -> str:
        """Run one command to its end; raises ClickException with its own words when it fails."""
        argv = self._argv(*arguments)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if done.returncode:
            raise click.ClickException(f"handslag {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def start(self, name: str) -> None:
        """Start the broker, or the connector of a unit, as a process of its own."""
        serve = ("serve", "--config", self.broker)
        run = serve if name == "broker" else ("connector", "run", "--config", self.config(name))
        log = (self.folder / "logs" / f"{name}.log").open("ab")
        self._processes[name] = subprocess.Popen(  # noqa: S603 - our own command
            self._argv(*run), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()

    def stop(self, name: str) -> None:
        """Stop a process as a service manager does."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _argv(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, str(Path(handslag.__file__)), "--lang", "en", *map(str, arguments)]

    # --- the scenario

    def set_up(self) -> None:
        """From an empty folder to a running broker and three running connectors, by the documented commands."""
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / "inputs").is_dir() or not (self.folder / "logs").is_dir():
                raise click.ClickException("the folder holds something else than an earlier run; choose another")
            shutil.rmtree(self.folder)
        for name in ("logs", "inputs", "connectors", "shares"):
            (self.folder / name).mkdir(parents=True)
        self.tell("The operator makes a broker; three agencies make a connector each")
        self.make_broker()
        self.make_connectors()

    def make_broker(self) -> None:
        """A running broker by the documented commands."""
        gateway, operations = _free_ports(2)
        self.handslag("init", "--dir", self.folder / "broker", "--host", "127.0.0.1",
                      "--listen", f"127.0.0.1:{gateway}", "--operations", f"127.0.0.1:{operations}")  # fmt: skip
        self._configure_broker()
        self.start("broker")

    def make_connectors(self) -> None:
        """Three running connectors, admitted and with a list of agencies that they trust."""
        for unit in self.scenario.units.values():
            self.handslag("connector", "init", "--dir", self.config(unit.name).parent, "--unit", unit.code,
                          "--agency", unit.agency, "--controller", unit.agency, "--role", unit.role,
                          "--shares", self.shares(unit.name))  # fmt: skip
            with self.config(unit.name).open("a", encoding="utf-8") as config:
                config.write("poll_s = 0.3\n")
                if self.scenario.slot_s:
                    config.write(f"slot_s = {self.scenario.slot_s}\nslot_offset_s = 0.0\n")
        requests = [self.config(name).parent / "request.json" for name in self.scenario.units]
        regions = {
            unit.code.rpartition("/")[0] for unit in self.scenario.units.values() if unit.code.startswith("POL/")
        }
        whole = [word for region in sorted(regions) for word in ("--whole-region", region)]
        self.handslag("agency", "admit", "--config", self.broker, *whole, *requests)
        self._trust()
        for name in self.scenario.units:
            self.start(name)

    def _configure_broker(self) -> None:
        _set(self.broker, "beat_seconds", "1.0")
        for table, given in (("store", self.store), ("stream", self.stream)):
            if given is not None:
                pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
                _set(self.broker, table, f"{{ {pairs} }}")
        if self.stream is not None:
            self.handslag("stream", "key", "--config", self.broker)
        if self.scenario.slot_s:
            told = f"slot_seconds = {self.scenario.slot_s}\nslot_offset_seconds = 0.0\n"
            self.broker.write_text(told + self.broker.read_text(encoding="utf-8"), encoding="utf-8")

    def _trust(self) -> None:
        """Two agencies sign the list of agencies; all compare its fingerprint and install it."""
        trust = self.folder / "trust.toml"
        trust.write_text(self.handslag("agency", "trust", "--config", self.broker) + "\n", encoding="utf-8")
        for name in list(self.scenario.units)[:2]:
            self.handslag("connector", "trust", "sign", trust, "--config", self.config(name))
        fingerprint = "".join(self.handslag("connector", "trust", "fingerprint", trust).split())
        for name in self.scenario.units:
            config = self.config(name)
            self.handslag("connector", "enrol", config.parent / "request.answer.json", "--config", config)
            self.handslag("connector", "trust", "install", trust, "--fingerprint", fingerprint, "--config", config)

    def run_steps(self) -> None:
        """Play every step in order; raises ClickException for one whose sight does not come or is another."""
        for step in self.scenario.steps:
            self.tell(step.say)
            if step.stop:
                self.stop(step.stop)
            if step.start:
                self.start(step.start)
            if step.drop:
                self._drop(step.drop)
            if step.run:
                self._run(step)
            time.sleep(step.pause)
            if step.awaited:
                _expected(step, self._seen(step))

    def _run(self, step: Step) -> None:
        """A unit's own command, as its officer types it."""
        unit, *words = step.run
        filled_in = [
            word.replace("{dir}", str(self.folder)).replace("{inputs}", str(self.scenario.inputs)) for word in words
        ]
        argv = self._argv(*filled_in, "--config", self.config(unit))
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if bool(done.returncode) != bool(step.refused) or (step.refused or "") not in done.stderr:
            raise click.ClickException(f"handslag {words[0]}: {done.stderr.strip() or 'was not refused'}")
        if step.shows and step.shows not in done.stdout:
            raise click.ClickException(f"handslag {words[0]} did not show what it should")

    def tell(self, line: str) -> None:
        """Say what happens, with the seconds since the start."""
        self._say(f"{time.monotonic() - self._started:5.1f} s  {line}")

    def _drop(self, name: str) -> None:
        """Give a file to a connector as an agency system would: written beside, then renamed."""
        unit = name.split("-", 1)[0]
        source = self.scenario.inputs / f"{name}.json"
        text = filled(
            source.read_text(encoding="utf-8"), datetime.now(UTC), lambda kind, key: self.known(unit, kind, key)
        )
        text = json.dumps({**json.loads(text), "id": name}, ensure_ascii=False, indent=2) + "\n"
        (self.folder / "inputs" / f"{name}.json").write_text(text, encoding="utf-8")
        into = self.config(unit).parent / "folder" / "in"
        self._until(into.is_dir, f"the folder of {unit}")
        (into / f".{name}.draft").write_text(text, encoding="utf-8")
        (into / f".{name}.draft").rename(into / f"{name}.json")

    def inputs_of(self, unit: str) -> list[Path]:
        """The files that were dropped for a connector, as they were."""
        return sorted((self.folder / "inputs").glob(f"{unit}-*.json"))

    def known(self, unit: str, kind: str, name: str) -> str:
        """What an earlier command got: its consent, its event, or the unit's newest invitation.

        Waits for it: a recipient may have an event before its sender has the receipt.
        """

        def found() -> list[Any]:
            if kind == "invitation":
                return [f["invitation"] for f in self.files(unit) if f["kind"] == "invitation"][::-1]
            key = {"consent": "consent", "event": "event_id"}[kind]
            return [f[key] for f in self.files(name.split("-", 1)[0]) if f.get("id") == name and key in f]

        return str(self._first(found, 1, f"the {kind} of {name or unit}")[0])

    def _seen(self, step: Step) -> dict[str, Any]:
        wanted = dict(step.awaited or {})
        unit = wanted.pop("at", None) or str(step.drop).split("-", 1)[0]
        count = wanted.pop("count", 1)
        if "at" not in (step.awaited or {}) and not wanted.pop("any", False):
            wanted["id"] = step.drop

        def found() -> list[dict[str, Any]]:
            self._check_refusals(unit)
            return [f for f in self.files(unit) if all(f.get(key) == value for key, value in wanted.items())]

        seen: dict[str, Any] = self._first(found, count, f"{wanted} at {unit}")[-1]
        return seen

    def _first(self, found: Callable[[], list[Any]], count: int, what: str) -> list[Any]:
        """What was found when there was enough: the next look at a folder in use may miss a file that gets its name."""
        seen: list[Any] = []

        def met() -> bool:
            seen[:] = found()
            return len(seen) >= count

        self._until(met, what)
        return seen

    def _check_refusals(self, unit: str) -> None:
        for path in (self.config(unit).parent / "folder" / "in").glob("*.error.json"):
            raise click.ClickException(f"{path.name}: {json.loads(path.read_bytes())['en']}")
        for value in self.files(unit):
            if value["kind"] in {"refused", "alarm", "rejected"} and value["code"] not in _SLOW:
                raise click.ClickException(f"{unit}: {value['en']}")

    def _until(self, met: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not met():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise click.ClickException(f"{name} ended; see {self.folder / 'logs' / name}.log")
            if time.monotonic() > end:
                raise click.ClickException(f"did not see {what} within {_PATIENCE_S:.0f} s")
            time.sleep(_LOOK_S)

    def copy_trail(self) -> Path:
        """The trail by itself in a new file, as the operator copies it for an auditor."""
        number = len(list(self.folder.glob("trail*.db"))) + 1
        out = self.folder / f"trail{number}.db"
        self.handslag("trail", "copy", out, "--config", self.broker)
        return out

    def next_commands(self) -> str:
        """Three commands to try: as IT, as auditor, as operations."""
        here = os.path.relpath
        program = f"{here(sys.executable)} {here(handslag.__file__)}"
        if Path(sys.argv[0]).name == "handslag":
            program = "handslag"
        return (
            "\nTry next:\n"
            f"  as IT          {program} connector waiting --config {here(self.config('police'))}\n"
            f"  as an auditor  {program} audit verify {here(self.folder / 'trail1.db')}"
            f" --trust {here(self.folder / 'trust.toml')}\n"
            f"  as operations  {program} agency status --config {here(self.broker)}"
        )


def _expected(step: Step, seen: dict[str, Any]) -> None:
    for path, value in step.expect.items():
        node: Any = seen
        for part in path.split("."):
            node = node[int(part)] if part.isdigit() else node[part]
        if node != value:
            raise click.ClickException(f"{step.drop}: {path} is {node}, not {value}")


def _set(config: Path, key: str, value: str) -> None:
    """Change one line of a configuration, as a person would in an editor."""
    lines = config.read_text(encoding="utf-8").splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in lines]
    config.write_text("\n".join(changed) + "\n", encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
