"""What went on a law, when the case is declared void: of the wrong person it stops and is told, else it stands."""

from __future__ import annotations

import pytest

from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from tests.promises.case import deliveries
from tests.promises.test_annul import answered, listed, told
from tests.promises.test_void import ALL, void
from tests.rules.force import rows_of


async def received(desk):
    """One disclosure that the lead has acknowledged."""
    await desk.disclose()
    (item,) = await deliveries(desk.site)
    await desk.site.ack(desk.site.lead, item.item_id)
    return item


async def test_what_went_on_a_law_about_the_wrong_person_is_told(desk):
    item = await received(desk)
    await void(desk.site)
    notices = [one for one in await told(desk.site) if one.delivery_id == item.item_id]
    assert [one.ground for one in notices] == ["WRONG_PERSON"]
    await answered(desk.site, notices[0], "ERASED")
    assert [(one.delivery_id, one.verdict) for one in await listed(desk.site, ALL)] == [(item.item_id, "ERASED")]


async def test_nothing_goes_on_a_law_about_the_wrong_person(desk):
    await desk.disclose()
    await void(desk.site)
    assert [row.state for row in await rows_of(desk.site)] == [DeliveryState.CANCELLED]
    with pytest.raises(HandslagError) as error:
        await desk.disclose()
    assert error.value.code == "HS-CASE-VOID"


async def test_a_case_without_a_valid_consent_leaves_laws_alone(desk):
    """The law never asked for the consent that was none: what waits goes, nobody is told, and more may be decided."""
    item = await received(desk)
    await desk.disclose()
    await void(desk.site, method="CASE_VOID")
    assert [row.state for row in await rows_of(desk.site)] == [DeliveryState.ACKED, DeliveryState.PENDING]
    assert not [one for one in await told(desk.site) if one.delivery_id == item.item_id]
    answer, _told = await desk.disclose()
    assert answer.outcome == "RELEASED"
