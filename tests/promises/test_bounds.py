"""What time takes away: a grant that ends while a delivery waits, shelf life, deadlines told once."""

from __future__ import annotations

import pytest

from broker import deadlines
from tests.promises.case import HOUR, deliveries, grant, notices, ready, sent
from tests.promises.trail import trail
from tests.site import DAY


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def test_a_grant_that_ends_while_a_delivery_waits_stops_it(site):
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    site.clock.us += HOUR
    assert await deliveries(site) == []


async def test_the_same_delivery_is_handed_over_before_its_grant_ends(site):
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    site.clock.us += HOUR - 1_000_000
    assert len(await deliveries(site)) == 1


async def test_a_delivery_left_on_a_shorter_grant_ends_with_that_grant(site):
    """Decided on the longer of two; it is withdrawn, the shorter still covers, and then that one ends too."""
    longer = await grant(site, until_us=site.clock.us + 2 * DAY)
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    await site.act(site.police, "WITHDRAW", longer)
    site.clock.us += HOUR
    assert await deliveries(site) == []


async def test_a_delivery_left_on_a_shorter_grant_is_recorded_under_that_grant(site):
    longer = await grant(site, until_us=site.clock.us + 2 * DAY)
    shorter = await grant(site, until_us=site.clock.us + DAY)
    await sent(site)
    await site.act(site.police, "WITHDRAW", longer)
    assert len(await deliveries(site)) == 1
    disclosure = next(r for r in await trail(site, site.police.seat_id) if r.payload.delivery_id)
    assert disclosure.operation == "DISCLOSURE"
    assert {grant for section in disclosure.payload.sections for grant in section.grants} == {shorter}


async def test_what_is_past_its_own_end_is_not_handed_over(site):
    await grant(site)
    await sent(site, valid_until_us=site.clock.us + HOUR)
    site.clock.us += HOUR
    assert await deliveries(site) == []


async def test_what_is_past_its_shelf_life_is_not_handed_over(site):
    await grant(site)
    await sent(site)
    site.clock.us += 72 * HOUR + 1_000_000
    assert await deliveries(site) == []
    await deadlines.sweep(site.context)
    assert len(await notices(site, "delivery_expired")) == 1


async def test_a_late_delivery_is_told_once(site):
    await grant(site)
    await sent(site, deadline_at_us=site.clock.us + HOUR)
    assert (await deadlines.sweep(site.context))[0] == 0
    site.clock.us += HOUR
    assert (await deadlines.sweep(site.context))[0] == 1
    assert (await deadlines.sweep(site.context))[0] == 0
    assert [one.detail for one in await notices(site, "delivery_overdue")] == ["PENDING"]


async def test_an_expired_delivery_is_ended_once_and_never_handed_over_again(site):
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    site.clock.us += HOUR
    assert (await deadlines.sweep(site.context))[1] == 1
    assert (await deadlines.sweep(site.context))[1] == 0
    await grant(site)
    assert await deliveries(site) == []


async def test_what_expired_unfetched_leaves_nothing_in_the_recipients_trail(site):
    """That there was such an event is itself information that the recipient was never handed."""
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    before = len(await trail(site, site.lead.seat_id))
    site.clock.us += HOUR
    await deadlines.sweep(site.context)
    assert len(await trail(site, site.lead.seat_id)) == before
    ours = (await trail(site, site.police.seat_id))[-1]
    assert (ours.operation, ours.payload.code) == ("ACK", "HS-EVENT-EXPIRED")


async def test_what_was_handed_over_and_expired_is_in_both_trails(site):
    """Positive control of the test above."""
    await grant(site)
    await sent(site, valid_until_us=site.clock.us + HOUR)
    assert len(await deliveries(site)) == 1
    site.clock.us += HOUR
    await deadlines.sweep(site.context)
    for unit in (site.police, site.lead):
        last = (await trail(site, unit.seat_id))[-1]
        assert (last.operation, last.payload.code) == ("ACK", "HS-EVENT-EXPIRED")


async def test_a_clock_that_runs_back_does_not_reopen_an_ended_grant(site):
    """The ledger's own clock never runs back; a node whose clock does hands over nothing that has ended by it."""
    await grant(site, until_us=site.clock.us + HOUR)
    await sent(site)
    site.clock.us += 2 * HOUR
    await site.act(site.probation, "WITHDRAW", site.new_id())  # the same case: the ledger clock passes the end
    site.clock.us -= 2 * HOUR
    assert await deliveries(site) == []
