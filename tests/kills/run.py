"""A whole run: set up, load, kill, settle, read, judge, report."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.kills.checker import check
from tests.kills.records import History
from tests.kills.report import Report
from tests.kills.world import World

ROOT = Path(__file__).resolve().parents[2]


def played(folder: Path, kills: int, seed: int) -> tuple[Report, History]:
    """Play a run in `folder`; the report is printed and kept in `build/kills/`. Raises RunFailedError."""
    started = time.monotonic()
    with World(folder, print) as world:
        world.set_up()
        fell = world.run(kills, seed)
        history = world.record()
    report = Report.of(seed, fell, history, check(history), time.monotonic() - started)
    kept = ROOT / "build" / "kills"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "report.json").write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    (kept / "history.json").write_text(json.dumps(history.kept()) + "\n", encoding="utf-8")
    print(report.text())
    return report, history
