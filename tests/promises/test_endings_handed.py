"""What was handed over and never acknowledged may be there: who got it is told when its consent ends after all."""

from __future__ import annotations

import os

import pytest

from broker import deadlines
from schemas.acts import Scope
from schemas.inbox import Recall
from tests.promises.case import BOTH, deliveries, event, items, notices, ready, sent, states
from tests.promises.test_consent_acts import act, given
from tests.promises.test_endings import words
from tests.promises.test_endings_beside import blocked, told
from tests.promises.test_explain import suppose
from tests.rotation.test_broker import gone, posted, rotating
from tests.site import DAY, LEAD


async def recalls(site) -> list[tuple[str, int]]:
    """Reason and number of sections of every recall that waits for the lead, taken out of its inbox."""
    found = [(one.item_id, Recall.from_bytes(one.body)) for one in await words(site, "RECALL")]
    for item_id, _word in found:
        await site.ack(site.lead, item_id)
    return [(word.code, len(word.digests)) for _id, word in found]


async def expires(site) -> None:
    site.clock.us += 20 * DAY
    await deadlines.sweep(site.context)
    assert await states(site) == ["EXPIRED"]


async def is_to_be_sealed_anew(site) -> None:
    """Its recipient destroyed the key that it was sealed to."""
    _new, statement = rotating(site, site.lead)
    await posted(site, site.lead, statement)
    await gone(site, site.lead, site.lead.seat)
    assert await states(site) == ["RESEAL"]


async def is_blocked(site) -> None:
    await act(site, "BLOCK", terms=blocked(site))
    assert await states(site) == ["RECALLED"]
    assert await recalls(site) == [("BLOCK_IN_FORCE", 2)]


async def is_blocked_in_part(site) -> None:
    """And acknowledged after that, for what was left of it."""
    await act(site, "BLOCK", terms=blocked(site, "IC06"))
    assert await recalls(site) == [("BLOCK_IN_FORCE", 1)]


BEFORE = [expires, is_to_be_sealed_anew, is_blocked, is_blocked_in_part]


@pytest.mark.parametrize("before", BEFORE)
async def test_what_was_handed_over_and_never_acknowledged_is_recalled_when_its_consent_ends(tmp_path, before):
    site = await ready(tmp_path)
    consent = await given(site, valid_until_us=site.clock() + 60 * DAY)
    await sent(site)
    assert len(await deliveries(site)) == 1
    await before(site)
    await items(site, site.lead)
    await items(site, site.police)
    foreseen = await suppose(site, "WITHDRAW", consent)
    answer = await act(site, "WITHDRAW", consent)
    assert [(one.role, one.stopped, one.may_have_arrived, one.received) for one in answer.counts] == [(LEAD, 0, 1, 0)]
    assert foreseen.counts == answer.counts
    found = await recalls(site)
    assert {code for code, _n in found} == {"WITHDRAWN"}
    assert sum(n for _code, n in found) == len(BOTH)
    assert len(await notices(site, "end_acknowledged")) == len(found)
    await act(site, "WITHDRAW", consent)
    await site.withdraw_case(site.lead)
    assert await recalls(site) == await told(site) == []


async def test_what_never_left_or_was_refused_is_recalled_from_nobody(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site, valid_until_us=site.clock() + 60 * DAY)
    await sent(site)
    [item] = await deliveries(site)
    await site.ack(site.lead, item.item_id, "REJECT", "HS-SEAL-INVALID")
    await sent(site)
    site.clock.us += 20 * DAY
    await deadlines.sweep(site.context)
    assert await states(site) == ["REJECTED", "EXPIRED"]
    answer = await act(site, "WITHDRAW", consent)
    assert answer.counts == ()
    assert await recalls(site) == await told(site) == []


async def test_of_what_came_twice_the_one_that_was_acknowledged_is_told(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site, valid_until_us=site.clock() + 60 * DAY)
    sealed = event(site)
    await site.submit(site.police, sealed, deadline_at_us=None)
    await site.decide()
    assert len(await deliveries(site)) == 1
    await act(site, "BLOCK", block := os.urandom(16), terms=blocked(site))
    assert await recalls(site) == [("BLOCK_IN_FORCE", 2)]
    await act(site, "UNBLOCK", block)
    await site.submit(site.police, sealed, number=2)
    await site.decide()
    [again] = await deliveries(site)
    await site.ack(site.lead, again.item_id)
    assert await states(site) == ["RECALLED", "ACKED"]
    part = Scope(recipients=(), categories=("IC06",), purposes=())
    await act(site, "WITHDRAW", consent, scope=part)
    assert await told(site) == [("WITHDRAWN", frozenset({"IC06"}))]
    await act(site, "WITHDRAW", consent)
    assert await told(site) == [("WITHDRAWN", frozenset({"IC04"}))]
    assert await recalls(site) == []
