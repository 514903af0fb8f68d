"""The report of a run: how many kills fell where; printed, kept as JSON, and rendered as evidence."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kills.places import GROUPS, PLACES
from tests.kills.records import History
from tests.kills.world import Kill

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Report:
    """One run: its seed, its kills in order, what the checker found, sizes and times."""

    seed: int
    kills: list[Kill]
    found: list[str]
    dropped: int
    delivered: int
    recalled: int
    withdrawals: int
    seconds: float

    @classmethod
    def of(cls, seed: int, kills: list[Kill], history: History, found: list[str], seconds: float) -> Report:
        """Count what a history holds."""
        files = [f for unit in history.files.values() for f in unit]
        kinds = Counter(f["kind"] for f in files)
        return cls(
            seed=seed, kills=kills, found=found, dropped=len(history.dropped), delivered=kinds["delivery"],
            recalled=kinds["recall"], withdrawals=kinds["stopped_here"], seconds=round(seconds, 1),
        )  # fmt: skip

    def by_place(self) -> dict[str, int]:
        """Kills per place, every place named."""
        counted = Counter(kill.place for kill in self.kills)
        return {name: counted[name] for name in PLACES}

    def by_group(self) -> dict[str, int]:
        """Kills per spot of which each must have at least five."""
        counted = Counter(PLACES[kill.place].group for kill in self.kills)
        return {group: counted[group] for group in GROUPS}

    def as_json(self) -> dict[str, Any]:
        """For `build/kills/report.json`."""
        return {**asdict(self), "places": self.by_place(), "groups": self.by_group(), "machine": machine()}

    def table(self) -> str:
        """Markdown: spot, place, what the process was in the middle of, kills."""
        lines = ["| spot | place | process | killed in the middle of | kills |", "|---|---|---|---|---|"]
        counted = self.by_place()
        for group in GROUPS:
            for place in (p for p in PLACES.values() if p.group == group):
                row = (group, f"`{place.name}`", place.process, place.meaning, str(counted[place.name]))
                lines.append(f"| {' | '.join(row)} |")
        return "\n".join([*lines, f"| all | | | | **{len(self.kills)}** |"])

    def text(self) -> str:
        """What is printed after a run."""
        per = "\n".join(f"{count:5}  {group}" for group, count in self.by_group().items())
        fell = "\n".join(f"{k.at_s:8.2f} s  {k.process:10} {k.place} (pass {k.passed})" for k in self.kills)
        size = (
            f"{len(self.kills)} kills, seed {self.seed}, {self.dropped} files dropped, {self.withdrawals} withdrawals,"
            f" {self.delivered} deliveries given, {self.recalled} recalls, {self.seconds:.0f} s"
        )
        verdict = "\n".join(self.found) or "every promise held"
        return f"{size}\n{per}\n{fell}\n{verdict}"

    def evidence(self, command: str) -> str:
        """A page for `docs/evidence/`: when, what, where, and the table; true numbers only."""
        held = "Every promise held." if not self.found else "BROKEN:\n" + "\n".join(f"- {f}" for f in self.found)
        return (
            f"# {len(self.kills)} kills under load\n\n"
            f"| | |\n|---|---|\n| date | {datetime.now(UTC).date().isoformat()} |\n| command | `{command}` |\n"
            f"| commit | `{commit()}` |\n| machine | {machine()} |\n| seed | {self.seed} |\n"
            f"| time | {self.seconds:.0f} s |\n| load | {self.dropped} input files, {self.withdrawals} withdrawals,"
            f" {self.delivered} deliveries given, {self.recalled} recalls |\n\n"
            "One broker and three connectors as processes over mutual TLS on loopback, each sent SIGKILL from inside at"
            " the named place and started again at once. The checker reads what the connectors wrote and were answered:"
            " nothing acknowledged lost, nothing given twice, no hand-over after an acknowledged withdrawal, no gap."
            "\n\n"
            f"{held}\n\n{self.table()}\n"
        )


def machine() -> str:
    """The machine in one line."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def commit() -> str:
    """The commit of the checkout, marked when files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    return done.stdout.strip() or "unknown"
