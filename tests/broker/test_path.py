"""The way of an event through the verbs of the broker, on a real store with real seals."""

from __future__ import annotations

import pytest

from tests.site import LEAD, Site, assessment, to_role


@pytest.fixture
async def site(tmp_path):
    site = Site(tmp_path / "broker")
    await site.whole_case()
    yield site
    site.close()


async def test_what_is_covered_arrives_and_the_rest_stays(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
        released=frozenset({"IC04", "IC06"}),
    )  # fmt: skip
    await site.take_statements(site.lead)
    assert (await site.submit(site.police, sealed)).accepted == 1
    assert await site.decide() == 1
    items = await site.fetch(site.lead)
    delivery = site.lead.deliveries[-1]
    opened = site.open(site.lead, delivery)
    assert opened.categories == ("IC04",)
    assert opened.merged["threat_level"] == "HIGH"
    assert "recommended_protection" not in opened.merged
    await site.fetch(site.police)
    outcome = site.police.receipts[-1].roles[0]
    assert outcome.outcome == "PARTIAL"
    assert [(s.category, s.released, s.reasons) for s in outcome.sections] == [
        ("IC04", True, ()),
        ("IC06", False, ("CATEGORY_NOT_COVERED",)),
    ]
    result = (await site.ack(site.lead, items[-1].item_id)).results[0]
    assert result.code is None
    assert result == (await site.ack(site.lead, items[-1].item_id)).results[0]


async def test_a_withdrawal_noted_by_probation_stops_what_waits_of_the_police(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], ["THREAT_ASSESSMENT"])
    await site.take_statements(site.lead)
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
        released=frozenset({"IC04", "IC06"}),
    )  # fmt: skip
    await site.submit(site.police, sealed)
    await site.decide()
    answer = await site.withdraw_case(site.probation)
    assert answer.counts == ()
    assert [item for item in await site.fetch(site.lead) if item.kind == "DELIVERY"] == []
    kinds = [item.kind for item in await site.fetch(site.police)]
    assert "LEDGER" in kinds
    assert "NOTICE" in kinds
