"""Run `handslag` with every thread under cProfile and write one file per thread when it ends.

    python -m tests.bench.profiled FOLDER ARGUMENT...

The product is not changed: the threads are wrapped from outside. Look at the files with `python -m pstats`.
"""

from __future__ import annotations

import cProfile
import runpy
import sys
import threading
import time
from pathlib import Path


def main(folder: Path, arguments: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plain = threading.Thread.run

    def run(self: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        try:
            plain(self)
        finally:
            profile.disable()
            profile.dump_stats(folder / f"{self.name}.prof")

    threading.Thread.run = run  # type: ignore[method-assign]
    profile = cProfile.Profile(time.thread_time)
    sys.argv = arguments
    profile.enable()
    try:
        if arguments[0].endswith(".py"):
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            runpy.run_module(arguments[0], run_name="__main__")
    finally:
        profile.disable()
        profile.dump_stats(folder / "main.prof")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
