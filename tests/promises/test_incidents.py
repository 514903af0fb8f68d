"""A withdrawal that the person spoke earlier than it was recorded: what was handed over in between is listed."""

from __future__ import annotations

import pytest

from schemas.acts import Scope
from tests.promises.case import HOUR, deliveries, grant, ready, sent
from tests.promises.trail import trail
from tests.site import LEAD, to_role

STATES = ["HANDED", "ACKED", "REJECTED", "RECALLED"]


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def handed(site, state: str) -> tuple[bytes, bytes]:
    consent = await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    if state in {"ACKED", "REJECTED"}:
        await site.ack(site.lead, item.item_id, "ACK" if state == "ACKED" else "REJECT")
    if state == "RECALLED":
        await site.act(site.police, "WITHDRAW", consent)
    return consent, item.item_id


async def listed(site) -> list[bytes]:
    """What the discloser's own CONSENT_EVENT entry lists."""
    last = [r.payload for r in await trail(site, site.police.seat_id) if r.operation == "CONSENT_EVENT"][-1]
    return [one.delivery_id for one in last.affected]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("whole", [False, True])
async def test_releases_between_effect_and_recording_are_listed(site, state, whole):
    """Also those of a withdrawal that another seat of the case noted."""
    site.clock.us += HOUR
    said_at = site.clock.us
    site.clock.us += HOUR
    consent, delivery_id = await handed(site, state)
    if whole:
        await site.withdraw_case(site.probation, effective_at_us=said_at)
    else:
        answer = await site.act(site.police, "WITHDRAW", consent, effective_at_us=said_at)
        assert [one.delivery_id for one in answer.affected] == [delivery_id]
    assert await listed(site) == [delivery_id]


@pytest.mark.parametrize("whole", [False, True])
async def test_what_was_handed_over_before_it_took_effect_is_not_listed(site, whole):
    consent, _ = await handed(site, "ACKED")
    site.clock.us += HOUR
    said_at = site.clock.us
    site.clock.us += HOUR
    if whole:
        await site.withdraw_case(site.probation, effective_at_us=said_at)
    else:
        await site.act(site.police, "WITHDRAW", consent, effective_at_us=said_at)
    assert await listed(site) == []


async def test_what_was_decided_before_and_handed_over_after_is_listed(site):
    consent = await grant(site)
    await sent(site)
    site.clock.us += HOUR
    said_at = site.clock.us
    site.clock.us += HOUR
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    answer = await site.act(site.police, "WITHDRAW", consent, effective_at_us=said_at)
    assert [(one.delivery_id, one.state_before) for one in answer.affected] == [(item.item_id, "ACKED")]


async def test_a_part_lists_only_what_it_takes_back(site):
    said_at = site.clock.us
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    consent = await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    for category, expected in (("IC01", []), ("IC06", [item.item_id])):
        scope = Scope(recipients=(), categories=(category,), purposes=())
        answer = await site.act(site.police, "WITHDRAW", consent, scope=scope, effective_at_us=said_at)
        assert [one.delivery_id for one in answer.affected] == expected


async def test_counts_tell_what_was_stopped_may_have_arrived_and_was_received(site):
    await grant(site)
    for state in ("ACKED", "HANDED", "PENDING"):
        await sent(site)
        if state != "PENDING":
            site.clock.us += 1
            items = await deliveries(site)
            if state == "ACKED":
                await site.ack(site.lead, items[-1].item_id)
    consent = next(iter(site.police.consents))
    (count,) = (await site.act(site.police, "WITHDRAW", consent)).counts
    assert (count.stopped, count.may_have_arrived, count.received) == (1, 1, 1)
