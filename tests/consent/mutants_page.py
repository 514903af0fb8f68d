"""What came out of a run of the mutants: the page in docs/evidence, and whether it is good enough."""

from __future__ import annotations

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


def judged(found, whole):
    """Print what is wrong; 1 if anything is. `found`: as `mutants_kept.read`; `whole`: all files were tried."""
    known = sentences()
    alive = [(file, key) for file, one in found.items() for key, _, killer in one["changes"] if killer is None]
    faults = [f"no sentence: {file} {key}" for file, key in alive if not known.get((file, key), "").strip()]
    faults += [f"no survivor: {file} {key}" for file, key in known if file in found and (file, key) not in alive]
    faults += [f"no such file: {file} {key}" for file, key in known if whole and file not in found]
    if len(alive) > MOST:
        faults.append(f"{len(alive)} survivors, {MOST} at the most")
    for fault in faults:
        print(fault)
    print(f"{sum(len(one['changes']) for one in found.values())} changes, {len(alive)} survivors, {len(faults)} faults")
    return int(bool(faults))


def write(found):
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(told(found, sentences()), encoding="utf-8")


def kind(killer):
    """Which of the three killers it was."""
    if killer.startswith("case "):
        return "case"
    if killer.startswith(("the reference", "stories:")):
        return "reference"
    if killer.startswith(("cases:", "import")):
        return "stumbled"
    return "test"


def told(found, known):
    """The page."""
    total = Counter(kind(who) if who else "nobody" for one in found.values() for _, _, who in one["changes"])
    lines = [
        "# Mutants of the consent decision",
        "",
        "Every small change to the decision's code and to its rules, one at a time: does anything notice? The written",
        "cases are asked first, then stories against the naive reference, then the tests and properties of",
        "`tests/consent`. A change is *stumbled over* when the decision raises on the first case it meets, or the",
        "changed rules file is refused. Which changes are made: `tests/consent/mutations.py`, `mutations_of_rules.py`.",
        "",
        "| | |",
        "|---|---|",
        "| command | `python -m tests.consent.mutants` (`make mutants`) |",
        f"| machine | {', '.join(sorted({one['machine'] for one in found.values()}))} |",
        "| seed | 3,000 stories of seed 7; 20 derandomized examples of each property |",
        f"| took | {sum(one['seconds'] for one in found.values()) / 60:.0f} minutes |",
        f"| changes | {sum(total.values())} |",
        f"| survivors | {total['nobody']}, of {MOST} at the most |",
        "",
        "| file | date | commit | changes | a case | the reference | a test or property | stumbled | survived |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for file, one in found.items():
        by = Counter(kind(who) if who else "nobody" for _, _, who in one["changes"])
        cells = [len(one["changes"]), by["case"], by["reference"], by["test"], by["stumbled"], by["nobody"]]
        lines.append(f"| `{file}` | {one['date']} | `{one['commit']}` | {' | '.join(map(str, cells))} |")
    lines += ["", "## Survivors, and why no input tells them apart", ""]
    for file, one in found.items():
        for key, line, who in one["changes"]:
            if who is None:
                lines.append(f"- `{file}`, line {line}, `{key}`: {known.get((file, key), '**no sentence**')}")
    lines += ["", "## Who noticed most", "", "| | changes |", "|---|---|"]
    names = Counter(who for one in found.values() for _, _, who in one["changes"] if who)
    lines += [f"| {name} | {many} |" for name, many in names.most_common(40)]
    return "\n".join([*lines, ""])
