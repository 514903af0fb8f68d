"""What goes as an event is disclosed: no consent to talk of it, to read it or to store it lets it go.

The senders here have connectors that do not look; the broker does, and so does the recipient's.
"""

from __future__ import annotations

import pytest

from broker import resolve
from connectors import sealing
from schemas import codes
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.explain import ExplainAsk
from schemas.said import SPOKEN
from tests.promises.case import BOTH, deliveries, items, ready, receipts, sent, states
from tests.promises.test_consent_acts import given, whole
from tests.promises.test_explain import ask
from tests.promises.trail import trail
from tests.site import to_unit

OTHERS = sorted(set(codes.table()["action"]) - {"DISCLOSE"})


@pytest.fixture
async def site(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "check_action", lambda *_: None)
    site = await ready(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("action", OTHERS)
async def test_an_event_goes_under_no_other_action_than_its_own(site, action):
    await given(site, actions=(action,))
    await sent(site, action=action)
    assert await deliveries(site) == []
    (receipt,) = await receipts(site)
    assert (receipt.refused_code, receipt.roles) == ("HS-ACTION-OTHER", ())
    refusals = [one for one in await trail(site, site.police.seat_id) if one.operation == "REFUSAL"]
    assert [one.payload.code for one in refusals] == ["HS-ACTION-OTHER"]
    await sent(site)  # and a consent to that action is none to disclose
    assert await deliveries(site) == []
    await given(site, actions=("DISCLOSE", action))
    await sent(site)  # control: what was consented to goes as what it is
    assert len(await deliveries(site)) == 1


@pytest.mark.parametrize("action", OTHERS)
async def test_what_is_blocked_for_disclosing_goes_under_no_other_action(site, action):
    await given(site, actions=("DISCLOSE", action))
    await sent(site)
    assert len(await deliveries(site)) == 1  # control
    said = whole(site, recipients=(), categories=(), purposes=(), actions=("DISCLOSE",))
    await site.act(site.police, "BLOCK", site.new_id(), terms=said)
    await items(site, site.police)
    await sent(site)
    await sent(site, action=action)
    assert await states(site) == ["RECALLED"]  # the block took the first one back, and nothing came beside it
    withheld, refused = await receipts(site)
    assert {reason for one in withheld.roles[0].sections for reason in one.reasons} >= {"BLOCK_IN_FORCE"}
    assert refused.refused_code == "HS-ACTION-OTHER"


async def test_an_invitation_goes_under_no_other_action_than_its_own(site):
    unit = site.probation
    await site.grant(site.lead, [to_unit(unit.code)], ["IC01", "IC12"], ["INTAKE"], actions=("READ", "DISCLOSE"))
    with pytest.raises(HandslagError) as caught:
        await site.invite(unit, action="READ")
    assert (caught.value.code, caught.value.context) == ("HS-ACTION-OTHER", {"field": "action"})
    assert [one for one in await site.fetch(unit) if one.kind == "INVITATION"] == []
    await site.invite(unit)  # control
    assert len([one for one in await site.fetch(unit) if one.kind == "INVITATION"]) == 1


async def test_what_was_sent_under_another_action_is_not_opened(site, monkeypatch):
    """A broker that does not look either hands it over; nothing of it is used."""
    monkeypatch.setattr(resolve, "check_action", lambda *_: None)
    await given(site, actions=("DISCLOSE", "ORAL_DISCUSS"))
    await sent(site, action="ORAL_DISCUSS")
    await sent(site)
    other, own = [Delivery.from_bytes(item.body, 1 << 20) for item in await deliveries(site)]
    with pytest.raises(HandslagError) as caught:
        site.open(site.lead, other)
    assert (caught.value.code, caught.value.context) == ("HS-ACTION-OTHER", {"field": "action"})
    assert set(site.open(site.lead, own).categories) == set(BOTH)  # control


@pytest.mark.parametrize("action", OTHERS)
async def test_nobody_is_told_that_an_event_might_go_under_another_action(site, action):
    await given(site, actions=("DISCLOSE", action))
    with pytest.raises(HandslagError) as caught:
        await ask(site, action=action)
    assert caught.value.code == "HS-ACTION-OTHER"
    assert (await ask(site)).outcome == "RELEASED"  # control


async def test_of_what_is_said_only_the_actions_of_a_manner_are_asked_about(site):
    sections = (ExplainAsk(category="IC04", persons=(0,), public_interest_released=True),)
    for action in codes.table()["action"]:
        if action in {row["action"] for row in codes.table()["manner"].values()}:
            await ask(site, event_type=SPOKEN, action=action, sections=sections)
        else:
            with pytest.raises(HandslagError, match="HS-ACTION-OTHER"):
                await ask(site, event_type=SPOKEN, action=action, sections=sections)
