"""What came out of a run of the mutants: the page in docs/evidence, and whether it is good enough."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence" / "mutants-consent.md"
SENTENCES = Path(__file__).parent / "equivalent.toml"
MOST = 10


def sentences():
    """{(file, change): why no input tells it apart}."""
    rows = tomllib.loads(SENTENCES.read_text(encoding="utf-8")).get("equivalent", [])
    return {(row["file"], row["change"]): row["because"] for row in rows}


def judged(found, whole, seconds, page):
    """Print what is wrong; 1 if anything is. `found`: file -> (change, killer or None); `whole`: all were tried."""
    known = sentences()
    alive = [(file, one.key) for file, every in found.items() for one, killer in every if killer is None]
    faults = [f"no sentence: {file} {key}" for file, key in alive if not known.get((file, key), "").strip()]
    faults += [f"no survivor: {file} {key}" for file, key in known if file in found and (file, key) not in alive]
    faults += [f"no such file: {file} {key}" for file, key in known if whole and file not in found]
    if len(alive) > MOST:
        faults.append(f"{len(alive)} survivors, {MOST} at the most")
    for fault in faults:
        print(fault)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(told(found, known, seconds), encoding="utf-8")
    print(f"{sum(map(len, found.values()))} changes, {len(alive)} survivors, {len(faults)} faults")
    return int(bool(faults))


def kind(killer):
    """Which of the three killers it was."""
    if killer.startswith("case "):
        return "case"
    if killer.startswith(("the reference", "stories:")):
        return "reference"
    if killer.startswith(("cases:", "import")):
        return "stumbled"
    return "test"


def told(found, known, seconds):
    """The page."""
    total = Counter(kind(killer) if killer else "nobody" for every in found.values() for _, killer in every)
    lines = [
        "# Mutants of the consent decision",
        "",
        "Every small change to the decision's code and to its rules, one at a time: does anything notice? The written",
        "cases are asked first, then stories against the naive reference, then the tests and properties of",
        "`tests/consent`. A change is *stumbled over* when the decision raises on the first case it meets, or the",
        "changed rules file is refused.",
        "",
        "| | |",
        "|---|---|",
        f"| date | {datetime.datetime.now(tz=datetime.UTC).date().isoformat()} |",
        "| command | `python -m tests.consent.mutants` (`make mutants`) |",
        f"| commit | `{_commit()}` |",
        f"| machine | {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()} |",
        "| seed | stories 7, 3,000 of them; properties derandomized, 20 examples each |",
        f"| took | {seconds / 60:.0f} minutes |",
        f"| changes | {sum(total.values())} |",
        f"| survivors | {total['nobody']} |",
        "",
        "| file | changes | a case | the reference | a test or property | stumbled | survived |",
        "|---|---|---|---|---|---|---|",
    ]
    for file, every in found.items():
        by = Counter(kind(killer) if killer else "nobody" for _, killer in every)
        cells = [len(every), by["case"], by["reference"], by["test"], by["stumbled"], by["nobody"]]
        lines.append(f"| `{file}` | {' | '.join(map(str, cells))} |")
    lines += ["", "## Survivors, and why no input tells them apart", ""]
    for file, every in found.items():
        for one, killer in every:
            if killer is None:
                why = known.get((file, one.key), "**no sentence**")
                lines.append(f"- `{file}`, line {one.line}, `{one.key}`: {why}")
    lines += ["", "## Who noticed most", "", "| | changes |", "|---|---|"]
    names = Counter(killer for every in found.values() for _, killer in every if killer)
    lines += [f"| {name} | {many} |" for name, many in names.most_common(40)]
    return "\n".join([*lines, ""])


def _commit():
    return subprocess.run(
        ["git", "describe", "--always", "--long", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
