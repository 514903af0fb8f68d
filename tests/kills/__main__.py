"""One run by hand: `python -m tests.kills --kills 120 --seed 7 --evidence docs/evidence/kills-120.md`.

Exit codes: 0 every promise held, 1 one was broken or the run itself went wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kills.run import played


def main() -> int:
    """Play, print, write the evidence page when asked."""
    options = argparse.ArgumentParser(prog="python -m tests.kills")
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--dir", type=Path, help="folder to make; a temporary one that stays when left out")
    options.add_argument("--evidence", type=Path, help="page to write")
    given = options.parse_args()
    folder = given.dir or Path(tempfile.mkdtemp(prefix="handslag-kills-")) / "run"
    print(f"in {folder}")
    report, _history = played(folder, given.kills, given.seed)
    if given.evidence:
        given.evidence.parent.mkdir(parents=True, exist_ok=True)
        command = f"python -m tests.kills --kills {given.kills} --seed {given.seed}"
        given.evidence.write_text(report.evidence(command), encoding="utf-8")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main())
