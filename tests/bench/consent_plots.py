"""The plots of `make bench-consent`: what a question costs by grants recorded, for each engine.

    python -m tests.bench.consent_plots

Draws anew from build/bench/consent.json, and prints the table of docs/performance.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.plot import lines

_TITLES = {
    "handslag": "Handslag, with all reasons",
    "explained": "Handslag, every record explained",
    "cedarpy": "cedarpy",
    "pycasbin": "PyCasbin",
}


def draw(measured: Path, into: Path) -> None:
    """Read `consent.json` from `measured`, write `consent-decisions.svg`, `consent-first-questions.svg` to `into`."""
    rows = json.loads((measured / "consent.json").read_bytes())
    about = rows[0]
    made_on = about["machine"]
    note = f"{made_on['cpu']}, {made_on['cores']} cores; commit {about['commit']}; {about['command']}"
    x = "grants recorded (five a seat)"
    lines(into / "consent-decisions.svg", title="A decision about three sections", x=x, y="us, p50",
          series=_series(rows, "later"), log_x=True, note=note)  # fmt: skip
    lines(into / "consent-first-questions.svg", title="A seat's first decision, reading its ledger included", x=x,
          y="us, p50", series=_series(rows, "first"), log_x=True, note=note)  # fmt: skip


def table(measured: Path) -> str:
    """Every figure of `consent.json` as a table in Markdown: a line for each engine and size."""
    rows = json.loads((measured / "consent.json").read_bytes())
    value = {row["name"]: row["value"] for row in rows}
    sizes = sorted({row["facts"]["grants"] for row in rows})
    out = [
        "| grants | decided by | p50 | p99 | CPU | times Handslag's p50 | first: p50 | first: p99 | kept a seat |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for grants in sizes:
        own = value[f"consent.{grants}.handslag.later.p50"]
        for engine, title in _TITLES.items():
            of = f"consent.{grants}.{engine}"
            p50, p99, cpu = (value[f"{of}.later.{what}"] for what in ("p50", "p99", "cpu"))
            first = [f"{value[f'{of}.first.{what}']:,.0f} us" for what in ("p50", "p99")]
            kept = f"{value[f'{of}.kept']:.0f} KiB" if f"{of}.kept" in value else "the same"
            cells = [f"{grants:,}", title, f"{p50:.1f} us", f"{p99:.0f} us", f"{cpu:.1f} us", f"{p50 / own:.1f}"]
            out.append("| " + " | ".join([*cells, *first, kept]) + " |")
    return "\n".join(out)


def _series(rows: list[dict[str, Any]], phase: str) -> dict[str, list[tuple[float, float]]]:
    def of(engine: str) -> list[tuple[float, float]]:
        return [
            (row["facts"]["grants"], row["value"])
            for row in rows
            if row["facts"].get("phase") == phase and row["facts"]["what"] == "p50" and row["facts"]["engine"] == engine
        ]

    return {title: of(engine) for engine, title in _TITLES.items()}


if __name__ == "__main__":
    draw(Path("build/bench"), Path("docs/plots"))
    print(table(Path("build/bench")))
