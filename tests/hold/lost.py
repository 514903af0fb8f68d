"""A whole Handslag in one process whose broker is lost and put back from a copy, while its connectors live on."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from broker import backup, restoring
from broker.metrics import Metrics
from broker.node import Node
from broker.restoring import Known
from broker.store.cipher import ColumnCipher
from broker.store.keys import KeyVault
from broker.store.sqlite import SqliteStore
from broker.worker import drain
from connectors import resume
from connectors.context import clock
from schemas.errors import HandslagError
from tests.evil.house import Agency, House
from tests.hold.test_node import went_on
from tests.rotation.weeks import REFS, Weeks, weeks


def quiet(*_told: object) -> None:
    """Progress that nobody looks at."""


class World:
    """Three agencies of one case and a broker that can be lost; an agency in `off` is a connector that was killed."""

    def __init__(self, all_weeks: Weeks) -> None:
        self.weeks = all_weeks
        self.home: House = all_weeks.home
        self.off: set[str] = set()

    def agency(self, name: str) -> Agency:
        return self.home.agencies[name]

    @property
    def node(self) -> Node:
        return self.home.node

    @property
    def core(self) -> Any:
        return self.home.liar._core

    async def settle(self, rounds: int = 3) -> None:
        """Every connector's steps and the broker's, some rounds."""
        for _ in range(rounds):
            for name, agency in self.home.agencies.items():
                if name not in self.off:
                    await agency.beat()
                context = self.node.context
                for bucket in await context.stream.waiting():
                    await drain(context, bucket)
            with contextlib.suppress(HandslagError):  # a log that has not gone on is not sealed
                await self.node.sealer.beat()

    def copied(self, target: Path) -> Path:
        """`handslag backup`."""
        backup.write(self.node.settings, target, quiet)
        return target

    def lose(self) -> None:
        """The broker's disk is gone."""
        self.node.store.close()
        self.node.recorder.vault.close()
        shutil.rmtree(self.node.settings.data_dir)

    async def restored(self, copy: Path, known: Known | None = None) -> dict[str, Any]:
        """`handslag restore`, and the broker started on it."""
        loaded = self.node.settings
        told = restoring.restore(loaded, copy, known or Known(), quiet)
        with closing(sqlite3.connect(loaded.database)) as store, store:
            store.execute("UPDATE hold SET began_at_us=?", (self.weeks.now(),))
        await self.started()
        return told

    async def started(self) -> None:
        """The broker opened on what lies in its data folder."""
        loaded = self.node.settings
        vault = KeyVault.open(loaded.data_dir / "keys.db", loaded.root_key_file)
        node = Node(loaded, Metrics(), SqliteStore(loaded.database, ColumnCipher(vault.columns())), vault)
        self.home.node, self.home.liar._core = node, await node.open_log()
        self.tell_time()

    def tell_time(self) -> None:
        """The broker's clock is the weeks'."""
        object.__setattr__(self.node.context, "now_us", self.weeks.now)
        self.node.sealer._now_us = self.weeks.now

    async def lost_and_restored(self, copy: Path) -> None:
        """`lose` and `restored`, and every connector that lives has noticed."""
        self.lose()
        await self.restored(copy)
        await self.settle(2)

    async def go_on(self) -> None:
        """`handslag hold continue`."""
        await went_on(self.node, "disk lost")
        await self.settle(1)

    async def follow(self, *names: str) -> None:
        """`handslag connector resume --confirm` at agencies."""
        for name in names:
            ctx = self.agency(name).ctx
            resume.confirm(ctx, await resume.found(ctx))
        await self.settle(3)

    async def whole_again(self) -> None:
        """The operator goes on and everybody follows."""
        await self.go_on()
        await self.follow(*(name for name in self.home.agencies if name not in self.off))

    async def read(self, look: Callable[[Any], Any]) -> Any:
        return await self.node.store.read(look)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A case of three with consents between social services and the police; see `tests.rotation.weeks`."""
    async with weeks(folder) as made:
        one = World(made)
        one.tell_time()
        await one.settle(2)
        try:
            yield one
        finally:
            one.node.store.close()
            one.node.recorder.vault.close()


__all__ = ["REFS", "World", "clock", "world"]
