"""The suite of `checks.py` on every driver, and the broken drivers that it must reject."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from broker.store.cipher import ColumnCipher
from broker.store.entries import EntryRows
from broker.store.migrate import migrate
from broker.store.port import Rows, Store
from broker.store.sqlite import SqliteStore
from broker.stream.embedded import EmbeddedStream
from tests.contract.checks import CHECKS, Bench
from tests.promises.schedule import Overtaking, UnversionedGate, VersionlessHand

Wrap = Callable[[Store], Store]
CIPHER = ColumnCipher(bytes(32))


def embedded(request: Any, rows: Any = Rows, wrap: Wrap = lambda store: store) -> Bench:
    path = request.getfixturevalue("tmp_path") / "broker.db"
    migrate(path)

    def elsewhere(query: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(path)) as other:
            return list(other.execute(query, values))

    store = wrap(SqliteStore(path, CIPHER, rows))
    return Bench(store, EmbeddedStream(store), elsewhere, lambda: SqliteStore(path, CIPHER, rows))


def on_postgresql(request: Any, rows: Any = Rows, wrap: Wrap = lambda store: store) -> Bench:
    database = request.getfixturevalue("migrated")
    store = wrap(database.store(CIPHER, rows))
    return Bench(store, EmbeddedStream(store), database.seen, lambda: database.store(CIPHER, rows))


DRIVERS = {"embedded": embedded, "postgresql": on_postgresql}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", CHECKS)
async def test_a_driver_keeps_the_contract(request, driver, name):
    bench = DRIVERS[driver](request)
    try:
        await CHECKS[name](bench)
    finally:
        bench.store.close()


class _LateEntries(EntryRows):
    """Entries are put aside, and written in a transaction of their own after the effect has committed."""

    aside: ClassVar[list[Any]] = []

    def insert(self, sealed: Any) -> None:
        self.aside.extend(sealed)


class LateEntries(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.entries = _LateEntries(connection, cipher)


class EntriesAfterCommit:
    """Broken: the audit entry follows its effect, as soon as the writer has time."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.later: set[asyncio.Task[Any]] = set()

    async def write(self, work: Any, *, shared: bool = False) -> Any:
        _LateEntries.aside = []
        result = await self.inner.write(work, shared=shared)
        entries, _LateEntries.aside = _LateEntries.aside, []
        self.later.add(
            asyncio.create_task(self.inner.write(lambda rows: EntryRows(rows.gate._c, rows.cipher).insert(entries)))
        )
        return result

    async def read(self, query: Any) -> Any:
        return await self.inner.read(query)

    def close(self) -> None:
        for task in self.later:
            task.cancel()
        self.inner.close()


class AnswersBeforeCommit:
    """Broken: the caller is answered when the work is queued."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.later: set[asyncio.Task[Any]] = set()

    async def write(self, work: Any, *, shared: bool = False) -> Any:
        task = asyncio.create_task(self.inner.write(work, shared=shared))
        task.add_done_callback(lambda done: done.exception())
        self.later.add(task)
        await asyncio.sleep(0)
        return None

    async def read(self, query: Any) -> Any:
        return await self.inner.read(query)

    def close(self) -> None:
        self.inner.close()


BROKEN = {
    "gate unchecked": (UnversionedGate, lambda store: store, "the_gate_refuses_another_version"),
    "entry after commit": (LateEntries, EntriesAfterCommit, "an_entry_is_there_as_soon_as_its_effect_is"),
    "answer before commit": (Rows, AnswersBeforeCommit, "an_answer_comes_after_commit"),
    "row version unchecked": (VersionlessHand, lambda store: store, "every_condition_of_a_hand_over_is_a_column"),
    "order unchecked": (
        Overtaking,
        lambda store: store,
        "what_was_sent_later_does_not_pass_what_changed_before_its_hand_over",
    ),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_driver_is_rejected(request, driver, fault):
    rows, wrap, name = BROKEN[fault]
    bench = DRIVERS[driver](request, rows, wrap)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await CHECKS[name](bench)
    bench.store.close()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*getattr(bench.store, "later", ()), return_exceptions=True)
