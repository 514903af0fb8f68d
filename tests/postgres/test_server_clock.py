"""A node on a server tells the server's time, whatever its own wall clock says."""

from __future__ import annotations

import time

from broker.server_clock import ServerClock
from broker.store.sqlite import SqliteStore
from schemas.errors import HandslagError
from tests.postgres.conftest import CIPHER


class Hands:
    """A server's clock, a monotonic clock, and how long an answer takes."""

    def __init__(self):
        self.server_us, self.mono_ns, self.takes_ns = 1_000_000_000, 5_000_000_000, 2_000_000
        self.away = False

    def pass_(self, us):
        self.server_us += us
        self.mono_ns += us * 1000

    async def measure(self):
        if self.away:
            raise HandslagError("HS-NOT-READY")
        self.mono_ns += self.takes_ns
        self.server_us += self.takes_ns // 1000
        return self.server_us - self.takes_ns // 2000

    def monotonic(self):
        return self.mono_ns


async def test_it_is_the_servers_moment_carried_by_the_monotonic_clock():
    hands = Hands()
    clock = ServerClock(hands.measure, hands.monotonic)
    assert await clock.look()
    assert clock() == hands.server_us
    hands.pass_(12_345)
    assert clock() == hands.server_us


async def test_a_slow_answer_is_worth_less_than_a_fresh_one_of_before():
    hands = Hands()
    clock = ServerClock(hands.measure, hands.monotonic)
    await clock.look()
    hands.takes_ns, hands.server_us = 400_000_000, hands.server_us + 7_000_000
    before = clock()
    await clock.look()
    assert abs(clock() - before - 400_000) < 10
    hands.pass_(11_000_000)
    await clock.look()  # nothing better for ten seconds
    assert abs(clock() - hands.server_us) <= 1


async def test_a_step_of_the_nodes_wall_clock_changes_nothing(migrated, monkeypatch):
    store = migrated.store(CIPHER)
    clock = ServerClock(store.clock_us)
    assert await clock.look()
    before = clock()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert abs(clock() - before) < 5_000_000
    await clock.look()
    assert abs(clock() - before) < 5_000_000
    store.close()


async def test_a_file_has_no_clock_of_its_own(tmp_path):
    store = SqliteStore(tmp_path / "broker.db", CIPHER)
    assert not await ServerClock(store.clock_us).look()
    store.close()
