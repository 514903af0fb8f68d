"""The bell between nodes: what one of them committed wakes the others at once (PostgreSQL's LISTEN and NOTIFY).

It only saves waiting: whoever does not hear it finds the same a second later. So it rings after the commit and from a
session of its own, many commits together: a NOTIFY inside the transactions themselves would make every one of them
commit alone, behind one lock of the whole database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Mapping

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from broker.engine_settings import StoreSettings
from broker.store.postgresql_engine import READING, engine_for
from schemas.errors import HandslagError

_CHANNEL = "handslag"
_EACH_S = 0.01  # rings closer together than this are one
_AWAY_S = 1.0
_SESSION = {**READING, "synchronous_commit": "off", "idle_in_transaction_session_timeout": "0"}


class Bell:
    """One node's bell. `heard` names what it hears: called on the event loop for every ring of another node."""

    def __init__(self, settings: StoreSettings, heard: Mapping[str, Callable[[], None]]) -> None:
        """Nothing is connected before `run`."""
        self._engine = engine_for(settings, _SESSION, connections=1)
        self._heard = dict(heard)
        self._own = os.urandom(4).hex()
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._wakes: socket.socket | None = None

    def ring(self, name: str) -> None:
        """Wake the other nodes; returns at once, from any thread."""
        with self._lock:
            self._wanted.add(name)
        self._wake()

    def _wake(self) -> None:
        wakes = self._wakes
        if wakes is not None:
            with contextlib.suppress(OSError):  # full: it is awake; or closed
                wakes.send(b"!")

    async def run(self) -> None:
        """Ring and listen until cancelled; while the server is away everybody here is woken once a second instead."""
        # INVARIANT: test_what_one_node_commits_wakes_who_waits_at_another
        loop = asyncio.get_running_loop()

        def tell(name: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._heard[name])

        thread = threading.Thread(target=self._ring_and_listen, args=(tell,), name="bell", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._ended.set()
            self._wake()

    def _ring_and_listen(self, tell: Callable[[str], None]) -> None:
        woken, self._wakes = socket.socketpair()
        with woken, self._wakes:
            for end in (woken, self._wakes):
                end.setblocking(False)
            while not self._ended.is_set():
                with contextlib.suppress(SQLAlchemyError, psycopg.Error, HandslagError):
                    _session(self._engine, lambda session: self._listened(session, woken, tell))
                for name in self._heard:
                    tell(name)
                self._ended.wait(_AWAY_S)
        self._engine.dispose()

    def _listened(self, session: psycopg.Connection[object], woken: socket.socket, tell: Callable[[str], None]) -> None:
        """Ring and listen on one session until it ends."""
        session.execute(f"LISTEN {_CHANNEL}".encode())
        for name in self._heard:  # what was missed while nobody listened
            tell(name)
        with selectors.DefaultSelector() as either:
            either.register(session.fileno(), selectors.EVENT_READ)
            either.register(woken, selectors.EVENT_READ)
            while not self._ended.is_set():
                either.select()
                with contextlib.suppress(BlockingIOError):
                    while woken.recv(64):
                        continue
                self._hear(session, tell)
                self._send(session)
                self._ended.wait(_EACH_S)

    def _hear(self, session: psycopg.Connection[object], tell: Callable[[str], None]) -> None:
        for notice in session.notifies(timeout=0):
            name, _space, who = notice.payload.partition(" ")
            if who != self._own and name in self._heard:
                tell(name)

    def _send(self, session: psycopg.Connection[object]) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, set()
        for name in sorted(wanted):
            session.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, f"{name} {self._own}"))


def _session(engine: Engine, use: Callable[[psycopg.Connection[object]], None]) -> None:
    """Give `use` a driver's session, and close it for good afterwards."""
    with engine.connect() as connection:
        session = connection.connection.driver_connection
        assert isinstance(session, psycopg.Connection)
        try:
            use(session)
        finally:
            connection.invalidate()
