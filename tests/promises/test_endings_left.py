"""What a discloser gave that has left the case is taken back with the rest, and who left is told nothing of it."""

from __future__ import annotations

import os

import pytest

from broker import cases
from connectors import membership
from schemas.acts import ConsentAct
from schemas.calls import CloseRequest, StateRequest
from schemas.codes import SeatState
from tests.admin.erasing import begun
from tests.promises.case import BOTH, grant, items, ready, sent
from tests.promises.test_consent_acts import given
from tests.promises.test_endings import received
from tests.promises.test_endings_beside import told
from tests.promises.trail import trail
from tests.promises.two_cases import two_cases
from tests.site import LEAD, to_role


async def removed(site) -> None:
    """The lead takes the police out of the case."""
    said = membership.remove_statement(
        members=site.lead.members, lead=site.lead.seat, member=site.police.member, at_us=site.clock()
    )
    request = StateRequest(call_id=os.urandom(16), seat_id=site.lead.seat_id, statement=said)
    await cases.state(site.context, site.lead.code, request)


async def closed(site) -> None:
    """The police leave by themselves."""
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id)
    await cases.close(site.context, site.police.code, request)


async def acts_of(site) -> list[str]:
    return [ConsentAct.from_bytes(event.act).act for event in await site.ledger_of(site.police)]


@pytest.mark.parametrize("leaves", [removed, pytest.param(closed, marks=pytest.mark.long)])
async def test_a_withdrawal_reaches_what_a_discloser_gave_that_left(tmp_path, leaves):
    site = await ready(tmp_path)
    await given(site)
    await received(site)
    await leaves(site)
    assert await told(site) == []
    await site.withdraw_case(site.probation)
    assert await told(site) == [("WITHDRAWN", BOTH)]
    await site.withdraw_case(site.lead)
    assert await told(site) == []
    assert await acts_of(site) == ["GRANT", "WITHDRAW_ALL"]  # what is over there needs no more said


async def test_who_left_is_told_nothing_of_what_came_after(tmp_path):
    """Neither that the person took everything back nor that its recipient knows: its own trail has both."""
    site = await ready(tmp_path)
    await given(site)
    await received(site)
    await items(site, site.police)
    await removed(site)
    await items(site, site.police)
    await site.withdraw_case(site.probation)
    assert await told(site) == [("WITHDRAWN", BOTH)]  # and acknowledged
    assert await site.fetch(site.police) == []
    found = [(one.operation, one.payload.code) for one in await trail(site, site.police.seat_id)]
    assert [one[1] for one in found[-2:]] == ["HS-CONSENT-ENDED", "HS-END-KNOWN"]
    assert found[-3][0] == "CONSENT_EVENT"


async def test_who_left_and_gave_nothing_has_nothing_written_on_its_ledger(tmp_path):
    site = await ready(tmp_path)
    await given(site)
    await sent(site)  # nobody fetched it
    await removed(site)
    await site.withdraw_case(site.probation)
    assert await acts_of(site) == ["GRANT"]


async def test_a_withdrawal_passes_an_erased_discloser_by(tmp_path):
    """Nothing of it is here any more, and the withdrawal does not fail for it."""
    home = await begun(tmp_path)
    site = home.site
    await home.administrators()
    if (await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))).state != SeatState.CLOSED:
        await closed(site)
    await items(site, site.lead)
    await items(site, site.police)
    await home.erased(site.police)
    await site.withdraw_case(site.probation)
    assert await told(site) == []


async def test_who_holds_data_in_the_other_case_is_told_when_the_two_are_joined(tmp_path):
    """What the person took back in the one before they were joined."""
    two = await two_cases(tmp_path)
    site = two.use(two.other)
    await grant(site)
    await received(site)
    site = two.use(two.one)
    await site.grant(site.probation, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    await site.withdraw_case(site.probation)
    await two.join()
    site = two.use(two.other)
    assert await told(site) == [("WITHDRAWN", BOTH)]
    two.site.close()
