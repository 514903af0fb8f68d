"""One broker and three connectors as processes, set up by the documented commands, killed at named places.

What a process is armed with comes from a seeded plan; a process that died by its place is counted from the launcher's
own file and started again at once. A process that ends in any other way is a failure of the run.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.demo.play import Play, _set
from deploy.demo.scenario import Scenario, UnitPlan
from tests.kills.load import REFS, ROLES, Dropped, Load, terms
from tests.kills.places import PLACES, fair
from tests.kills.records import History, read_trail, read_unit

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = Path(__file__).with_name("launch.py")
UNITS = {"social": ("SOC/EXEMPEL/KONSULT", "SOC/EXEMPEL"), "police": ("POL/EXEMPEL/SYD", "POL"),
         "probation": ("KV/EXEMPEL/FRI", "KV")}  # fmt: skip
_TICK_S = 0.03
_PATIENCE_S = 180.0  # three times the longest pause between two tries
_QUEUE = 6  # files that wait in one folder; an agency system that is far behind tells nothing new
_UNSETTLED = "'ACCEPTED','SEALED','SENT','DECIDED'"


Launcher = Callable[[str, tuple[str, int]], list[str]]
"""The words that start a process by name ("broker" or a unit) with a place and a pass, before its own command."""


class RunFailedError(AssertionError):
    """The run itself went wrong: a process ended by itself, or something never came."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill that happened: where, in which process, which pass, seconds since the load began."""

    place: str
    process: str
    passed: int
    at_s: float


@dataclass(slots=True)
class Plan:
    """What is still to be killed, per kind of process, in an order drawn by the seed."""

    left: dict[str, deque[str]]
    draw: random.Random
    kills: list[Kill] = field(default_factory=list)

    @classmethod
    def drawn(cls, kills: int, seed: int) -> Plan:
        """The places of so many kills, shuffled."""
        draw = random.Random(f"plan {seed}")
        left = {}
        for process, names in fair(kills).items():
            draw.shuffle(names)
            left[process] = deque(names)
        return cls(left, draw)

    def arm(self, name: str) -> tuple[str, int]:
        """The next place of a process and the pass that kills it; ("-", 0) when its plan is done."""
        queue = self.left["broker" if name == "broker" else "connector"]
        if not queue:
            return "-", 0
        place = queue.popleft()
        return place, self.draw.randint(1, PLACES[place].passes)


