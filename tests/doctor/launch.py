"""Starts the command line on a machine that is somewhat wrong: `python tests/doctor/launch.py doctor ...`.

What a test cannot do to a real machine is done to the libraries before the product is imported, told by environment
variables that only this launcher reads: `SEED_CLOCK_S` (seconds this machine's clock is off), `SEED_FREE` (bytes left
on the disk), `SEED_FILE` (largest file that can be written: the kernel refuses more), `SEED_NO_LOCKS` (files other than
databases are opened by SQLite's own file system without locks), `SEED_USER` (the account that asks).
"""

import importlib
import os
import resource
import shutil
import sqlite3
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def go_wrong(seeded):
    """Make the libraries say what the variables ask for."""
    if offset := float(seeded.get("SEED_CLOCK_S", 0)):
        seconds, nanoseconds = time.time, time.time_ns
        time.time = lambda: seconds() + offset
        time.time_ns = lambda: nanoseconds() + int(offset * 1e9)
    if free := seeded.get("SEED_FREE"):
        usage = shutil.disk_usage
        shutil.disk_usage = lambda path: usage(path)._replace(free=int(free))
    if size := seeded.get("SEED_FILE"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
    if user := seeded.get("SEED_USER"):
        for module in ("broker.cli", "connectors.cli"):  # what another account could perhaps not read
            importlib.import_module(module)
        os.setuid(int(user))
    if seeded.get("SEED_NO_LOCKS"):
        connect = sqlite3.connect

        def unlocked(path, *rest, **more):
            if str(path).startswith("file:") or str(path).endswith(".db"):
                return connect(path, *rest, **more)
            return connect(f"{Path(path).resolve().as_uri()}?vfs=unix-none", *rest, uri=True, **more)

        sqlite3.connect = unlocked


if __name__ == "__main__":
    go_wrong(os.environ)
    import handslag

    handslag.main()
