"""Events per second from an agency's system to another and back: every process real, all on this machine.

    python -m tests.bench.end_to_end [--via client|folder] [--events N] [--profile DIR]

A broker and three connectors are set up by the documented commands, over mutual TLS on loopback, as in the
demonstration. Then the police send N assessments of two sections to one recipient. An event counts when its sender was
told `delivery_acknowledged`: accepted, decided and sealed by the sender, signed, checked, decided, recorded, handed
over, opened, given to the recipient's system, acknowledged, and recorded again. The clock runs from the first event
given to the connector to the last acknowledgement given back by it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import deploy.demo
import handslag
from deploy.demo.play import Play
from deploy.demo.scenario import Scenario, Step, load
from tests.bench.agency import EVENT
from tests.bench.figures import cpu_seconds, tell

_LAST_STEP = "probation-03-introduce"
_REF = "EXEMPEL-A77"
_PATIENCE_S = 240.0


class Bench(Play):
    """The demonstration's processes, started under a profiler when a folder for profiles is named."""

    profiles: Path | None = None

    def start(self, name: str) -> None:
        self._spawn(name, self._serving(name))
        if name == "broker" and self.profiles:
            time.sleep(10)  # a profiled interpreter starts slowly, and the next command does not wait long

    def _serving(self, name: str) -> list[str]:
        run = ("serve", "--config", self.broker) if name == "broker" else (
            "connector", "run", "--config", self.config(name))  # fmt: skip
        return [str(Path(handslag.__file__)), *map(str, run)]

    def agency(self, name: str, *arguments: str | Path) -> None:
        """Start a unit's own system instead of its folder connector."""
        self._spawn(name, ["tests.bench.agency", *map(str, arguments)])

    def _spawn(self, name: str, argv: list[str]) -> None:
        if self.profiles and (name == "broker" or not argv[0].endswith(".py")):
            argv = ["-m", "tests.bench.profiled", str(self.profiles / name), *argv]
        elif not argv[0].endswith(".py"):
            argv = ["-m", *argv]
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([sys.executable, *argv], stdout=log, stderr=log)

    def cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(process.pid) for name, process in self._processes.items() if process.poll() is None}

    def ended(self, name: str) -> bool:
        return self._processes[name].poll() is not None


def prepared(folder: Path, profiles: Path | None, say: Any) -> Bench:
    """Three introduced seats in one case, and a grant that covers both sections."""
    play = Bench(folder / "site", introduced(folder), say)
    play.profiles = profiles
    return play


def introduced(folder: Path) -> Scenario:
    """The demonstration up to three introduced seats, with a grant that covers both sections of the bench's events."""
    scenario = load(Path(deploy.demo.__file__).parent)
    names = [step.drop for step in scenario.steps]
    inputs = folder / "drops"
    inputs.mkdir(parents=True)
    for path in scenario.inputs.glob("*.json"):
        (inputs / path.name).write_bytes(path.read_bytes())
    grant = json.loads((inputs / "police-02-grant-lead.json").read_bytes())
    grant["categories"] = ["IC04", "IC06", "IC12"]
    (inputs / "police-02-grant-lead.json").write_text(json.dumps(grant), encoding="utf-8")
    steps: list[Step] = scenario.steps[: names.index(_LAST_STEP) + 1]
    return replace(scenario, steps=steps, inputs=inputs)


def by_client(play: Bench, events: int) -> tuple[float, dict[str, float], dict[str, Any]]:
    """Both systems are Python programs on the public client."""
    for name in ("police", "social"):
        play.stop(name)
    play.agency("social", "take", play.config("social"))
    ready(play, "social")
    play.agency("police", "send", play.config("police"), _REF, str(events))
    ready(play, "police")
    before = used = play.cpu()
    end = time.monotonic() + _PATIENCE_S
    while not play.ended("police") and time.monotonic() < end:
        used = {**used, **play.cpu()}
        time.sleep(0.02)
    told = last_line(play, "police")
    return told["seconds"], {name: used[name] - before[name] for name in used}, told


def ready(play: Bench, name: str, word: str = "ready") -> None:
    """Wait for a line of a unit's system: starting an interpreter is no part of an event."""
    log = play.folder / "logs" / f"{name}.log"
    play._until(lambda: word in log.read_text(encoding="utf-8").splitlines(), f"{name} {word}")


def last_line(play: Bench, name: str) -> Any:
    """The JSON in the last line of a unit's system that ended."""
    lines = (play.folder / "logs" / f"{name}.log").read_text(encoding="utf-8").splitlines()
    if not lines or lines[-1][:1] not in {"{", "["}:
        sys.exit(f"{name} failed:\n" + "\n".join(lines[-20:]))
    return json.loads(lines[-1])


def by_folder(play: Bench, events: int) -> tuple[float, dict[str, float], dict[str, Any]]:
    """Both systems are folders: one JSON file an event, one file an answer."""
    root = play.config("police").parent / "folder"
    for number in range(events):
        (root / "in" / f".{number:06}.draft").write_text(json.dumps({"do": "send", "ref": _REF, **EVENT}))
    known = {entry.name for entry in os.scandir(root / "receipts")}
    before, began = play.cpu(), time.monotonic()
    for number in range(events):
        (root / "in" / f".{number:06}.draft").rename(root / "in" / f"bench-{number:06}.json")
    acknowledged: set[str] = set()
    while len(acknowledged) < events and time.monotonic() < began + _PATIENCE_S:
        time.sleep(0.05)
        for entry in os.scandir(root / "receipts"):
            if entry.name not in known and not entry.name.startswith("."):
                known.add(entry.name)
                value = json.loads(Path(entry.path).read_bytes())
                if value.get("code") == "delivery_acknowledged":
                    acknowledged.add(value["event_id"])
    seconds = time.monotonic() - began
    if len(acknowledged) < events:
        sys.exit(f"{len(acknowledged)} of {events} events were acknowledged within {_PATIENCE_S:.0f} s")
    used = play.cpu()
    return seconds, {name: used[name] - before[name] for name in used}, {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--via", choices=["client", "folder"], default="client")
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--profile", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        play = prepared(Path(scratch), chosen.profile, lambda line: print(line, file=sys.stderr))
        with play:
            play.set_up()
            play.run_steps()
            drive = by_client if chosen.via == "client" else by_folder
            seconds, cpu, facts = drive(play, chosen.events)
        verified = play.handslag(
            "audit", "verify", play.copy_trail(), "--trust", play.folder / "trust.toml", "--lang", "en"
        )
    rounded = {name: round(value, 2) for name, value in facts.items()}
    shape = {"events": chosen.events, "sections": 2, "recipients": 1, "seconds": round(seconds, 2), **rounded}
    tell(f"end_to_end.{chosen.via}", round(chosen.events / seconds, 1), "events/s", **shape)
    for name, used in sorted(cpu.items()):
        tell(f"end_to_end.{chosen.via}.cpu.{name}", round(used / chosen.events * 1e6), "us/event")
    print(verified.splitlines()[0], file=sys.stderr)


if __name__ == "__main__":
    main()
