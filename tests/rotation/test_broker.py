"""The broker's side of a rotation: whose statements it takes, which wraps, and what becomes of those to a gone key."""

from __future__ import annotations

import os

import pytest

from broker import rotation
from connectors.keys import SeatKeyPair
from connectors.rotating import confirm_statement, rotate_statement
from schemas.calls import DestroyedRequest, StateRequest
from schemas.errors import HandslagError
from tests.promises import case as cases
from tests.promises.case import grant, notices, receipts, sent, states
from tests.site import LEAD, Site, Unit


@pytest.fixture
async def site(tmp_path):
    made = await cases.ready(tmp_path)
    yield made
    made.close()


async def posted(site: Site, unit: Unit, statement) -> None:
    request = StateRequest(call_id=os.urandom(16), seat_id=unit.seat_id, statement=statement)
    await rotation.state(site.context, unit.code, request)


async def refused(site: Site, unit: Unit, statement) -> str:
    with pytest.raises(HandslagError) as caught:
        await posted(site, unit, statement)
    return caught.value.code


def rotating(site: Site, unit: Unit):
    new = SeatKeyPair.generate()
    call = {"members": unit.members, "member": unit.member, "old": unit.seat, "new": new.public}
    return new, rotate_statement(**call, at_us=site.clock())


async def gone(site: Site, unit: Unit, key: SeatKeyPair) -> None:
    request = DestroyedRequest(call_id=os.urandom(16), seat_id=unit.seat_id, seat_key_id=key.key_id)
    await rotation.destroyed(site.context, unit.code, request)


async def test_a_wrap_to_a_key_that_is_gone_is_not_handed_over(site):
    await grant(site)
    old = {LEAD: site.lead.seat.public}
    new, statement = rotating(site, site.lead)
    await posted(site, site.lead, statement)
    first = cases.event(site)
    await site.submit(site.police, first, keys=old)
    await site.decide()
    assert await states(site) == ["PENDING"]  # the key before is good until it is said to be destroyed
    await gone(site, site.lead, site.lead.seat)
    assert await states(site) == ["RESEAL"]
    [told] = await notices(site, "delivery_reseal")
    assert (told.attempt, told.role, told.categories) == (1, LEAD, ("IC04", "IC06"))
    second = cases.event(site)
    await site.submit(site.police, second, keys=old)
    await site.decide()
    assert await states(site) == ["RESEAL", "RESEAL"]
    assert await cases.deliveries(site) == []
    for sealed in (first, second):
        await site.submit(site.police, sealed, number=2, keys={LEAD: new.public})
        await site.decide()
    assert sorted(await states(site)) == ["PENDING", "PENDING", "RESEAL", "RESEAL"]
    assert len(await cases.deliveries(site)) == 2
    with pytest.raises(HandslagError):
        await gone(site, site.lead, new)  # the present key is not destroyed


async def test_a_wrap_to_the_key_of_another_is_withheld_as_before(site):
    await grant(site)
    sealed = cases.event(site)
    await site.submit(site.police, sealed, keys={LEAD: site.probation.seat.public})
    await site.decide()
    assert [one.roles[0].outcome for one in await receipts(site)] == ["WITHHELD"]
    assert await states(site) == []


async def test_the_broker_takes_a_rotation_once_and_only_from_its_own_seat(site):
    new, statement = rotating(site, site.police)
    _other, second = rotating(site, site.police)
    assert await refused(site, site.lead, statement) == "HS-STATE-INVALID"
    assert await refused(site, site.probation, statement) == "HS-STATE-INVALID"
    await posted(site, site.police, statement)
    assert await refused(site, site.police, second) == "HS-STATE-INVALID"  # another of the same number
    view = site.lead.members.applied(statement)
    rotated = view.members[site.police.member]
    word = {"members": view, "rotated": rotated, "at_us": site.clock()}
    by_lead = confirm_statement(**word, signer=site.lead.member, keys=site.lead.seat)
    forged = confirm_statement(**word, signer=site.lead.member, keys=SeatKeyPair.generate())
    by_another = confirm_statement(**word, signer=site.probation.member, keys=site.probation.seat)
    assert await refused(site, site.lead, forged) == "HS-SIGNATURE-INVALID"
    assert await refused(site, site.probation, by_another) == "HS-STATE-INVALID"
    await site.take_statements(site.police)
    await posted(site, site.lead, by_lead)
    await site.take_statements(site.police)  # the word comes with the statement it is for
    assert site.police.members.sender(new.key_id, site.clock()).member == site.police.member


async def test_an_act_signed_before_a_rotation_is_taken_after_it(site):
    _new, statement = rotating(site, site.police)
    await posted(site, site.police, statement)
    await grant(site)  # signed with the key before
    await sent(site)
    assert await states(site) == ["PENDING"]
