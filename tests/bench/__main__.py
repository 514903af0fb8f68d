"""`make bench`: every bench as a process of its own, a table, and `build/bench/<name>.json` for each.

    python -m tests.bench [name ...]
    python -m tests.bench scale
    python -m tests.bench consent

`consent` is `make bench-consent`: decisions beside those of general policy engines, in the environment of
requirements/bench.lock, which has them. `scale` is `make bench-scale`: what takes an hour, on servers started for it.
Both draw plots into docs/plots/.

A file is a list of {name, value, unit, facts, command, machine, commit, date}; `machine` also tells the load average
when the bench began, because a busy machine measures something else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import consent_plots
from tests.bench.figures import machine
from tests.bench.scale_plots import draw

BENCHES = {
    "end_to_end": ["tests.bench.end_to_end", "--events", "1000"],
    "end_to_end_folder": ["tests.bench.end_to_end", "--via", "folder", "--events", "300"],
    "withdrawal": ["tests.bench.withdrawal", "--samples", "60"],
    "broker_step": ["tests.bench.broker_step"],
    "broker_step_postgresql": ["tests.bench.broker_step", "--on", "postgresql"],
    "broker_step_kafka": ["tests.bench.broker_step", "--on", "kafka"],
    "memory": ["tests.bench.growth", "grants", "--upto", "100000"],
    "decide": ["tests.bench.decide"],
    "history": ["tests.bench.history"],
    "endings": ["tests.bench.endings"],
    "seal": ["tests.bench.seal"],
    "beat": ["tests.bench.beat"],
    "verify": ["tests.bench.verify"],
}
_GROWTH = ["tests.bench.growth"]
SCALE = {
    "broker_step": BENCHES["broker_step"],
    "broker_step_postgresql": BENCHES["broker_step_postgresql"],
    "broker_step_kafka": BENCHES["broker_step_kafka"],
    "grants_sqlite": [*_GROWTH, "grants"],
    "grants_kafka": [*_GROWTH, "grants", "--on", "kafka"],
    "entries_sqlite": [*_GROWTH, "entries"],
    "entries_kafka": [*_GROWTH, "entries", "--on", "kafka"],
    "nodes": ["tests.bench.nodes"],
}
CONSENT = {"consent": ["tests.bench.consent"]}  # not one of the others: only its own environment has the other engines
_ALL = BENCHES | SCALE | CONSENT
_INTO = Path("build/bench")


def commit() -> str:
    """The commit measured, with a plus sign when files differ from it; empty outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    head = subprocess.run([git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def measured(name: str) -> list[dict[str, Any]] | None:
    """Run one bench and keep its figures; None when it failed."""
    argv = ["-m", *_ALL[name]]
    on = {**machine(), "load": [round(load, 1) for load in os.getloadavg()]}
    measuring = commit()
    done = subprocess.run([sys.executable, *argv], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    about = {
        "command": " ".join(["python", *argv]),
        "machine": on,
        "commit": measuring,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    rows = []
    for line in done.stdout.splitlines():
        told = json.loads(line)
        facts = {key: value for key, value in told.items() if key not in {"name", "value", "unit"}}
        rows.append({"name": told["name"], "value": told["value"], "unit": told["unit"], "facts": facts, **about})
    (_INTO / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def main(names: list[str]) -> int:
    """Run the named benches, or all; returns how many failed."""
    scale = names == ["scale"]
    names = list(SCALE) if scale else names
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are scale, {', '.join(_ALL)}", file=sys.stderr)
        return 2
    _INTO.mkdir(parents=True, exist_ok=True)
    print("  ".join(f"{key} {value}" for key, value in machine().items()), f" commit {commit()}", flush=True)
    failed = 0
    for name in names or BENCHES:
        rows = measured(name)
        failed += rows is None
        if rows is None:
            print(f"{name}: FAILED", flush=True)
        for row in rows or ():
            print(f"{row['name']:<42} {row['value']:>12,} {row['unit']}", flush=True)
    if "consent" in names and not failed:
        consent_plots.draw(_INTO, Path("docs/plots"))
    if scale:
        draw(_INTO, Path("docs/plots"))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