class World:
    """The processes and their folders. Use as a context manager: whatever was started is stopped."""

    def __init__(self, folder: Path, say: Callable[[str], None], launcher: Launcher | None = None) -> None:
        self.folder = folder
        self._launcher = launcher or self._armed_with
        self.say = say
        units = {name: UnitPlan(name, code, agency, ROLES[name]) for name, (code, agency) in UNITS.items()}
        self.play = Play(folder, Scenario(units, [], [], folder), say)
        self.dropped: list[Dropped] = []
        self.takes = False
        """Whether output files go when they were read, as an agency's system takes them away."""
        self._read: dict[str, set[str]] = {}
        self._standing: dict[str, tuple[list[str], bool]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._armed: dict[str, tuple[str, int]] = {}
        self._log = folder / "kills.log"
        self._begun = 0.0

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.play.__exit__(None, None, None)

    # --- set up

    def set_up(self) -> None:
        """Admit three units, open a case, fill its three seats, grant: all through files and commands."""
        self.play.set_up()
        for name in ("social", "police", "probation"):
            self.play.stop(name)
        self.play.stop("broker")
        _set(self.play.broker, "beat_seconds", "0.5")
        _set(self.play.broker, "lease_seconds", "1.0")
        self.start("broker")
        self._until(self._listens, "the broker")
        for name in REFS:
            self.start(name)
        self.open_case()

    def open_case(self) -> None:
        """A case with three seats, and a consent of each unit to everything that it sends."""
        self._command("social", "s-open", {"do": "open_case", "role": ROLES["social"]})
        units = [{"unit": UNITS[name][0]} for name in ("police", "probation")]
        self._command("social", "s-intake", terms(units, ["IC01", "IC12"], ["INTAKE"]))
        for name in ("police", "probation"):
            self._join(name)
        for name in REFS:
            load = Load(0).grant(name)
            self._command(name, f"s-grant-{name}", {k: v for k, v in load.value.items() if k not in {"id", "ref"}})

    def _listens(self) -> bool:
        address = tomllib.loads(self.play.broker.read_text(encoding="utf-8"))["listen"]
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False

    def _join(self, name: str) -> None:
        value = {"do": "invite", "unit": UNITS[name][0], "role": ROLES[name], "contact": "EXEMPEL",
                 "person": {"name": "Tolvan Tolvansson"}}  # fmt: skip
        self._command("social", f"s-invite-{name}", value)
        self._until(lambda: bool(self.files(name, "invitation")), f"the invitation at {name}")
        invitation = self.files(name, "invitation")[-1]["invitation"]
        self._command(name, f"s-accept-{name}", {"do": "accept", "invitation": invitation})
        self._until(lambda: bool(self.files(name, "seat")), f"the seat of {name}")

    def _command(self, unit: str, name: str, value: dict[str, Any]) -> None:
        self.drop(Dropped(unit, name, {"id": name, "ref": REFS[unit], **value}))
        self._until(lambda: any(f["id"] == name for f in self.files(unit, "result")), f"the result of {name}")

    # --- files

    def root(self, unit: str) -> Path:
        """A connector's folder of folders."""
        return self.play.config(unit).parent / "folder"

    def files(self, unit: str, kind: str) -> list[dict[str, Any]]:
        """What a connector gave its agency's system, of one kind, oldest first."""
        return [value for value in self.play.files(unit) if value["kind"] == kind]

    def drop(self, dropped: Dropped) -> None:
        """Give a file to a connector as an agency system does: written beside, then renamed."""
        into = self.root(dropped.unit) / "in"
        self._until(into.is_dir, f"the folder of {dropped.unit}")
        draft = into / f".{dropped.name}.draft"
        draft.write_text(json.dumps(dropped.value, ensure_ascii=False), encoding="utf-8")
        draft.rename(into / f"{dropped.name}.json")
        self.dropped.append(dropped)

    # --- processes

    def start(self, name: str, armed: tuple[str, int] = ("-", 0)) -> None:
        """Start the broker or a connector by its command, armed with a place or with none."""
        command = ("serve",) if name == "broker" else ("connector", "run")
        config = self.play.broker if name == "broker" else self.play.config(name)
        argv = [*self._launcher(name, armed), *command, "--config", str(config)]
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._armed[name] = armed

    def _armed_with(self, _name: str, armed: tuple[str, int]) -> list[str]:
        return [sys.executable, str(LAUNCH), armed[0], str(armed[1]), str(self._log)]

    def pid(self, name: str) -> int | None:
        """Of a process that was started; None for one that is not."""
        return self._running[name].pid if name in self._running else None

    def stop(self, *names: str) -> None:
        """Stop processes as a service manager does."""
        for name in names or tuple(reversed(self._running)):
            process = self._running.pop(name)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def mind(self, plan: Plan | None) -> None:
        """Look after every process: one killed at its place is counted and started again, armed anew."""
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            place, passed = self._armed[name]
            fell = self._log.read_text().split("\n") if self._log.exists() else []
            if plan is None or code != -signal.SIGKILL or not any(f"{place} {process.pid} " in line for line in fell):
                raise RunFailedError(f"{name} ended by itself with {code}; see {self.folder / 'logs' / name}.log")
            plan.kills.append(Kill(place, name, passed, round(time.monotonic() - self._begun, 2)))
            self.start(name, plan.arm(name))

    # --- the run

    def run(self, kills: int, seed: int) -> list[Kill]:
        """Load and kills until the plan is done, then quiet; returns the kills in order. Raises RunFailedError."""
        plan, load = Plan.drawn(kills, seed), Load(seed)
        self._begun = last = time.monotonic()
        for name in ("broker", *REFS):
            self.stop(name)
            self.start(name, plan.arm(name))
        while len(plan.kills) < kills:
            done = len(plan.kills)
            self.mind(plan)
            last = time.monotonic() if len(plan.kills) > done else last
            if time.monotonic() - last > _PATIENCE_S:
                raise RunFailedError(f"no kill for {_PATIENCE_S:.0f} s; armed: {self._armed}")
            self.feed(load)
            time.sleep(_TICK_S)
        self.say(f"{len(plan.kills)} kills in {time.monotonic() - self._begun:.0f} s; waiting for quiet")
        self.settle()
        return plan.kills

    def feed(self, load: Load) -> None:
        """Drop the next file of a load, unless its unit has enough to do."""
        unit = load.unit()
        if len(list((self.root(unit) / "in").glob("*.json"))) >= _QUEUE:
            return
        consents, bare = self._consents(unit)
        self.drop(load.next(unit, consents, bare))

    def _consents(self, unit: str) -> tuple[list[str], bool]:
        """Consents the unit was told of, and whether the newest word on them is not a grant."""
        found, bare = self._standing.get(unit, ([], False))
        for value in self._told(unit):
            if value["do"] == "grant":
                found.append(value["consent"])
                bare = False
            elif value["do"] in {"withdraw", "withdraw_case"}:
                bare = True
        self._standing[unit] = (found, bare)
        return found, bare

    def _told(self, unit: str) -> list[dict[str, Any]]:
        """What a connector has said of consents since the last look; every file is read once, or a long run crawls."""
        values = self.play.files(unit, self._read.setdefault(unit, set()), taken=self.takes)
        told = [f for f in values if f["kind"] in {"result", "ledger"}]
        return [{"do": "withdraw_case", **f} for f in told if f.get("id", "").startswith("s-intake") is False]

    def settle(self) -> None:
        """Wait until nothing is under way any more, in any connector, three looks in a row."""
        end, calm = time.monotonic() + _PATIENCE_S, 0
        while calm < 3:
            self.mind(None)
            left = {unit: self.under_way(unit) for unit in REFS}
            calm = 0 if any(left.values()) else calm + 1
            if time.monotonic() > end:
                raise RunFailedError(f"never came to rest: {left}")
            time.sleep(0.7)

    def under_way(self, unit: str) -> dict[str, int]:
        """What a connector has not finished, by its own columns that are not encrypted, and files not taken."""
        path = self.play.config(unit).parent / "data" / "connector.db"
        counts = {
            "commands": "SELECT count(*) FROM command WHERE state='ACCEPTED'",
            "events": f"SELECT count(*) FROM outgoing WHERE state IN ({_UNSETTLED})",
            "acks": "SELECT count(*) FROM ack",
            "outbox": "SELECT count(*) FROM outbox WHERE NOT written",
            "proofs": "SELECT count(*) FROM proof WHERE value IS NULL",
        }
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as spool:
            found = {name: int(spool.execute(sql).fetchone()[0]) for name, sql in counts.items()}
        into = self.root(unit) / "in"
        found["files"] = sum(1 for p in into.glob("*.json") if not p.name.endswith(".error.json"))
        return {name: count for name, count in found.items() if count}

    def record(self) -> History:
        """Ask every unit's auditor view, stop everything, verify the stopped trail, read every connector's folder."""
        history = History(
            roles={name: (ROLES[name], UNITS[name][0]) for name in REFS},
            dropped=[asdict(dropped) for dropped in self.dropped],
            left={}, files={}, sections={}, events={}, ledger={}, proofs={}, trail={}, verify={},
        )  # fmt: skip
        for unit in REFS:
            text = self.play.handslag("audit", "search", "--ref", REFS[unit], "--purpose", "SELF_MONITORING",
                                      "--case-number", "EXEMPEL-1", "--actor", "EXEMPEL-granskare",
                                      "--config", self.play.config(unit), "--json")  # fmt: skip
            history.trail[unit] = read_trail(text)
        self.settle()  # the looks are entries too, and their proofs are fetched
        self.stop()
        argv = [sys.executable, str(ROOT / "handslag.py"), "audit", "verify", str(self.play.copy_trail()),
                "--trust", str(self.folder / "trust.toml"), "--lang", "en"]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        history.verify = {"code": done.returncode, "text": done.stdout + done.stderr}
        for unit in REFS:
            read_unit(history, unit, self.play.config(unit))
        return history

    def _until(self, met: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not met():
            if time.monotonic() > end:
                raise RunFailedError(f"did not see {what}")
            if self._running and not self._begun:
                self.mind(None)
            time.sleep(0.05)


def as_json(kills: list[Kill]) -> list[dict[str, Any]]:
    """Kills as plain data."""
    return [asdict(kill) for kill in kills]
