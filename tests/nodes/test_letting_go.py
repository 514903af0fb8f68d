"""An erasure among several nodes: done when every node's folder has let go of the older root key, and not before."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from broker import control, letting_go
from broker.diagnosis.checks import notices
from broker.diagnosis.facts import NodeFacts
from broker.diagnosis.gather import _key_holders
from broker.store import rootkey
from broker.store.erasures import DONE, ERASED, ErasureRow
from schemas.errors import HandslagError
from tests.nodes.opened import nodes


@pytest.fixture
async def pair(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(letting_go, "_EVERY_S", 0.05)


@asynccontextmanager
async def running(one, *, leads):
    """What a node runs of it while it serves."""
    task = asyncio.create_task(letting_go.letting_go(one.vault, one.served.eraser, lambda: leads))
    yield
    task.cancel()


async def erased(one) -> bytes:
    """As far as an erasure comes in one transaction after the other, before anything is let go of."""
    seat = os.urandom(16)
    await asyncio.to_thread(one.vault.create, "SEAT", seat)
    await asyncio.to_thread(one.vault.erase, seat)
    row = ErasureRow(1, ERASED, seat, "RETENTION_OVER", bytes(16), bytes(16), bytes(16), 1, 5)
    await one.store.write(lambda rows: rows.erasures.put(row))
    return seat


async def state(one) -> str:
    rows = await one.store.read(lambda rows: rows.erasures.all())
    return rows[1].state


async def until_done(one) -> None:
    for _ in range(400):
        if await state(one) == DONE:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not done in time")


def commands(one):
    return one.commands(one.core, None)


async def test_an_erasure_waits_for_a_node_that_is_away(pair, monkeypatch):
    here, there = pair
    await erased(here)
    async with running(here, leads=True):
        await asyncio.sleep(1.0)
        assert await state(here) == ERASED
        told = await commands(here)["erase-status"]({})
        assert [each["node"] for each in told["waits_for"]] == [there.others.leading.name]
        assert told["root_key_epoch"] == 2
        async with control.serve_control(here.settings.data_dir, commands(here)):
            assert await asyncio.to_thread(_key_holders, here.settings) == 1
        assert not await here.served.eraser.settle()
        monkeypatch.setattr("broker.erasing._TRIES", 2)
        with pytest.raises(HandslagError, match="HS-ERASE-WAITS"):
            await here.served.eraser.go_on()
        assert [row.state for row in await here.served.eraser.go_on(wait=False)] == [ERASED]
        assert rootkey.load(here.settings.root_key_file).oldest == 2
        assert rootkey.load(there.settings.root_key_file).oldest == 1
        async with running(there, leads=False):
            await until_done(here)
        assert rootkey.load(there.settings.root_key_file).oldest == 2
    assert (await commands(here)["erase-status"]({}))["waits_for"] == []
    async with control.serve_control(here.settings.data_dir, commands(here)):
        assert await asyncio.to_thread(_key_holders, here.settings) == 0


def test_the_doctor_says_that_an_erasure_waits():
    for holders in (0, 2):
        told = list(notices(SimpleNamespace(  # what `notices` looks at
            node=NodeFacts(running=True, key_holders=holders), operations_inside=True, trying_out=())))  # fmt: skip
        assert [found.code for found in told] == ["N-ERASURE-WAITS"] * bool(holders)


async def test_only_a_node_that_is_gone_is_not_waited_for(pair):
    here, there = pair
    name = there.others.leading.name
    await there.others.leading.look()
    await erased(here)
    retire = commands(here)["erase-retire"]
    with pytest.raises(HandslagError, match="HS-NODE-SERVES"):
        await retire({"node": name})
    await there.others.leading.leave()
    with pytest.raises(HandslagError, match="HS-NODE-UNKNOWN"):
        await retire({"node": "0" * 16})
    assert await retire({"node": name}) == {}
    async with running(here, leads=True):
        await until_done(here)


async def test_a_root_key_that_cannot_be_replaced_keeps_an_erasure_open_and_is_told_once(pair, caplog):
    here, there = pair
    blocked = here.settings.root_key_file.with_name(".root.key.old")
    blocked.mkdir()
    await erased(here)
    async with running(there, leads=False), running(here, leads=True):
        await asyncio.sleep(1.0)
        assert await state(here) == ERASED
        assert sum("HS-KEYS-UNREADABLE" in record.getMessage() for record in caplog.records) == 1
        blocked.rmdir()
        await until_done(here)
