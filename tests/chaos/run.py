"""A whole run: engines, nodes, connectors, load, faults, quiet, history, verdict, report."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.checker import check
from tests.chaos.engines import Engines
from tests.chaos.faults import NOT_REACHED, Faults, Seen
from tests.chaos.history import History, write
from tests.chaos.site import Site
from tests.kills.report import commit

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "chaos"


@dataclass(frozen=True, slots=True)
class Report:
    """One run: what carried it, what happened, what the checker found, how much there was to check."""

    seed: int
    seconds: float
    engines: dict[str, str]
    nodes: int
    faults: list[Seen]
    found: list[str]
    facts: dict[str, int]
    machine: str = ""
    commit: str = ""
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    def by_fault(self) -> dict[str, tuple[int, int]]:
        """Fault -> (how often it happened, how often its place was not reached)."""
        times = Counter(one["fault"] for one in self.faults)
        missed = Counter(one["fault"] for one in self.faults if one.get("what") == NOT_REACHED)
        return {name: (count - missed[name], missed[name]) for name, count in sorted(times.items())}

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def text(self) -> str:
        """What is printed at the end."""
        verdict = "\n".join(self.found) or "every promise held"
        sizes = ", ".join(f"{count} {what}" for what, count in sorted(self.facts.items()))
        rows = "\n".join(f"{done:5}  {name}" for name, (done, _missed) in self.by_fault().items())
        return f"{self.title()}, {self.seconds:.0f} s, seed {self.seed}\n{rows}\n{sizes}\n{verdict}"

    def title(self) -> str:
        """Nodes and engines in one line."""
        named = ", ".join(f"{name} {version}" for name, version in self.engines.items())
        return f"{self.nodes} node{'s' if self.nodes > 1 else ''} on {named}"

    def evidence(self, command: str) -> str:
        """A page for `docs/evidence/`: when, what, on what, what happened; measured numbers only."""
        held = "Every promise held." if not self.found else "BROKEN:\n" + "\n".join(f"- {each}" for each in self.found)
        rows = "\n".join(f"| {name} | {done} | {missed} |" for name, (done, missed) in self.by_fault().items())
        inside = [one for one in self.faults if one.get("open") and "then" in one]
        ends = Counter(next((what for what in one["then"] if what != "continued"), "-") for one in inside)
        said = ", ".join(f"{count} ended with {how}" for how, count in sorted(ends.items()))
        return (
            f"# Faults under load: {self.title()}\n\n| | |\n|---|---|\n| date | {self.date} |\n"
            f"| command | `{command}` |\n| commit | `{self.commit}` |\n| machine | {self.machine} |\n"
            f"| seed | {self.seed} |\n| load and faults | {self.seconds:.0f} s |\n"
            f"| recorded | {', '.join(f'{n} {what}' for what, n in sorted(self.facts.items()))} |\n\n"
            "What the connectors wrote down was judged by `tests/chaos/checker.py`: nothing acknowledged lost, nothing"
            " given twice, order per case, nothing received after a withdrawal's answer that did not list it.\n\n"
            f"{held}\n\n| fault | times | place not reached |\n|---|---|---|\n{rows}\n\n"
            f"Stopped inside an open transaction (as the node's own database driver said at that instant):"
            f" {len(inside)} times; {said or 'none'}.\n"
        )


def machine() -> str:
    """Cores, memory, system and interpreter."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def played(
    folder: Path,
    seconds: float,
    seed: int,
    engines: Engines,
    *,
    nodes: int = 1,
    pace_s: float = 0.03,
    only: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> tuple[Report, History]:
    """Play a run in `folder`; report and history are kept in `build/chaos/`. Raises what went wrong with the run."""
    with Site(folder, seed, engines, nodes, say) as site:
        site.set_up()
        faults = Faults(site, seed, only)
        faults.start()
        try:
            site.load(seconds, faults.going, pace_s)
        finally:
            faults.stop()
        site.quiet()
        history = site.history({"seed": seed, "nodes": nodes, "engines": engines.names, "seconds": seconds})
    counted = Counter(f["what"] for f in history.facts)
    report = Report(seed, seconds, engines.names, nodes, faults.happened, check(history), dict(counted), machine(),
                    commit())  # fmt: skip
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "report.json").write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    write(history, BUILD / "history.jsonl")
    say(report.text())
    return report, history
