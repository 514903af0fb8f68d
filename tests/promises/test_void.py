"""A case that never was one: everything of every discloser stops, everybody who was given something is told."""

from __future__ import annotations

import os

import pytest

from broker import acts
from schemas.acts import CaseWithdrawal
from schemas.calls import CloseRequest, ConsentsRequest
from schemas.errors import HandslagError
from tests.promises.case import deliveries, grant, notices, ready, sent, states
from tests.promises.test_annul import answered, handed, listed, told
from tests.promises.test_explain import suppose
from tests.site import LEAD, PROBATION, Site, Unit, to_role

ALL = bytes(16)


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def void(site: Site, unit: Unit | None = None, method: str = "CASE_VOID_WRONG_PERSON"):
    unit = unit or site.lead
    assert unit.members is not None
    body = CaseWithdrawal(
        case_tag=unit.members.case_tag, recorder=unit.member, withdrawal_id=os.urandom(16), effective_at_us=0,
        method=method, actor_ref="handläggare 1", assurance="ASSERTED", noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    request = ConsentsRequest(call_id=os.urandom(16), seat_id=unit.seat_id, act=body, signature=unit.seat.sign(body))
    return await acts.consents(site.context, unit.code, request)


async def test_what_would_be_refused_in_a_void_case_is_said_before(site):
    consent = await grant(site)
    await site.act(site.police, "SUSPEND", consent)
    assert (await suppose(site, "RESUME", consent)).refused is None  # control
    await void(site)
    assert (await suppose(site, "RESUME", consent)).refused == "HS-CASE-VOID"


async def test_everything_of_every_discloser_stops(site):
    await grant(site)
    await handed(site)
    await handed(site, ack=False)
    await sent(site)
    await void(site)
    assert sorted(await states(site)) == ["ACKED", "CANCELLED", "RECALLED"]
    await sent(site)
    assert await deliveries(site) == []


async def test_a_void_case_tells_every_recipient_of_every_discloser(site):
    """The police's assessment at the lead, and the lead's invitations at the police and at probation."""
    await grant(site)
    item = await handed(site)
    await void(site)
    for unit, releases in ((site.lead, 1), (site.police, 1), (site.probation, 1)):
        found = await told(site, unit)
        assert len(found) == releases
        assert {one.ground for one in found} == {"WRONG_PERSON"}
    assert [one.delivery_id for one in await listed(site, ALL)] == [item.item_id]
    assert {one.role for one in await listed(site, ALL, site.lead)} == {site.police.role, PROBATION}


async def test_every_discloser_is_told_and_answers_come_back(site):
    await grant(site)
    await handed(site)
    await void(site, method="CASE_VOID")
    (heard,) = await notices(site, "case_void", site.police)
    assert (heard.detail, heard.seat_id) == ("CONSENT_INVALID", site.police.seat_id)
    (notice,) = await told(site)
    await answered(site, notice, "ERASED")
    assert [one.verdict for one in await listed(site, ALL)] == ["ERASED"]


async def test_nothing_is_granted_in_a_void_case(site):
    first = await grant(site)
    await void(site)
    with pytest.raises(HandslagError) as refused:
        await site.grant(site.probation, [to_role(LEAD)], ["IC13"], ["PLANNING"])
    assert refused.value.code == "HS-CASE-VOID"
    ledger = await site.ledger_of(site.police)
    site.police.head = ledger[-1].head
    await site.act(site.police, "WITHDRAW", first)  # the control: what narrows is taken for ever


async def test_only_the_lead_declares_a_case_void(site):
    await grant(site)
    for unit in (site.police, site.probation):
        with pytest.raises(HandslagError) as refused:
            await void(site, unit)
        assert refused.value.code == "HS-SENDER-NOT-ALLOWED"
    await sent(site)
    assert len(await deliveries(site)) == 1


async def test_a_discloser_that_has_left_is_one_all_the_same(site):
    from broker import cases

    await grant(site)
    item = await handed(site)
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id)
    await cases.close(site.context, site.police.code, request)
    await void(site)
    assert [one.delivery_id for one in await told(site)] == [item.item_id]
    assert [one.delivery_id for one in await listed(site, ALL)] == [item.item_id]
    assert len(await notices(site, "case_void", site.police)) == 1


async def test_the_persons_own_withdrawal_is_none(site):
    """The control: the same statement with the person's own word tells nobody to lock anything."""
    await grant(site)
    await handed(site)
    await site.withdraw_case(site.lead)
    assert await told(site) == []
    assert await notices(site, "case_void", site.police) == []
