"""Where a PostgreSQL server's connections spend their time: pg_stat_activity looked at every few milliseconds.

A connection that is active and waits for nothing computes; waiting for `WALSync` and its kin is the disk; `Lock` is a
row or a tuple that another transaction holds; a connection that is idle in a transaction waits for its node.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

_EVERY_S = 0.005
_LOOK = (
    "SELECT state, wait_event_type, wait_event, backend_xid IS NOT NULL FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'"
)
_SYNC = frozenset({"WALSync", "WALWrite", "DataFileSync", "WALInitSync"})


def part_of(state: str, kind: str | None, event: str | None, has_written: bool) -> str:
    """The share one look at one connection counts for; a transaction that only reads holds nobody up."""
    if state.startswith("idle in transaction"):
        return "node, inside a transaction that has written" if has_written else "node, inside one that reads"
    if kind is None:
        return "CPU of the server"
    if kind == "IO":
        return "sync to disk" if event in _SYNC else "other input and output"
    return {"Lock": "row locks", "LWLock": "locks of the server"}.get(kind, "other waits")


class Waits:
    """Looks while its block runs; `shares()` then gives part -> share of all looks at busy connections."""

    def __init__(self, store: dict[str, Any]) -> None:
        """`store`: the `[store]` table of a broker on the server; its own user sees its own sessions."""
        self._store = store
        self._seen: Counter[str] = Counter()
        self._looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        of = self._store
        password = Path(of["password_file"]).read_text(encoding="utf-8")
        with psycopg.connect(
            host=of["host"], port=of["port"], dbname=of["database"], user=of["user"], password=password, autocommit=True
        ) as connection:
            while not self._stop.is_set():
                found: list[tuple[Any, ...]] = connection.execute(_LOOK).fetchall()
                self._looks += 1
                self._seen.update(part_of(*row) for row in found)
                time.sleep(_EVERY_S)

    def shares(self) -> dict[str, float]:
        """Part -> share (0..1), largest first; empty when nothing was busy."""
        total = sum(self._seen.values())
        return {part: round(count / total, 3) for part, count in self._seen.most_common()} if total else {}

    def busy(self) -> float:
        """How many connections were busy on average."""
        return round(sum(self._seen.values()) / self._looks, 2) if self._looks else 0.0
