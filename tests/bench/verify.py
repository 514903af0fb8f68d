"""How many entries per second the offline verifier checks; prints one JSON line.

python -m tests.bench.verify [entries] [entries per beat]
"""

import json
import sys
import tempfile
import time
from pathlib import Path

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
        figures = {
            "bench": "verify",
            "entries": report.entries,
            "leaves": report.leaves,
            "checkpoints": report.checkpoints,
            "bytes": path.stat().st_size,
            "seconds": round(seconds, 3),
            "entries_per_s": round(report.entries / seconds),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
