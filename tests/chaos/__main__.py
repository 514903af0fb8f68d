"""Faults under load, as long as asked: `python -m tests.chaos --seconds 240 --seed 7 [--store postgresql] [--json]`.

Exit codes: 0 every promise held, 1 one was broken or the run itself went wrong, 2 the command line was wrong.
Examples:
  python -m tests.chaos --seconds 60 --seed 1
  python -m tests.chaos --seconds 3600 --seed 42 --evidence docs/evidence/chaos-3600-seconds.md
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.engines import started
from tests.chaos.page import page
from tests.chaos.run import played


def main() -> int:
    """Play, print, write the evidence page when asked."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    options.add_argument("--seconds", type=float, default=240.0, help="load and faults for so long")
    options.add_argument("--seed", type=int, default=1, help="draws load, faults and the network's troubles")
    options.add_argument("--store", choices=("sqlite", "postgresql"), default="postgresql")
    options.add_argument("--stream", choices=("embedded", "kafka"), default="kafka")
    options.add_argument("--nodes", type=int, default=3, help="more than one needs PostgreSQL")
    options.add_argument("--pace", type=float, default=0.03, help="seconds between two input files")
    options.add_argument("--only", action="append", default=[], help="a fault by its name; all when left out")
    options.add_argument("--dir", type=Path, help="folder to make; a temporary one that stays when left out")
    options.add_argument("--evidence", type=Path, help="page to write")
    options.add_argument("--json", action="store_true", help="the report as JSON on stdout, messages on stderr")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is stopped then too
    folder = given.dir or Path(tempfile.mkdtemp(prefix="handslag-chaos-")) / "run"

    def say(line: str) -> None:
        print(line, file=sys.stderr if given.json else sys.stdout, flush=True)

    say(f"in {folder}")
    with started(given.store, given.stream, seconds=given.seconds) as engines:
        report, _history = played(
            folder, given.seconds, given.seed, engines, nodes=given.nodes, pace_s=given.pace,
            only=tuple(given.only), say=say,
        )  # fmt: skip
    if given.json:
        print(json.dumps(report.as_json(), indent=1))
    if given.evidence:
        given.evidence.parent.mkdir(parents=True, exist_ok=True)
        command = f"python -m tests.chaos {shlex.join(sys.argv[1:])}"
        given.evidence.write_text(page(report, command), encoding="utf-8")
        say(f"{given.evidence} is written")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main())
