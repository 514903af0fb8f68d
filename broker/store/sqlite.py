"""The embedded Store: SQLite in WAL mode, `synchronous=FULL`, one writer thread with group commit.

`BEGIN IMMEDIATE` opens each group, every unit of work runs inside a SAVEPOINT of its own, and no caller is answered
before COMMIT. Readers have their own connections and see committed data only.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from broker.store.cipher import ColumnCipher
from broker.store.port import Rows, looked_at
from broker.store.sealing import Sealing
from schemas.errors import HandslagError

T = TypeVar("T")
_GROUP = 256  # units of work in one commit; beyond it the wait of the first outgrows what one fsync costs
_READERS = 4
_WAIT_MS = 5000  # for a lock that another connection holds
_TRUNCATE_WAIT_MS = 20  # a withdrawal is answered within 100 ms, also while the WAL is being emptied
_Job = tuple[Callable[[Rows], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


def engine_for(path: Path) -> Engine:
    """An engine whose connections are in autocommit, so that this module alone says BEGIN and COMMIT."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=_READERS + 1,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": _WAIT_MS / 1000},
        isolation_level="AUTOCOMMIT",
    )

    @event.listens_for(engine, "connect")
    def _pragmas(dbapi: Any, _record: Any) -> None:
        cursor = dbapi.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


class SqliteStore:
    """Store driver for one SQLite file; no other process opens the file for writing."""

    keeps_deleted = False

    def __init__(
        self, path: Path, cipher: ColumnCipher, rows: Callable[[Connection, ColumnCipher], Rows] = Rows
    ) -> None:
        self.path = path
        self._cipher = cipher
        self.sealing = Sealing(cipher)
        self._make = rows
        self._engine = engine_for(path)
        self.on_news: Callable[[], None] = lambda: None
        """Called on the caller's event loop after a commit that put something into an inbox."""
        self._closing = threading.Lock()
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="store-read")
        self._writer = threading.Thread(target=self._write_loop, name="store-write", daemon=True)
        self._writer.start()

    async def write(self, work: Callable[[Rows], T], *, shared: bool = False) -> T:  # noqa: ARG002 - one writer
        """Run `work` in one transaction and return its result after COMMIT.

        Raises what `work` raised (nothing of it was written), or HandslagError `HS-NOT-RECORDED` when the commit
        itself failed: then it is unknown whether it was written, and the caller reads the gate or the call table.
        After `close` it is HS-NOT-READY.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._closing:
            if self._closed:  # nobody would ever answer
                raise HandslagError("HS-NOT-READY")
            self._jobs.put((work, future, loop))
        future.add_done_callback(looked_at)
        return await asyncio.shield(future)

    async def read(self, query: Callable[[Rows], T]) -> T:
        """Run `query` in one read transaction: every statement in it sees the same commit."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)
        except RuntimeError:  # the pool of a closed Store
            raise HandslagError("HS-NOT-READY") from None
        return await reading

    def _read(self, query: Callable[[Rows], T]) -> T:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                return query(self._rows(connection))
            finally:
                connection.exec_driver_sql("COMMIT")

    def _rows(self, connection: Connection) -> Rows:
        return self._make(connection, self._cipher)

    def close(self) -> None:
        """Commit what waits, stop the threads and release the file."""
        with self._closing:
            self._closed = True
            self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._engine.dispose()

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    async def settled(self) -> int:
        """0: one writer draws the numbers, and gives those back that come to nothing."""
        return 0

    async def clock_us(self) -> int | None:
        """None: a file has no clock."""
        return None

    def truncate_wal(self) -> int:
        """Move the WAL into the database file; returns the size of the WAL file in bytes before.

        While a reader keeps an old snapshot the WAL stays; the next call tries again.
        """
        wal = self.path.with_name(self.path.name + "-wal")
        size = wal.stat().st_size if wal.exists() else 0
        with contextlib.suppress(SQLAlchemyError), self._engine.connect() as connection:
            _folded(connection)
        return size

    def emptied(self) -> bool:
        """Move the whole WAL into the database file; False while a reader or a writer keeps it from that."""
        try:
            with self._engine.connect() as connection:
                return _folded(connection) == (0, 0, 0)
        except SQLAlchemyError:
            return False

    def _write_loop(self) -> None:
        with self._engine.connect() as connection:
            for group in self._groups():
                self._commit_group(connection, group)

    def _groups(self) -> Iterator[list[_Job]]:
        """Jobs that waited together; ends when the store is closed."""
        while (first := self._jobs.get()) is not None:
            group = [first]
            with contextlib.suppress(queue.Empty):
                while len(group) < _GROUP:
                    job = self._jobs.get_nowait()
                    if job is None:
                        yield group
                        return
                    group.append(job)
            yield group

    def _commit_group(self, connection: Connection, group: list[_Job]) -> None:
        """One transaction for the group; a job that fails is undone alone, a broken transaction fails them all."""
        results: list[tuple[_Job, Any, BaseException | None]] = []
        news = False
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for job in group:
                rows = self._rows(connection)
                results.append((job, *self._run(connection, rows, job[0])))
                news = news or (results[-1][2] is None and (rows.inbox.news or rows.deliveries.news))
                if not _in_transaction(connection):  # SQLite may have rolled back everything: then nobody is recorded
                    raise HandslagError("HS-NOT-RECORDED")
            connection.exec_driver_sql("COMMIT")
        except (SQLAlchemyError, HandslagError):
            if _in_transaction(connection):
                connection.exec_driver_sql("ROLLBACK")
            results, news = [(job, None, HandslagError("HS-NOT-RECORDED")) for job in group], False
        for (_work, future, loop), value, error in results:
            with contextlib.suppress(RuntimeError):  # the loop of a caller that is gone
                loop.call_soon_threadsafe(_settle, future, value, error)
        if news:
            with contextlib.suppress(RuntimeError):
                group[-1][2].call_soon_threadsafe(self.on_news)

    def _run(self, connection: Connection, rows: Rows, work: Callable[[Rows], Any]) -> tuple[Any, BaseException | None]:
        connection.exec_driver_sql("SAVEPOINT unit")
        try:
            value = work(rows)
        except Exception as error:  # noqa: BLE001 - whatever a unit of work raises goes back to its caller
            if _in_transaction(connection):
                connection.exec_driver_sql("ROLLBACK TO unit")
                connection.exec_driver_sql("RELEASE unit")
            return None, error
        connection.exec_driver_sql("RELEASE unit")
        return value, None


def _folded(connection: Connection) -> tuple[int, ...]:
    """Fold the WAL in and cut it; (busy, frames in it, frames moved), all zero when nothing is left."""
    # PASSIVE copies without a lock; TRUNCATE then has little to do while it holds the write lock, and with the usual
    # timeout it would hold it for as long as it waits for readers.
    connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_TRUNCATE_WAIT_MS}")
    try:
        return tuple(connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one())
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_WAIT_MS}")


def _in_transaction(connection: Connection) -> bool:
    return bool(connection.connection.dbapi_connection.in_transaction)  # type: ignore[union-attr]


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
