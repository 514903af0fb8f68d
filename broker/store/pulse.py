"""What a server hears from a transaction whose thread computes for long.

The server undoes a transaction that is silent, for it cannot tell a node that computes from one that was stopped. The
processor time of the transaction's thread tells: while it grows, `SELECT 1` is sent beside it, on the same connection.
A thread that sleeps or waits for the kernel, or a process that was stopped, takes none and stays silent.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from broker.store.undone import Undone, own_fault, reason_for

_EVERY_S = 0.04  # a few in the time for which a transaction may be silent
_LONGEST_S = 10.0  # what computes on for longer than this holds others up for nothing
_SWITCH_S = 0.0005
_KEY = "pulse"  # in the information that SQLAlchemy keeps beside each of the driver's connections


@dataclass(slots=True)
class _Work:
    """One transaction at work: its connection, the clock of its thread's processor time, seconds of that clock.

    `asking`: the server works for the transaction; whoever spoke on its connection now would wait with it, and silence
    the others meanwhile. After an error it stays so: of what the server refused nothing goes on.
    """

    driver: psycopg.Connection
    clock: int
    seen_s: float
    until: float
    asking: bool = False
    gone: str | None = None
    """Why the server ended it, one of `undone.REASONS`, where a beat was the first to hear of it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def beat(self) -> None:
        """Say `SELECT 1` if the thread has computed since the last look."""
        with self.lock:
            if self.asking or self.gone is not None or time.monotonic() > self.until:
                return
            now_s = time.clock_gettime(self.clock)
            if now_s > self.seen_s:
                self.seen_s = now_s
                try:
                    self.driver.execute("SELECT 1")
                except psycopg.Error as error:
                    self.gone = reason_for(error.sqlstate)

    def ask(self, asking: bool) -> None:
        """From now on the server works for it, or does not any more."""
        with self.lock:
            self.asking = asking


def listened(engine: Engine) -> Engine:
    """An engine of whose connections a Pulse knows when the server works for them."""
    event.listen(engine, "before_cursor_execute", partial(_asking, True))
    event.listen(engine, "after_cursor_execute", partial(_asking, False))
    return engine


def _asking(asking: bool, connection: Connection, *_: object) -> None:
    work = connection.info.get(_KEY)
    if work is not None:
        work.ask(asking)


class Pulse:
    """The thread that does it for one Store, on connections of a `listened` engine; `close` waits for its end."""

    def __init__(self) -> None:
        # Several threads may compute at once, and a beat needs the interpreter's lock a few times.
        sys.setswitchinterval(min(_SWITCH_S, sys.getswitchinterval()))
        self._at_work: dict[int, _Work] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-pulse", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def of(self, connection: Connection) -> Iterator[None]:
        """For a transaction on `connection` in this thread; when it is left nothing more is said on it.

        Raises Undone with the server's own reason where a beat heard it first.
        """
        # INVARIANT: test_a_long_computation_is_not_taken_for_a_node_that_stopped
        # INVARIANT: test_why_the_server_ended_it_is_known_whoever_hears_it_first
        driver = connection.connection.driver_connection
        assert driver is not None
        clock = time.pthread_getcpuclockid(threading.get_ident())
        work = _Work(driver, clock, time.clock_gettime(clock), time.monotonic() + _LONGEST_S)
        info = connection.info  # of a connection that is lost meanwhile nothing can be asked
        info[_KEY] = work
        with self._changed:
            self._at_work[id(work)] = work
            self._changed.notify()
        try:
            try:
                yield
            finally:
                self._end(work, info)
        except DBAPIError as error:
            if work.gone is not None and not own_fault(error):
                raise Undone(work.gone) from None
            raise
        if work.gone is not None:  # COMMIT was not sent: what it did is undone, and may run again
            raise Undone(work.gone)

    def _end(self, work: _Work, info: dict[Any, Any]) -> None:
        with self._changed:
            del self._at_work[id(work)]
        work.ask(True)  # waits for what is being said; a beat that took it from the list before says nothing more
        info.pop(_KEY, None)  # of a connection that was lost there is nothing left

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._at_work)
                if self._closed:
                    return
            time.sleep(_EVERY_S)
            with self._changed:
                at_work = list(self._at_work.values())
            for work in at_work:
                work.beat()
