"""Whoever was given something under a consent is told when it ends, and that they know of it comes back."""

from __future__ import annotations

import pytest

from schemas.acts import Scope, Terms
from schemas.inbox import ConsentEnded, Recall
from tests.promises.case import BOTH, PURPOSE, deliveries, grant, items, notices, ready, sent, states
from tests.promises.trail import trail
from tests.site import DAY, LEAD, terms_of, to_role


async def received(site, **terms) -> bytes:
    """A consent, and one delivery under it that the lead has acknowledged; returns the consent."""
    consent = await grant(site, **terms)
    await sent(site)
    [item] = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await items(site, site.police)
    assert await states(site) == ["ACKED"]
    return consent


async def words(site, kind: str = "ENDED") -> list:
    """What the lead is told, still in its inbox."""
    return [item for item in await site.fetch(site.lead) if item.kind == kind]


def narrowed(site, **changes) -> Terms:
    now = site.clock()
    made = terms_of([to_role(LEAD)], ["IC04"], [PURPOSE], ("DISCLOSE",), now, now + DAY)
    return made if not changes else made.__class__(**{**{f: getattr(made, f) for f in made.__slots__}, **changes})


ENDS = {
    "WITHDRAW": ("WITHDRAWN", {}),
    "SUSPEND": ("SUSPENDED", {}),
    "AMEND": ("SUPERSEDED", {"terms": True}),
}


@pytest.mark.parametrize("act", sorted(ENDS))
async def test_who_holds_data_under_a_consent_is_told_that_it_ended(tmp_path, act):
    site = await ready(tmp_path)
    consent = await received(site)
    code, more = ENDS[act]
    await site.act(site.police, act, consent, **({"terms": narrowed(site)} if more else {}))
    [item] = await words(site)
    told = ConsentEnded.from_bytes(item.body)
    assert (told.seat_id, told.code, told.role) == (site.lead.seat_id, code, site.police.role)
    assert set(told.categories) == ({"IC06"} if more else BOTH)
    assert await states(site) == ["ACKED"]  # what was received stays what it is
    # Nothing of it is told to anybody else, and nothing a second time.
    assert not [one for one in await items(site, site.probation) if one.kind == "ENDED"]
    await site.ack(site.lead, item.item_id)
    await site.act(site.police, "WITHDRAW", consent)
    # The amended terms still covered IC04, and a suspension is not the last word; a withdrawal is.
    assert len(await words(site)) == (0 if act == "WITHDRAW" else 1)


async def test_what_came_with_an_invitation_ends_in_the_seat_that_it_led_to(tmp_path):
    site = await ready(tmp_path)
    await items(site, site.lead)
    await site.act(site.lead, "WITHDRAW", next(iter(site.lead.consents)))
    [item] = [one for one in await site.fetch(site.police) if one.kind == "ENDED"]
    told = ConsentEnded.from_bytes(item.body)
    assert (told.seat_id, told.categories) == (site.police.seat_id, ("IC01", "IC12"))
    await site.ack(site.police, item.item_id)

    async def acks(seat_id):
        return [one.raw.entry_id for one in await trail(site, seat_id) if one.operation == "ACK" and one.payload.code]

    [theirs, _knows] = await acks(site.police.seat_id)
    assert theirs == told.entry_id
    assert len(await acks(site.lead.seat_id)) == 2


async def test_a_block_and_the_end_of_everything_are_told_too(tmp_path):
    site = await ready(tmp_path)
    await received(site)
    blocked = terms_of([to_role(LEAD)], ["IC06"], [], (), site.clock(), None)
    await site.act(site.police, "BLOCK", site.new_id(), terms=blocked)
    [first] = await words(site)
    assert ConsentEnded.from_bytes(first.body).categories == ("IC06",)
    assert ConsentEnded.from_bytes(first.body).code == "BLOCK_IN_FORCE"
    await site.ack(site.lead, first.item_id)
    await site.withdraw_case(site.lead)  # noted by another seat
    [second] = await words(site)
    assert ConsentEnded.from_bytes(second.body).categories == ("IC04",)


async def test_what_another_consent_still_covers_is_not_said_to_have_ended(tmp_path):
    site = await ready(tmp_path)
    first = await received(site)
    second = await grant(site)
    await site.act(site.police, "WITHDRAW", first)
    assert await words(site) == []
    await site.act(site.police, "WITHDRAW", second)
    assert len(await words(site)) == 1


async def test_what_ended_by_itself_is_no_news_when_it_is_withdrawn(tmp_path):
    site = await ready(tmp_path)
    consent = await received(site, days=1)
    site.clock.us += 2 * DAY
    await site.act(site.police, "WITHDRAW", consent)
    assert await words(site) == []


async def test_each_recipients_acknowledgement_reaches_the_discloser_once(tmp_path):
    site = await ready(tmp_path)
    consent = await received(site)
    await site.act(site.police, "WITHDRAW", consent)
    [item] = await words(site)
    assert await notices(site, "end_acknowledged") == []
    await site.ack(site.lead, item.item_id)
    [told] = await notices(site, "end_acknowledged")
    assert (told.seat_id, told.role, told.event_id) == (site.police.seat_id, LEAD, told.event_id)
    assert told.entry_id is not None
    await site.ack(site.lead, item.item_id)
    assert await notices(site, "end_acknowledged") == []


async def test_a_recall_is_acknowledged_too_and_a_refusal_is_no_acknowledgement(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    assert len(await deliveries(site)) == 1  # handed over, not acknowledged
    await items(site, site.police)
    await site.act(site.police, "WITHDRAW", consent, scope=Scope(recipients=(), categories=("IC06",), purposes=()))
    await site.act(site.police, "WITHDRAW", consent)
    first, second = await words(site, "RECALL")
    assert [len(Recall.from_bytes(one.body).digests) for one in (first, second)] == [1, 1]
    await site.ack(site.lead, first.item_id, "REJECT", "HS-SEAL-INVALID")
    assert await notices(site, "end_acknowledged") == []
    await site.ack(site.lead, second.item_id)
    assert len(await notices(site, "end_acknowledged")) == 1


@pytest.mark.parametrize("act", ["WITHDRAW", "SUSPEND", "ANNUL"])
async def test_every_act_that_ends_a_consent_stops_what_waits_under_it(tmp_path, act):
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    assert await states(site) == ["PENDING"]
    await site.act(site.police, act, consent)
    assert await states(site) == ["CANCELLED"]
