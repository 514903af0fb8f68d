"""Work that the server undoes: it runs again, why is counted and said, and nothing slow of our own brings it about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time

import pytest
from sqlalchemy import event

from broker.logs import JsonLine
from broker.metrics import Metrics
from broker.store import pulse
from broker.store.postgresql import PostgresStore
from schemas.errors import HandslagError
from tests.postgres.conftest import CIPHER
from tests.promises.case import deliveries, grant, ready, sent
from tests.site import Site

NOW = 1_790_000_000_000_000
LONGER_THAN_IT_IS_TRIED_S = 1.1


def bump(rows):
    return rows.gate.bump(7, 1, NOW).first_version


@pytest.fixture
def lines():
    """What the Store logs, as the operator reads it."""
    written, logger = io.StringIO(), logging.getLogger("handslag.store")
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLine())
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logger.removeHandler(handler)


def counted(metrics, reason):
    text = metrics.render().decode()
    name = f'handslag_transactions_undone_total{{sqlstate="{reason}"}} '
    return float(next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name))


async def test_a_node_that_stood_still_for_long_tries_again(migrated, lines):
    """Longer than work is tried at all: the machine stood still, and nothing was tried in that time."""
    metrics, runs = Metrics(), []
    store = PostgresStore(migrated.settings, CIPHER, undone=metrics.undone)

    def stands_still(rows):
        runs.append(bump(rows))
        if len(runs) == 1:
            time.sleep(LONGER_THAN_IT_IS_TRIED_S)
        rows.gate.bump(8, 1, NOW)

    await store.write(stands_still, shared=True)
    store.close()
    assert runs == [1, 1]
    assert migrated.seen("SELECT gate_version FROM bucket WHERE bucket IN (7, 8)") == [(1,), (1,)]
    assert counted(metrics, "25P03") == 1
    assert lines() == []


async def test_why_work_was_given_up_is_logged_and_counted(migrated, lines):
    metrics = Metrics()
    store = PostgresStore(migrated.settings, CIPHER, undone=metrics.undone)
    with migrated.connect() as other:
        other.execute("SELECT * FROM bucket WHERE bucket = 7 FOR UPDATE")
        with pytest.raises(HandslagError) as raised:
            await store.write(bump, shared=True)
    store.close()
    assert raised.value.code == "HS-NOT-RECORDED"
    (line,) = lines()
    tries = line["tries"]
    assert {name: line[name] for name in ("event", "level", "sqlstate")} == {
        "event": "HS-NOT-RECORDED", "level": "WARNING", "sqlstate": "55P03",
    }  # fmt: skip
    assert tries >= 3
    assert counted(metrics, "55P03") == tries
    assert counted(metrics, "25P03") == 0


async def test_a_server_that_is_away_is_said_to_be(migrated, lines):
    metrics = Metrics()
    store = PostgresStore(migrated.settings.model_copy(update={"port": 1}), CIPHER, undone=metrics.undone)
    for asked in (store.write(bump), store.read(bump), store.settled()):
        with pytest.raises(HandslagError):
            await asked
    store.close()
    assert [(line["event"], line["sqlstate"]) for line in lines()] == [
        ("HS-NOT-RECORDED", "connect"), ("HS-NOT-READY", "connect"), ("HS-NOT-READY", "connect"),
    ]  # fmt: skip
    assert counted(metrics, "connect") == sum(line["tries"] for line in lines())


async def test_keys_are_in_memory_before_a_ledger_write_begins(migrated, tmp_path, monkeypatch):
    """A node that was told to forget its keys reads them again, and not while it holds the gate."""
    monkeypatch.setattr(Site, "databases", staticmethod(lambda: migrated))
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    assert await deliveries(site)  # handed over: the withdrawal seals entries of both seats
    inside = []

    @event.listens_for(site.vault._engine, "before_cursor_execute")
    def asked(*_):
        if threading.current_thread().name.startswith("store-"):
            inside.append(threading.current_thread().name)

    site.vault.forget()
    await site.act(site.police, "WITHDRAW", consent)
    assert inside == []
    site.vault.forget()
    await site.store.write(lambda _rows: site.context.recorder.seat_keys(site.police.seat_id))
    assert inside  # positive control
    site.close()


def computing(seconds):
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        pass


async def undone_in(store, meanwhile):
    """How often a transaction is begun that spends its first run on something for longer than it may be silent."""
    runs = []

    def work(rows):
        runs.append(bump(rows))
        if len(runs) == 1:
            meanwhile(0.4)
        rows.gate.bump(8, 1, NOW)

    await store.write(work)
    return len(runs) - 1


@pytest.mark.parametrize(("meanwhile", "undone"), [(computing, 0), (time.sleep, 1)])
async def test_a_long_computation_is_not_taken_for_a_node_that_stopped(migrated, meanwhile, undone):
    """The control takes no processor time meanwhile, as a node that was stopped."""
    metrics = Metrics()
    store = PostgresStore(migrated.settings, CIPHER, undone=metrics.undone)
    assert await undone_in(store, meanwhile) == undone
    store.close()
    assert counted(metrics, "25P03") == undone


@pytest.mark.parametrize("after", [bump, lambda _rows: None])
async def test_why_the_server_ended_it_is_known_whoever_hears_it_first(migrated, lines, after):
    """A transaction stood still, was ended, and computes again: the beat hears of it, or else nobody before COMMIT."""
    metrics, runs = Metrics(), []
    store = PostgresStore(migrated.settings, CIPHER, undone=metrics.undone)

    def work(rows):
        runs.append(bump(rows))
        if len(runs) == 1:
            time.sleep(0.4)
            computing(0.15)
            after(rows)

    await store.write(work)
    store.close()
    assert len(runs) == 2
    assert counted(metrics, "25P03") == 1
    assert lines() == []


async def test_what_computes_on_and_on_is_undone(migrated, monkeypatch):
    monkeypatch.setattr(pulse, "_LONGEST_S", 0.1)
    store = PostgresStore(migrated.settings, CIPHER)
    assert await undone_in(store, computing) == 1
    store.close()


async def test_one_that_waits_for_a_lock_does_not_silence_the_others(migrated):
    """While the server works for one transaction, another one that computes is heard all the same."""
    metrics = Metrics()
    store = PostgresStore(migrated.settings, CIPHER, undone=metrics.undone)
    with migrated.connect() as other:
        other.execute("SELECT * FROM bucket WHERE bucket = 9 FOR UPDATE")
        waiting = asyncio.create_task(store.write(lambda rows: rows.gate.bump(9, 1, NOW), shared=True))
        assert await undone_in(store, computing) == 0
        other.rollback()
    await waiting
    store.close()
    assert counted(metrics, "25P03") == 0
