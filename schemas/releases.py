"""Every schema that was ever released, kept as data: one file a version, one project form a line.

    python -m schemas.releases check            does today's contract read every release, and every release today's?
    python -m schemas.releases freeze VERSION   keep today's contract as a release; a release is written once

`make compatibility` runs the first. Exit code 0: compatible; 1: not, with the broken rules on stdout; 2: wrong use.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas import catalogue, compatibility
from schemas.catalogue import project_form

TODAY = "today"
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)
_HERE = Path(__file__).parent / "released"


def compared(today: Mapping[str, Any] | None = None) -> tuple[tuple[str, str, compatibility.Break], ...]:
    """What breaks between today's schemas (by full name; default the catalogue's own) and the releases."""
    sources = today if today is not None else {name: entry.source for name, entry in catalogue.loaded().items()}
    versions = {**catalogue.released(), TODAY: sources}
    return compatibility.breaks_of_sets(versions, TODAY)


def frozen() -> str:
    """Today's contract as the file of a release: one project form a line, by name."""
    return "".join(project_form(entry.source).decode() + "\n" for _name, entry in sorted(catalogue.loaded().items()))


def main(words: Sequence[str], folder: Path = _HERE) -> int:
    """Run one of the two commands; returns the exit code."""
    match words:
        case ["check"]:
            found = compared()
            for one, other, broken in found:
                print(f"{one} / {other}: {broken.where}: {broken.rule}: {broken.rule.why}")
            return 1 if found else 0
        case ["freeze", version] if _VERSION.fullmatch(version):
            target = folder / f"{version}.jsonl"
            if target.exists():
                print("this release is written already, and a release is written once", file=sys.stderr)
                return 2
            if compared():
                print("not compatible: run `check` first", file=sys.stderr)
                return 1
            target.write_text(frozen(), encoding="utf-8")
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
