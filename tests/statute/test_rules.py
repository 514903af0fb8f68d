"""Disclosing on a law when rule sets change: by the unit's own rules, and what they close goes no further."""

from __future__ import annotations

import pytest

from consent.rules import parse, shipped
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from tests.promises.case import deliveries, notices
from tests.promises.trail import trail
from tests.rules.force import Office, approval, in_force, rows_of, state
from tests.rules.ruling import HEALTH, changed
from tests.rules.test_law import shut

WIDER = (HEALTH, 'categories = ["IC07", "IC08"]')
SHUT = shut("social_services_lead")


async def decided(desk):
    own = await trail(desk.site, desk.unit.seat_id)
    return [one for one in own if one.operation == "STATUTORY_DISCLOSURE"][-1]


async def test_a_statutory_disclosure_is_decided_by_the_rules_of_its_own_unit(desk):
    """What opens has been approved by nobody: the unit is decided by what lies between two files, and says so."""
    before, office = desk.site.rules, Office()
    wider = await in_force(desk.site, office, changed(WIDER))
    assert desk.site.rules.hash32 not in {before.hash32, wider.hash32}
    for by in (before, wider):
        own, desk.site.rules = desk.site.rules, by
        with pytest.raises(HandslagError) as error:
            await desk.disclose()
        assert error.value.code == "HS-RULES-OTHER"
        desk.site.rules = own
    answer, _told = await desk.disclose()
    assert answer.outcome == "RELEASED"
    assert (await decided(desk)).payload.rules_hash == desk.site.rules.hash32
    await state(desk.site, desk.site.lead, approval(desk.site.lead, wider))  # another unit's approval is its own
    assert (await desk.disclose())[0].outcome == "RELEASED"
    await state(desk.site, desk.unit, approval(desk.unit, wider))
    desk.site.rules = wider
    assert (await desk.disclose())[0].outcome == "RELEASED"
    assert (await decided(desk)).payload.rules_hash == wider.hash32


async def test_a_pair_that_closes_is_closed_for_a_law_too(desk):
    """The same file opens something else, so that no unit is decided by it as it stands."""
    await in_force(desk.site, Office(), changed(WIDER, SHUT))
    answer, _told = await desk.disclose()
    assert answer.outcome == "REFUSED"
    assert {reason for section in answer.sections for reason in section.reasons} == {"TYPE_NOT_ALLOWED"}
    assert await rows_of(desk.site) == []


async def test_rules_that_close_a_pair_stop_what_went_on_a_law(desk):
    await desk.disclose()
    office = Office()
    await in_force(desk.site, office, changed(WIDER))
    assert [row.state for row in await rows_of(desk.site)] == ["PENDING"]  # what closes nothing of it stops nothing
    shutting = office.propose(changed(SHUT))
    office.activate(shutting)
    await office.record(desk.site)
    assert [row.state for row in await rows_of(desk.site)] == [DeliveryState.CANCELLED]
    assert await deliveries(desk.site) == []
    [told] = await notices(desk.site, "delivery_cancelled")
    assert set(told.categories) == {"IC04", "IC06"}


async def test_a_release_decision_that_rules_ask_for_since_stops_what_went_without(desk):
    """The decider released one of two; rules that ask for the other stop both: it is whole or not at all."""
    asks_less = changed(('categories = ["IC04", "IC06"]\n\n# Secrecy no', 'categories = ["IC04"]\n\n# Secrecy no'))
    office = Office()
    less = await in_force(desk.site, office, asks_less)
    await state(desk.site, desk.unit, approval(desk.unit, less))
    desk.site.rules = less
    sealed = desk.sealed(public_interest_released=frozenset({"IC04"}))
    told = desk.statement(sealed, public_interest_released=("IC04",))
    assert (await desk.send(desk.request(sealed, told))).outcome == "RELEASED"
    back = parse(shipped()[0] + b"\n# the version after it\n")
    office.propose(shipped()[0].decode() + "\n# the version after it\n")
    office.activate(back)
    await office.record(desk.site)
    assert [row.state for row in await rows_of(desk.site)] == [DeliveryState.CANCELLED]
