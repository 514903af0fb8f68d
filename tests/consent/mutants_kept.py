"""What came of the last run of the mutants, file by file, in `build/mutants-consent.json`: not part of the tree."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = Path(os.environ.get("HANDSLAG_MUTANTS", ROOT / "build" / "mutants-consent.json"))


def read():
    """{file: sha256, commit, date, machine, seconds and changes: [name, line, who noticed or None]}."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


def write(file, rows, seconds):
    """Keep what came of one file."""
    found = read()
    found[file] = {
        "sha256": sha256(file),
        "commit": commit(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "seconds": seconds,
        "changes": rows,
    }
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(found, ensure_ascii=False, indent=0), encoding="utf-8")


def sha256(file):
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


def commit():
    return subprocess.run(
        ["git", "describe", "--always", "--long", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
