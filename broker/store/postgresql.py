"""The Store on PostgreSQL 15 or newer: READ COMMITTED with explicit row locks, several nodes on one database.

Each unit of work is a transaction of its own in a thread of its own; PostgreSQL groups their commits. What is rare
takes its turn (`turn.py` says who need not). An error before COMMIT leaves nothing behind, and when it came from
another transaction or a lost connection the same work runs again for a while; an error on COMMIT means *unknown*.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from broker import logs
from broker.engine_settings import StoreSettings
from broker.store.cipher import ColumnCipher
from broker.store.dialect import READING, SERVER_CLOCK
from broker.store.port import Rows, looked_at
from broker.store.postgresql_engine import READING as READING_SESSION
from broker.store.postgresql_engine import WRITING, engine_for
from broker.store.pulse import Pulse, listened
from broker.store.sealing import Sealing
from broker.store.tables import turn
from broker.store.undone import CONNECT, POOL, UNREACHED, Undone, own_fault, reason_of
from schemas.errors import HandslagError

T = TypeVar("T")
_AGAIN_S = 0.9  # for how long work that was undone runs again: a withdrawal is answered within a second
_TRIES = 3  # and at least so often: a node that stood still for a second has tried nothing in it
_PAUSE_S = 0.005
_SETTLE_S = 1.0
_DRAWN = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM entry_number_seq"
_INSERTING = (
    "SELECT virtualtransaction FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'entry'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_log = logging.getLogger("handslag.store")


class PostgresStore:
    """Store driver for one database; any number of nodes open it."""

    keeps_deleted = True

    def __init__(
        self,
        settings: StoreSettings,
        cipher: ColumnCipher,
        rows: Callable[[Connection, ColumnCipher], Rows] = Rows,
        *,
        server_clock: bool = True,
        session: Mapping[str, str] = WRITING,
        undone: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """Connect when first asked; without `server_clock` moments are the callers' own. `session` of what writes.

        `undone` is told, in any thread, why a transaction was undone: one of `undone.REASONS`.
        """
        readers = settings.connections // 2
        self._writing = listened(engine_for(settings, session, connections=settings.connections - readers))
        self._reading = engine_for(settings, READING_SESSION, connections=readers)
        self._cipher = cipher
        self.sealing = Sealing(cipher)
        self._make = rows
        self._clock = server_clock
        self._told = undone
        self.on_news: Callable[[], None] = lambda: None
        """Called on the caller's event loop after a commit that put something into an inbox."""
        self._closing = threading.Lock()
        self._closed = False
        # Whoever waits for the turn waits here, not on a connection: the frequent writes have their own.
        self._turns = ThreadPoolExecutor(1, "store-turn")
        self._writers = ThreadPoolExecutor(max(1, settings.connections - readers - 1), "store-write")
        self._readers = ThreadPoolExecutor(readers, "store-read")
        self._pulse = Pulse()

    async def write(self, work: Callable[[Rows], T], *, shared: bool = False) -> T:
        """Run `work` in one transaction and return its result after COMMIT.

        Raises what `work` raised (nothing of it was written), or HandslagError `HS-NOT-RECORDED`: whether it was
        written is unknown, and the caller reads the gate or the call table. After `close` it is HS-NOT-READY. `work`
        may run several times, of which one at most is written.
        """
        loop = asyncio.get_running_loop()
        with self._closing:
            if self._closed:
                raise HandslagError("HS-NOT-READY")
            pool = self._writers if shared else self._turns
            writing = loop.run_in_executor(pool, self._write, work, shared)
        writing.add_done_callback(looked_at)
        value, news = await asyncio.shield(writing)
        if news:
            self.on_news()
        return value

    async def read(self, query: Callable[[Rows], T]) -> T:
        """Run `query` on one snapshot; raises HS-NOT-READY when the server cannot be asked."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)
        except RuntimeError:  # the pool of a closed Store
            raise HandslagError("HS-NOT-READY") from None
        return await reading

    def size(self) -> int:
        """Bytes of the database, its indexes included; raises HS-NOT-READY."""
        return int(self._asked("SELECT pg_database_size(current_database())")[0])

    async def settled(self) -> int:
        """The number, once no transaction that may hold one up to it is at work; raises HS-NOT-READY after a second."""
        # INVARIANT: test_an_entry_that_commits_late_is_never_passed
        # In this order: whoever has drawn a number holds the lock of the table already, and until it has ended.
        ask = asyncio.get_running_loop().run_in_executor
        number = int((await ask(self._readers, self._asked, _DRAWN))[0])
        waiting = until = None
        while waiting is None or waiting:
            at_work = frozenset(await ask(self._readers, self._asked, _INSERTING))
            waiting = at_work if waiting is None else waiting & at_work
            until = until or time.monotonic() + _SETTLE_S
            if waiting and time.monotonic() > until:
                raise HandslagError("HS-NOT-READY")
            await asyncio.sleep(_PAUSE_S if waiting else 0)
        return number

    async def clock_us(self) -> int | None:
        """The server's clock, microseconds since 1970 UTC; raises HS-NOT-READY."""
        query = "SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int((await asyncio.get_running_loop().run_in_executor(self._readers, self._asked, query))[0])

    def _asked(self, query: str) -> list[Any]:
        """The first column of what the server says, outside any transaction."""
        try:
            with self._connected(self._reading) as connection:
                return list(connection.exec_driver_sql(query).scalars())
        except (Undone, SQLAlchemyError) as error:
            reason = error.reason if isinstance(error, Undone) else reason_of(error)
            self._told(reason)
            raise _given_up("HS-NOT-READY", reason, 1) from None

    def truncate_wal(self) -> int:
        """The server writes and recycles its WAL by itself; 0."""
        return 0

    def emptied(self) -> bool:
        """False: pages, log and copies of the server hold what was deleted for as long as the server wants."""
        return False

    def close(self) -> None:
        """Let what was begun end, and leave the server."""
        with self._closing:
            self._closed = True
        for pool in (self._turns, self._writers, self._readers):
            pool.shutdown()
        self._pulse.close()
        for engine in (self._writing, self._reading):
            engine.dispose()

    # --- in threads

    def _write(self, work: Callable[[Rows], T], shared: bool) -> tuple[T, bool]:
        return self._until_done(lambda: self._written(work, shared), "HS-NOT-RECORDED")

    def _read(self, query: Callable[[Rows], T]) -> T:
        return self._until_done(lambda: self._seen(query), "HS-NOT-READY")

    def _until_done(self, once: Callable[[], T], code: str) -> T:
        """Again while it is undone; given up with `code` after a while, or at once after it when nobody is there."""
        # INVARIANT: test_a_node_that_stood_still_for_long_tries_again
        until, tries = time.monotonic() + _AGAIN_S, 0
        while True:
            tries += 1
            try:
                return once()
            except Undone as undone:
                self._told(undone.reason)
                enough = tries >= _TRIES or undone.reason in UNREACHED
                if enough and time.monotonic() >= until:
                    raise _given_up(code, undone.reason, tries) from None
                time.sleep(_PAUSE_S)

    def _written(self, work: Callable[[Rows], T], shared: bool) -> tuple[T, bool]:
        """One try; raises Undone, HS-NOT-RECORDED for an unknown end, and what `work` raised."""
        with self._connected(self._writing) as connection:
            try:
                connection.exec_driver_sql(_BEGIN)
                if not shared:
                    connection.execute(select(turn.c.id).with_for_update())
                rows = self._rows(connection)
                with self._pulse.of(connection):
                    value = work(rows)
                _require_whole(connection)
            except BaseException as error:
                _rolled_back(connection)
                _raise_undone(error)
                raise
            self._commit(connection)
            return value, rows.inbox.news or rows.deliveries.news

    def _commit(self, connection: Connection) -> None:
        # INVARIANT: test_an_error_on_commit_is_unknown_and_said_so
        try:
            connection.exec_driver_sql("COMMIT")
        except SQLAlchemyError as error:
            connection.invalidate()
            raise _given_up("HS-NOT-RECORDED", reason_of(error), 1) from None

    def _seen(self, query: Callable[[Rows], T]) -> T:
        with self._connected(self._reading) as connection:
            try:
                connection.exec_driver_sql(_BEGIN_READ)
                return query(self._rows(connection.execution_options(**{READING: True})))
            except BaseException as error:
                _raise_undone(error)
                raise
            finally:
                _rolled_back(connection)

    @contextlib.contextmanager
    def _connected(self, engine: Engine) -> Iterator[Connection]:
        try:
            connection = engine.connect()
        except (DBAPIError, PoolTimeout) as error:
            raise Undone(POOL if isinstance(error, PoolTimeout) else CONNECT) from None
        try:
            yield connection.execution_options(**{SERVER_CLOCK: self._clock, READING: False})
        finally:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()

    def _rows(self, connection: Connection) -> Rows:
        return self._make(connection, self._cipher)


def _raise_undone(error: BaseException) -> None:
    """Raise Undone where the server or another transaction ended this one, whose work may run again as it was."""
    if isinstance(error, DBAPIError) and not own_fault(error):
        raise Undone(reason_of(error)) from None


def _given_up(code: str, reason: str, tries: int) -> HandslagError:
    """What the caller is told, and the operator the reason."""
    # INVARIANT: test_why_work_was_given_up_is_logged_and_counted
    logs.event(_log, logging.WARNING, code, sqlstate=reason, tries=tries)
    return HandslagError(code)


def _require_whole(connection: Connection) -> None:
    """Raise HS-NOT-RECORDED where the work swallowed an error: COMMIT would roll back and say so nowhere."""
    driver: Any = connection.connection.driver_connection
    if driver.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
        raise HandslagError("HS-NOT-RECORDED")


def _rolled_back(connection: Connection) -> None:
    """End the transaction; a connection that cannot even do that is given up."""
    try:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
    except SQLAlchemyError:
        connection.invalidate()
