"""One plot a question, drawn from what `make bench-scale` measured.

    python -m tests.bench.scale_plots

Draws what there is: a figure that was not measured is no line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.bench.plot import lines, shares

ON = {"sqlite": "SQLite", "kafka": "PostgreSQL and Kafka"}
Rows = list[dict[str, Any]]


def draw(measured: Path, into: Path) -> None:
    """Read `<name>.json` from `measured`, write `<question>.svg` to `into`."""
    for question in (_grants, _memory, _entries, _steps, _nodes, _waits):
        question(measured, into)


def _read(measured: Path, name: str) -> Rows:
    path = measured / f"{name}.json"
    found: Rows = json.loads(path.read_bytes()) if path.exists() else []
    return found


def _note(rows: Rows) -> str:
    about = rows[0]
    machine = about["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores; commit {about['commit']}; {about['command']}"


def _grants(measured: Path, into: Path) -> None:
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    seen: Rows = []
    for engine, title in ON.items():
        rows = _read(measured, f"grants_{engine}")
        seen += rows
        for row in rows:
            temper = row["name"].rpartition(".")[2]
            if temper in {"cold", "warm"}:
                series[f"{title}, {temper}"].append((row["facts"]["grants"], row["value"]))
    if seen:
        lines(into / "cost-by-grants.svg", title="Broker's step by grants recorded", x="grants", y="ms per event",
              series=series, log_x=True, note=_note(seen))  # fmt: skip


def _memory(measured: Path, into: Path) -> None:
    rows = [row for row in _read(measured, "grants_sqlite") if row["name"].endswith((".memory", ".peak"))]
    if rows:
        series: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in rows:
            name = "views kept" if row["name"].endswith(".memory") else "whole process, at most"
            series[name].append((row["facts"]["grants"], row["value"]))
        lines(into / "memory-by-grants.svg", title="Memory of a node by grants recorded", x="grants", y="MiB",
              series=series, log_x=True, note=_note(rows))  # fmt: skip


def _entries(measured: Path, into: Path) -> None:
    series: dict[str, list[tuple[float, float]]] = {}
    seen: Rows = []
    for engine, title in ON.items():
        rows = _read(measured, f"entries_{engine}")
        seen += rows
        if rows:
            series[title] = [(row["facts"]["entries"], row["value"]) for row in rows]
            # what a busy neighbour hardly changes
            series[f"{title}, CPU of the node"] = [(row["facts"]["entries"], row["facts"]["cpu_ms"]) for row in rows]
    if seen:
        lines(into / "cost-by-entries.svg", title="Broker's step by entries in the trail", x="entries",
              y="ms per event", series=series, log_x=True, note=_note(seen))  # fmt: skip


def _steps(measured: Path, into: Path) -> None:
    bars: dict[str, dict[str, float]] = {}
    seen: Rows = []
    for name, title in (("broker_step", "SQLite"), ("broker_step_postgresql", "PostgreSQL"),
                        ("broker_step_kafka", "PostgreSQL and Kafka")):  # fmt: skip
        rows = {row["name"].removeprefix(name.replace("_postgresql", ".postgresql").replace("_kafka", ".kafka")): row
                for row in _read(measured, name)}  # fmt: skip
        if rows:
            bare, full = 1000 / rows[".pass_through"]["value"], 1000 / rows[""]["value"]
            bars[title] = {"pass-through": bare, "checked, decided, recorded": max(0.0, full - bare)}
            seen += rows.values()
    if seen:
        shares(into / "step-and-pass-through.svg", title="Broker's step against pass-through", y="ms per event",
               bars=bars, note=_note(seen))  # fmt: skip


def _nodes(measured: Path, into: Path) -> None:
    rows = [row for row in _read(measured, "nodes") if row["name"] == "nodes.rate"]
    if rows:
        points = [(row["facts"]["nodes"], row["value"]) for row in rows]
        lines(into / "events-by-nodes.svg", title="Events per second by node processes", x="nodes on one machine",
              y="events per second", series={"end to end": points}, note=_note(rows))  # fmt: skip


def _waits(measured: Path, into: Path) -> None:
    rows = [row for row in _read(measured, "nodes") if row["name"] == "nodes.waits"]
    if rows:
        bars = {f"{row['facts']['nodes']} nodes": row["facts"]["shares"] for row in rows}
        shares(into / "database-time.svg", title="Where PostgreSQL's sessions spend their time", y="share of looks",
               bars=bars, note=_note(rows))  # fmt: skip


if __name__ == "__main__":
    draw(Path("build/bench"), Path("docs/plots"))
