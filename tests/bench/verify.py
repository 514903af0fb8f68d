"""How many entries per second the offline verifier checks; prints JSON lines.

python -m tests.bench.verify [entries] [entries per beat]
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figures import tell
from tests.trail.builder import Builder, checked, plain


def main(entries=50_000, per_beat=500):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trail.db"
        builder = Builder(path, 1, fast=True)
        for written in range(entries):
            plain(builder)
            if (written + 1) % per_beat == 0:
                builder.beat()
        builder.beat()
        builder.done()
        started = time.perf_counter()
        report = checked(path)
        seconds = time.perf_counter() - started
        if not report.whole:
            sys.exit("the bench's own trail does not verify")
        facts = {"entries": report.entries, "leaves": report.leaves, "checkpoints": report.checkpoints}
        tell("verify.rate", round(report.entries / seconds), "entries/s", bytes=path.stat().st_size, **facts)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
