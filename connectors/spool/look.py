"""Looking at a connector's database without changing it, also while the connector runs; and whether files can lock."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from connectors.box import DataKey
from connectors.spool.store import PROBE
from connectors.spool.tables import VERSIONS
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class Looked:
    """`state` is ok, other-key, newer or damaged; `values` are the named values asked for, opened."""

    state: str
    values: dict[str, bytes] = field(default_factory=dict, repr=False)


def look(path: Path, key: DataKey | None, names: tuple[str, ...]) -> Looked:
    """Read named values of `meta`; without a key only whether the file is one of ours."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)) as connection:
            [(version,)] = connection.execute("PRAGMA user_version")
            if version > len(VERSIONS):
                return Looked("newer")
            rows = dict(connection.execute("SELECT name, value FROM meta"))
            [(sound,)] = connection.execute("PRAGMA quick_check(1)").fetchmany(1)
    except (sqlite3.Error, OSError, ValueError):
        return Looked("damaged")
    if sound != "ok" or "probe" not in rows:
        return Looked("damaged")
    if key is None:
        return Looked("ok")
    try:
        if key.open("meta.probe", rows["probe"]) != PROBE:
            return Looked("other-key")
        return Looked("ok", {name: key.open(f"meta.{name}", rows[name]) for name in names if name in rows})
    except HandslagError:
        return Looked("other-key")


def locks(folder: Path) -> bool | None:
    """Whether a lock on a file in this folder keeps a second one out; None when no file can be made there."""
    path = folder / f".lock-{uuid4().hex}"
    try:
        path.touch(mode=0o600)
    except OSError:
        return None
    try:
        with (
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as first,
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as second,
        ):
            try:
                first.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error:
                return False
            try:
                second.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
            return False
    finally:
        for left in folder.glob(f"{path.name}*"):
            with suppress(OSError):
                left.unlink()
