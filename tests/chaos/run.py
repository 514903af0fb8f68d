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
    load: dict[str, int] = field(default_factory=dict)
    growth: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    started_again: int = 0
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


def _load(history: History) -> dict[str, int]:
    """How much there was to keep promises about."""
    done = Counter(f["do"] for f in history.of("answered"))
    return {
        "events accepted": sum("event" in f for f in history.of("accepted")),
        "consents given": done["grant"],
        "withdrawals": done["withdraw"],
        "withdrawals of everything": done["withdraw_case"],
        "deliveries given": sum(1 for _ in history.of("given")),
        "recalls": sum(1 for _ in history.of("recalled")),
    }


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
        site.growth.look(now=True)
        history = site.history({"seed": seed, "nodes": nodes, "engines": engines.names, "seconds": seconds})
    BUILD.mkdir(parents=True, exist_ok=True)
    counted = Counter(f["what"] for f in history.facts)
    write(history, BUILD / "history.jsonl")
    say("what they wrote down is judged")
    found = check(history)
    report = Report(
        seed, seconds, engines.names, nodes, faults.happened, found, dict(counted), _load(history),
        site.growth.rows(), sum(node.started_again for node in site.nodes), machine(), commit(),
    )  # fmt: skip
    (BUILD / "report.json").write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    say(report.text())
    return report, history
