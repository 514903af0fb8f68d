"""What nodes agree by, on a store: one holder of a lease, no file written over, no change that goes unnoticed."""

import os
from dataclasses import replace

import pytest

from broker.store.admin import ActRow
from broker.store.erasures import BEGUN, ErasureRow
from broker.store.hold import ContinuationRow, HoldRow
from broker.store.shared import FileMoved, NodeRow
from tests.site import Site

SECOND = 1_000_000


@pytest.fixture
async def site(tmp_path):
    site = Site(tmp_path)
    await site.admit()
    yield site
    site.close()


async def test_a_lease_is_held_by_one_until_it_is_over(site):
    async def take(holder, now_us):
        return await site.store.write(lambda rows: rows.shared.take("leader", holder, now_us, now_us + 3 * SECOND))

    assert await take("a", 0)
    assert not await take("b", 2 * SECOND)
    assert await take("a", 2 * SECOND)  # renewed
    assert not await take("b", 4 * SECOND)
    assert await take("b", 5 * SECOND)  # over
    assert not await take("a", 5 * SECOND)
    await site.store.write(lambda rows: rows.shared.give_back("leader", "a"))  # not a's any more: nothing
    assert not await take("a", 5 * SECOND)
    await site.store.write(lambda rows: rows.shared.give_back("leader", "b"))
    assert await take("a", 5 * SECOND)
    assert (await site.store.read(lambda rows: rows.shared.lease("leader"))).holder == "a"


async def test_a_server_clock_that_was_set_back_leaves_no_lease_behind(site):
    def take(holder, now_us):
        return site.store.write(lambda rows: rows.shared.take("leader", holder, now_us, now_us + 3 * SECOND))

    assert await take("a", 3600 * SECOND)
    assert await take("b", 0)  # a is gone; its lease would have lasted an hour
    assert not await take("a", SECOND)


async def test_two_nodes_never_write_over_each_others_files(site):
    write = site.store.write
    assert await write(lambda rows: rows.shared.put_file("acts/000001.act", b"one", 0)) == 1
    with pytest.raises(FileMoved):
        await write(lambda rows: rows.shared.put_file("acts/000001.act", b"another", 0))
    assert await write(lambda rows: rows.shared.put_file("acts/000001.act", b"two", 1)) == 2
    with pytest.raises(FileMoved):
        await write(lambda rows: rows.shared.put_file("acts/000001.act", b"late", 1))
    read = await site.store.read(lambda rows: (rows.shared.versions(), rows.shared.files(["acts/000001.act", "none"])))
    assert read == ({"acts/000001.act": 2}, {"acts/000001.act": (2, b"two")})


async def test_a_node_is_there_until_it_is_forgotten(site):
    row = NodeRow("aaaa", 1, 1, "0.3.0", True)
    await site.store.write(lambda rows: rows.shared.here(row))
    await site.store.write(lambda rows: rows.shared.here(replace(row, seen_at_us=9)))
    await site.store.write(lambda rows: rows.shared.here(replace(row, node_id="bbbb")))
    assert await site.store.write(lambda rows: rows.shared.gone(5)) == 1
    assert await site.store.read(lambda rows: rows.shared.nodes()) == [replace(row, seen_at_us=9)]


def changes(site):
    """By name, one change of each kind that a node holds in memory."""
    unit = site.police.code
    hold = HoldRow(os.urandom(16), "ANCHOR", 1, "exempel.invalid/audit", 1, bytes(32), None)
    return {
        "admitted": lambda rows: rows.units.put(rows.units.get(unit)),
        "instance": lambda rows: rows.units.raise_instance(unit, 2),
        "revoked": lambda rows: rows.units.revoke(unit, 1),
        "act": lambda rows: rows.admin.put(ActRow(1, os.urandom(32), os.urandom(16), 1)),
        "erasure": lambda rows: rows.erasures.put(ErasureRow(1, BEGUN, None, "x", bytes(16), None, None, 1)),
        "hold": lambda rows: rows.hold.begin(hold),
        "hold saw": lambda rows: rows.hold.saw(hold.hold_id, "exempel.invalid/audit", 2, bytes(32), ""),
        "continuation": lambda rows: rows.hold.add_continuation(
            ContinuationRow(2, hold.hold_id, b"s", b"s", os.urandom(16))
        ),
        "hold over": lambda rows: rows.hold.end(hold.hold_id, 2),
        "file": lambda rows: rows.shared.put_file("admissions/regions.toml", b"", 0),
    }


async def test_every_change_that_nodes_hold_in_memory_moves_the_number(site):
    async def number():
        return (await site.store.read(lambda rows: rows.shared.state())).number

    for name, change in changes(site).items():
        before = await number()
        await site.store.write(change)
        assert await number() > before, name
    before = await number()
    await site.store.write(lambda rows: rows.shared.here(NodeRow("aaaa", 1, 1, "0.3.0", True)))
    assert await number() == before  # what no node holds in memory moves nothing


async def test_a_change_that_is_undone_moves_nothing(site):
    def work(rows):
        rows.units.revoke(site.police.code, 1)
        raise ValueError

    before = await site.store.read(lambda rows: rows.shared.state())
    with pytest.raises(ValueError):
        await site.store.write(work)
    assert await site.store.read(lambda rows: rows.shared.state()) == before
