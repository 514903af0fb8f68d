"""One of several nodes leads; who stands still or ends is followed, and who cannot tell does not lead."""

import asyncio

import pytest

from broker.leading import LEASE_S, LOOK_S, Leading, node_id
from broker.sharing import Share
from tests.site import Site

SECOND = 1_000_000


class Hours:
    """The store's clock in microseconds and the nodes' own in seconds, moved by the test."""

    def __init__(self):
        self.s = 1000.0

    def us(self):
        return int(self.s * SECOND)

    def monotonic(self):
        return self.s


class Several:
    def __init__(self, site):
        self.site, self.hours, self.told = site, Hours(), {}
        self.shares = {name: Share(name) for name in "ab"}
        self.nodes = {
            name: Leading(site.store, share, name, self.hours.us, self.teller(name), self.hours.monotonic)
            for name, share in self.shares.items()
        }

    def teller(self, name):
        return lambda leads, count: self.told.update({name: (leads, count)})

    def leaders(self):
        return [name for name, node in self.nodes.items() if node.leads()]


@pytest.fixture
def several(tmp_path):
    site = Site(tmp_path)
    yield Several(site)
    site.close()


async def test_one_of_two_leads_and_stays(several):
    assert several.leaders() == []
    for _ in range(5):
        for node in several.nodes.values():
            await node.look()
        assert several.leaders() == ["a"]
        several.hours.s += LOOK_S
    assert several.told == {"a": (True, 2), "b": (False, 2)}
    assert several.shares["a"].nodes == several.shares["b"].nodes == {"a", "b"}


async def test_a_leader_that_stood_still_leads_no_more(several):
    a, b = several.nodes.values()
    await a.look()
    await b.look()
    several.hours.s += LEASE_S - 0.1
    await b.look()
    assert several.leaders() == ["a"]
    several.hours.s += 0.1
    assert several.leaders() == []  # by its own clock, before anybody else may
    await b.look()
    assert several.leaders() == ["b"]
    await a.look()
    await b.look()
    assert several.leaders() == ["b"]
    assert several.shares["b"].nodes == {"a", "b"}  # it is back, and does not lead


async def test_who_was_not_seen_is_not_counted_on_and_forgotten_after_a_day(several):
    a, b = several.nodes.values()
    await a.look()
    await b.look()
    several.hours.s += 3.5
    await b.look()
    assert several.shares["b"].nodes == {"b"}
    assert [row["live"] for row in (await b.status())["nodes"]] == [False, True]
    several.hours.s += 24 * 3600
    await b.look()
    assert [row["node"] for row in (await b.status())["nodes"]] == ["b"]


async def test_a_node_that_ends_hands_its_lease_on(several):
    a, b = several.nodes.values()
    await a.look()
    await b.look()
    await a.leave()
    assert several.leaders() == []
    await b.look()
    assert several.leaders() == ["b"]
    assert several.shares["b"].nodes == {"b"}
    await b.leave()
    assert not await b.look()  # a look that was under way takes nothing back


async def test_a_node_that_cannot_reach_the_store_stops_leading_and_ends_all_the_same(several):
    a, _b = several.nodes.values()
    await a.look()
    several.site.store.close()
    running = asyncio.create_task(a.run())
    await asyncio.sleep(0.05)
    several.hours.s += LEASE_S
    assert not a.leads()
    await a.leave()
    assert not running.done()
    running.cancel()


def test_a_node_keeps_its_name(tmp_path):
    name = node_id(tmp_path)
    assert node_id(tmp_path) == name
    assert (tmp_path / "node.id").stat().st_mode & 0o077 == 0
    (tmp_path / "node.id").write_text("no name\n")
    other = node_id(tmp_path)
    assert other != name
    assert node_id(tmp_path) == other
