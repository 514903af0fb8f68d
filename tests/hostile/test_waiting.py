"""Fetches that wait, on a real store behind the real gateway: who is woken, when, and what the wait must not change."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time

import pytest

from broker.gateway.waiting import MOST_OF_A_UNIT, Waiting
from schemas import calls, limits
from tests.hostile.test_bundles import submission
from tests.hostile.test_quotas import doorway, post, sent, withdrawal


class Late:
    """Ticks a fixed time after news: what happens between the two is the test's to say."""

    def __init__(self, tick_s: float = 0.3, most_s: float = 20.0) -> None:
        self.counts: list[int] = []
        self.waiting = Waiting(most_s, self.counts.append, clock=lambda: 0.0, tick_s=tick_s)

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(10):
            while not self.counts or self.counts[-1] != count:
                await asyncio.sleep(0.01)


def fetch(wait_ms: int | None, limit: int = 50) -> bytes:
    return calls.FetchRequest(limit=limit, wait_ms=wait_ms).to_bytes()


async def fetched(door, unit, wait_ms: int | None = 15_000) -> tuple[float, list[str]]:
    """How long it took and the kinds of what came."""
    started = time.monotonic()
    status, _headers, body = await post(door, unit.code, "/v1/inbox:fetch", fetch(wait_ms))
    assert status == 200, body
    items = calls.FetchAnswer.from_bytes(body, 1 << 24).items
    return time.monotonic() - started, [item.kind for item in items]


async def emptied(door) -> None:
    for unit in door.site.units.values():
        await door.site.fetch(unit)


@pytest.fixture
async def late(site, tmp_path):
    """A door behind which calls may wait, with empty inboxes."""
    late = Late()
    site.store.on_news = late.waiting.ring
    async with doorway(site, tmp_path, waiting=late.waiting) as door:
        await emptied(door)
        yield door, late


async def test_a_fetch_that_waits_is_answered_when_something_comes(late):
    door, waits = late
    site = door.site
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(fetched(door, site.lead))
        await waits.reached(1)
        assert (await sent(door, submission(site)))[0] == 202
        assert await site.decide() == 1
        committed = time.monotonic()
    _took, kinds = waiter.result()
    assert kinds == ["DELIVERY"]
    assert time.monotonic() - committed < 5 < 15
    assert waits.counts[-1] == 0
    assert (await fetched(door, site.lead, None))[1] == []  # today's behaviour: answered at once


async def test_news_for_one_ends_the_wait_of_all_at_one_tick(late):
    """A watcher of the wires sees every waiting call answered together, whoever it was for."""
    door, waits = late
    site = door.site
    ends: dict[str, float] = {}

    async def one(unit) -> list[str]:
        _took, kinds = await fetched(door, unit)
        ends[unit.code] = time.monotonic()
        return kinds

    async with asyncio.TaskGroup() as group:
        lead = group.create_task(one(site.lead))
        probation = group.create_task(one(site.probation))
        await waits.reached(2)
        await sent(door, submission(site))
        await site.decide()
    assert (lead.result(), probation.result()) == (["DELIVERY"], [])
    assert abs(ends[site.lead.code] - ends[site.probation.code]) < 1.0


async def test_a_withdrawal_between_the_news_and_the_hand_over_counts(site, tmp_path):
    """The call is woken by a delivery that is taken back before the tick: it is answered, and holds nothing of it."""
    waits = Late(tick_s=3.0)
    site.store.on_news = waits.waiting.ring
    async with doorway(site, tmp_path, waiting=waits.waiting) as door:
        await emptied(door)
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(fetched(door, site.lead))
            await waits.reached(1)
            await sent(door, submission(site))
            assert await site.decide() == 1
            assert (await post(door, site.police.code, "/v1/consents", withdrawal(site)))[0] == 200
            assert waits.counts[-1] == 1  # it was still waiting
        took, kinds = waiter.result()
        assert "DELIVERY" not in kinds
        assert took < 10


async def test_who_was_shut_out_while_waiting_is_handed_nothing(late):
    door, waits = late
    site = door.site
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(post(door, site.lead.code, "/v1/inbox:fetch", fetch(15_000)))
        await waits.reached(1)
        await sent(door, submission(site))
        door.core.certificates = {key: code for key, code in door.core.certificates.items() if code != site.lead.code}
        await site.decide()
    status, _headers, body = waiter.result()
    assert (status, json.loads(body)["code"]) == (403, "HS-UNIT-UNKNOWN")
    assert [item.kind for item in await site.fetch(site.lead)] == ["DELIVERY"]  # it was there, and stayed


async def test_an_old_instance_that_waits_is_handed_nothing_when_a_new_one_comes(late):
    door, waits = late
    site = door.site
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(post(door, site.lead.code, "/v1/inbox:fetch", fetch(15_000)))
        await waits.reached(1)
        await site.store.write(lambda rows: rows.units.raise_instance(site.lead.code, 7))
        await door.core.reload_units()
        await sent(door, submission(site))
        await site.decide()
    status, _headers, body = waiter.result()
    assert (status, json.loads(body)["code"]) == (409, "HS-INSTANCE-OLD")


async def test_the_number_of_waiting_calls_is_bounded(late):
    door, waits = late
    site = door.site
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(fetched(door, site.lead)) for _ in range(MOST_OF_A_UNIT)]
        await waits.reached(MOST_OF_A_UNIT)
        took, kinds = await fetched(door, site.lead)
        assert (kinds, took < 5) == ([], True)  # answered at once
        other = group.create_task(fetched(door, site.probation))
        await waits.reached(MOST_OF_A_UNIT + 1)
        waits.waiting.close()
    assert all(task.result()[0] < 15 for task in [*held, other])


async def test_a_node_that_ends_answers_who_waits(late):
    door, waits = late
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(fetched(door, door.site.lead))
        await waits.reached(1)
        waits.waiting.close()
    assert waiter.result()[0] < 10
    assert (await fetched(door, door.site.lead))[0] < 5  # and nobody waits any more


async def test_a_wait_ends_by_itself_and_is_bounded(site, tmp_path):
    waits = Late(most_s=0.2)
    async with doorway(site, tmp_path, waiting=waits.waiting) as door:
        await emptied(door)
        took, kinds = await fetched(door, site.lead)
        assert (kinds, 0.2 <= took < 5) == ([], True)
        for wrong in (limits.WAIT_MS + 1, -1):
            status, _headers, body = await post(door, site.lead.code, "/v1/inbox:fetch", fetch(wrong))
            assert (status, json.loads(body)["code"]) == (413, "HS-TOO-LARGE")


async def test_where_nobody_may_wait_the_answer_comes_at_once(site, tmp_path):
    async with doorway(site, tmp_path, waiting=Late(most_s=0.0).waiting) as door:
        await emptied(door)
        assert (await fetched(door, site.lead))[0] < 5


def test_a_request_of_the_first_release_waits_for_nothing():
    from schemas import catalogue, codec

    form = catalogue.released()["0.1.0"]["handslag.api.FetchRequest"]
    entry = catalogue.version_of("handslag.api.FetchRequest", _hash(form))
    asked = calls.FetchRequest.from_bytes(entry.header + codec.encode_body(entry.parsed, {"limit": 3}))
    assert dataclasses.asdict(asked) == {"limit": 3, "wait_ms": None, "without": None}


def _hash(form) -> bytes:
    import hashlib

    from schemas.catalogue import project_form

    return hashlib.sha256(project_form(form)).digest()
