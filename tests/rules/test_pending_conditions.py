"""Deliveries that wait while rules change what a consent must fulfil: a duty, a coded condition, a child's own word."""

from __future__ import annotations

from dataclasses import replace

from schemas.acts import Giver, MinorGround, Reservation
from schemas.codes import DeliveryState
from tests.promises.case import PURPOSE, deliveries, sent
from tests.rules.force import Office, approval, in_force, rows_of, state
from tests.rules.ruling import POLICE, changed
from tests.rules.test_conditions import HALF, MINOR, YOUNG, block
from tests.site import DAY, LEAD, terms_of, to_role


async def given(site, **more):
    now = site.clock()
    terms = terms_of([to_role(LEAD)], ["IC04", "IC06"], [PURPOSE], ("DISCLOSE",), now, now + 30 * DAY)
    await site.act(site.police, "GRANT", site.new_id(), terms=replace(terms, **more))


def young(site, band: str, maturity: str):
    """What two guardians gave, without the child's own word."""
    now = site.clock()
    until = now + 20 * DAY
    return {
        "minor": MinorGround(
            rule_id="L6", age_band=band, maturity=maturity, child_view="AGREES", guardians=2, guardians_excluded=0,
            reassess_at_us=until,
        ),
        "givers": tuple(
            Giver(person=person, capacity="GUARDIAN", method="WRITTEN", at_us=now, authority_from_us=0,
                  authority_until_us=until)
            for person in (2, 3)
        ),
    }  # fmt: skip


async def states(site):
    return [row.state for row in await rows_of(site)]


async def test_a_duty_that_rules_add_stops_what_goes_without_it(site):
    await given(site)
    await sent(site)
    assert await states(site) == [DeliveryState.PENDING]
    await in_force(site, Office(), changed((POLICE, POLICE + '\nobligations = ["NO_ONWARD"]')))
    assert await states(site) == [DeliveryState.CANCELLED]
    await sent(site)
    assert len(await deliveries(site)) == 1
    assert site.lead.deliveries[-1].obligations == ("NO_ONWARD",)


async def test_a_duty_that_rules_drop_stays_until_the_discloser_approves(site):
    office = Office()
    await in_force(site, office, changed((POLICE, POLICE + '\nobligations = ["NO_ONWARD"]')))
    await given(site)
    await sent(site)
    await in_force(site, office, changed(("# --- event types", "# back\n# --- event types")))
    assert await states(site) == [DeliveryState.PENDING]


async def test_a_coded_condition_that_rules_make_stricter_stops_what_waits(site):
    await given(site, reservations=(Reservation(code="NO_ORAL"),))
    await sent(site)
    assert await states(site) == [DeliveryState.PENDING]
    denies = '["ORAL_DISCUSS", "DISCLOSE"]'
    await in_force(site, Office(), changed((block("NO_ORAL"), block("NO_ORAL").replace('["ORAL_DISCUSS"]', denies))))
    assert await states(site) == [DeliveryState.CANCELLED]


async def test_a_child_s_own_word_that_rules_ask_for_stops_what_went_without(site):
    await given(site, **young(site, *YOUNG[:2]))
    await sent(site)
    assert await states(site) == [DeliveryState.PENDING]
    asked = MINOR.format(*YOUNG).replace("cosign = false", "cosign = true")
    await in_force(site, Office(), changed((MINOR.format(*YOUNG), asked)))
    assert await states(site) == [DeliveryState.CANCELLED]


async def test_a_child_s_own_word_is_dropped_for_nobody_who_did_not_approve(site):
    await given(site, **young(site, *HALF[:2]))
    office = Office()
    milder = MINOR.format(*HALF).replace("cosign = true", "cosign = false")
    rules = await in_force(site, office, changed((MINOR.format(*HALF), milder)))
    await sent(site)
    assert await states(site) == []
    await state(site, site.police, approval(site.police, rules))
    site.rules = rules
    await sent(site)
    assert await states(site) == [DeliveryState.PENDING]
