"""What row locks decide between transactions that run at the same time, and drivers without them that are rejected."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from sqlalchemy import BigInteger, func, select
from sqlalchemy.exc import DBAPIError

from broker.store import deliveries as deliveries_module
from broker.store import gate as gate_module
from broker.store import instances as instances_module
from broker.store import postgresql
from broker.store.inbox import Item
from broker.store.tables import bucket
from broker.stream.embedded import EmbeddedStream
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from tests.contract.checks import CHECKS, Bench
from tests.contract.checks import delivery as delivery_row
from tests.contract.checks import section as section_row
from tests.postgres.conftest import Standing

NOW = 1_790_000_000_000_000
ONE = b"1" * 16


async def reached(standing):
    assert await asyncio.to_thread(standing.reached.wait, 20)


async def one_delivery(store):
    await store.write(lambda rows: rows.deliveries.insert([delivery_row(ONE)], [section_row(ONE)]))


def narrow(rows):
    """What a withdrawal does: bump, look, end; returns the states that it would list."""
    rows.gate.bump(7, 1, NOW)
    found = rows.deliveries.open_of_senders([b"s" * 16])
    for row in found:
        state = DeliveryState.CANCELLED if row.state == "PENDING" else DeliveryState.RECALLED
        rows.deliveries.move(row, state)
    return [row.state for row in found]


async def listed_while_a_hand_over_is_open(stores):
    """A withdrawal that begins while a hand-over of the same row has not committed yet."""
    first, second = stores(), stores()
    await one_delivery(first)
    handing = Standing(lambda rows: rows.deliveries.hand([(ONE, 0)], NOW, NOW + 50))
    handed = asyncio.create_task(first.write(handing, shared=True))
    await reached(handing)
    narrowing = asyncio.create_task(second.write(narrow, shared=True))
    await asyncio.sleep(0.2)
    handing.go.set()
    assert await handed == {ONE}
    return await narrowing


async def test_a_withdrawal_waits_for_a_hand_over_and_lists_it(stores):
    assert await listed_while_a_hand_over_is_open(stores) == ["HANDED"]


async def test_a_driver_that_looks_without_locking_is_rejected(stores, monkeypatch):
    monkeypatch.setattr(deliveries_module, "locked", lambda _connection, query, **_how: query)
    assert await listed_while_a_hand_over_is_open(stores) == ["PENDING"]  # handed over, and called never handed


async def test_two_hand_overs_and_a_withdrawal_never_wait_for_each_other_in_a_circle(stores):
    first, second = stores(), stores()
    ids = [bytes([n]) * 16 for n in range(1, 41)]
    await first.write(
        lambda rows: rows.deliveries.insert(
            [delivery_row(one) for one in ids], [section_row(one, one * 2) for one in ids]
        )
    )
    upwards, downwards = [(one, 0) for one in ids], [(one, 0) for one in reversed(ids)]

    async def hand(store, wanted):
        return await store.write(lambda rows: rows.deliveries.hand(wanted, NOW, NOW + 50), shared=True)

    found = await asyncio.gather(
        hand(first, upwards), hand(second, downwards), first.write(narrow, shared=True), hand(second, upwards),
        second.write(narrow, shared=True), hand(first, downwards),
    )  # fmt: skip
    handed = [one for result in (found[0], found[1], found[3], found[5]) for one in result]
    assert len(handed) == len(set(handed))
    listed = found[2] + found[4]
    assert len(listed) == len(ids)
    assert listed.count("HANDED") == len(handed)


async def test_a_hand_over_passes_what_another_is_handing(stores):
    first, second = stores(), stores()
    await one_delivery(first)
    handing = Standing(lambda rows: rows.deliveries.hand([(ONE, 0)], NOW, NOW + 50))
    handed = asyncio.create_task(first.write(handing, shared=True))
    await reached(handing)
    assert (
        await asyncio.wait_for(
            second.write(lambda rows: rows.deliveries.hand([(ONE, 0)], NOW, NOW + 50), shared=True), 5
        )
        == set()
    )
    handing.go.set()
    assert await handed == {ONE}


# --- the clock


async def clock_after_a_wait(stores):
    """(the ledger clock of a bump that waited for the gate, the server's clock when it could begin)."""
    first, second = stores(server_clock=True), stores(server_clock=True)
    holding = Standing(lambda rows: rows.gate._c.execute(select(bucket).where(bucket.c.bucket == 7).with_for_update()))
    held = asyncio.create_task(first.write(holding, shared=True))
    await reached(holding)
    bumping = asyncio.create_task(second.write(lambda rows: rows.gate.bump(7, 1, 0), shared=True))
    await asyncio.sleep(0.25)
    free_us = await first.clock_us()
    holding.go.set()
    await held
    return (await bumping).clock_us, free_us


async def test_the_ledger_clock_is_the_servers_after_the_lock(stores):
    clock_us, free_us = await clock_after_a_wait(stores)
    assert free_us <= clock_us <= free_us + 5_000_000


@pytest.mark.parametrize("fault", ["now()", "no lock first"])
async def test_a_clock_that_was_read_before_the_wait_is_rejected(stores, monkeypatch, fault):
    if fault == "now()":
        began = func.trunc(func.date_part("epoch", func.now()) * 1_000_000).cast(BigInteger)
        monkeypatch.setattr(gate_module, "moment", lambda _connection, _now_us: began)
    else:
        monkeypatch.setattr(gate_module, "has_row_locks", lambda _connection: False)
    clock_us, free_us = await clock_after_a_wait(stores)
    assert clock_us < free_us


async def test_a_consent_that_ended_by_the_servers_clock_is_not_handed_over(stores):
    """The node's own clock says that it has not: it counts for nothing."""
    store = stores(server_clock=True)
    server_us = await store.clock_us()
    ends = {"holds_until_us": server_us + 200_000, "valid_until_us": server_us + 60_000_000}
    await store.write(lambda rows: rows.deliveries.insert([delivery_row(ONE, **ends)], [section_row(ONE)]))
    await asyncio.sleep(0.3)
    long_ago = server_us - 3_600_000_000
    assert await store.write(lambda rows: rows.deliveries.hand([(ONE, 0)], long_ago, server_us)) == set()


# --- the turn


async def remembered(stores, *, shared):
    """Two nodes that read, add and write back, the second while the first has read; returns the sum that is left."""
    unit = "SOC/EXEMPEL/KONSULT"
    seen, go = threading.Event(), threading.Event()

    def more(rows):
        now = rows.instances.memory(unit)
        rows.instances.remember(unit, replace(now, seen_size=now.seen_size + 1))

    def slowly(rows):
        now = rows.instances.memory(unit)
        seen.set()
        assert go.wait(20)
        rows.instances.remember(unit, replace(now, seen_size=now.seen_size + 1))

    first, second = stores(), stores()
    await first.write(lambda rows: rows.instances.remember(unit, instances_module.Memory()))
    slow = asyncio.create_task(first.write(slowly, shared=shared))
    assert await asyncio.to_thread(seen.wait, 20)
    quick = asyncio.create_task(second.write(more, shared=shared))
    await asyncio.sleep(0.3)
    go.set()
    await asyncio.gather(slow, quick, return_exceptions=True)
    return await first.read(lambda rows: rows.instances.memory(unit).seen_size)


async def test_rare_writes_of_several_nodes_come_one_after_the_other(stores):
    assert await remembered(stores, shared=False) == 2


async def test_the_same_writes_without_their_turn_lose_some(stores):
    assert await remembered(stores, shared=True) == 1


# --- snapshots, swallowed errors, positions


async def test_a_driver_whose_read_sees_two_commits_is_rejected(stores, migrated, monkeypatch):
    monkeypatch.setattr(postgresql, "_BEGIN_READ", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
    store = stores()
    with pytest.raises(AssertionError):
        await CHECKS["a_read_sees_one_commit"](Bench(store, EmbeddedStream(store), migrated.seen, stores))


async def test_work_that_swallows_an_error_of_the_server_is_not_recorded(stores, migrated):
    """COMMIT after an error rolls everything back and says so nowhere: the caller must not be told that it is kept."""
    store = stores()

    def work(rows):
        rows.inbox.put([Item(b"kept".ljust(16), "KV/EXEMPEL/FRI", "NOTICE", b"")])
        try:
            rows.gate._c.exec_driver_sql("SELECT 1 / 0")
        except DBAPIError:
            return "all is well"

    with pytest.raises(HandslagError) as raised:
        await store.write(work)
    assert raised.value.code == "HS-NOT-RECORDED"
    assert migrated.seen("SELECT count(*) FROM inbox_item") == [(0,)]


async def test_positions_are_gap_free_whichever_node_appends(stores):
    streams = [EmbeddedStream(stores()) for _ in range(3)]
    await asyncio.gather(*[streams[n % 3].append({7: [bytes([n])] * 3, 8: [b"x"]}) for n in range(30)])
    found = await streams[0].read(7, 0, 200)
    assert [position for position, _ in found] == list(range(90))
    assert all(len({record for _, record in found[at : at + 3]}) == 1 for at in range(0, 90, 3))


async def test_a_deadlock_is_undone_and_the_work_runs_again(stores, migrated):
    """Two transactions that lock two gates crosswise: one is ended by the server, and both are recorded."""
    first, second = stores(patient=False), stores(patient=False)
    met = asyncio.Event()
    loop = asyncio.get_running_loop()
    runs, held = [], []

    def crosswise(one, other):
        def work(rows):
            runs.append(one)
            rows.gate.bump(one, 1, NOW)
            held.append(one)  # only now may the other reach for it
            if len(held) == 2:
                loop.call_soon_threadsafe(met.set)
            if len(held) <= 2:
                asyncio.run_coroutine_threadsafe(met.wait(), loop).result(10)
            rows.gate.bump(other, 1, NOW)

        return work

    await asyncio.gather(first.write(crosswise(1, 2), shared=True), second.write(crosswise(2, 1), shared=True))
    assert len(runs) >= 3
    assert migrated.seen("SELECT gate_version FROM bucket WHERE bucket IN (1, 2)") == [(2,), (2,)]
