"""The way of an event through the verbs of the broker, on a real store with real seals."""

from __future__ import annotations

import pytest

from broker import cases
from broker.worker import drain
from connectors import membership
from schemas.calls import StateRequest
from schemas.errors import HandslagError
from schemas.inbox import StatementNotice
from tests.site import LEAD, POLICE, Site, assessment, to_role, to_unit


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


async def test_an_invitation_is_worth_no_more_than_its_consent(tmp_path):
    site = Site(tmp_path / "broker")
    await site.admit()
    await site.open_case()
    consent = await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    await site.invite(site.police)
    item = next(i for i in await site.fetch(site.police) if i.kind == "INVITATION")
    await site.ack(site.police, item.item_id)
    await site.act(site.lead, "WITHDRAW", consent)
    with pytest.raises(HandslagError, match="HS-INVITATION-INVALID"):
        await site.join_with(site.police, item)
    await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    await site.join_with(site.police, item)
    site.close()


async def test_who_had_a_member_s_keys_learns_of_its_removal(site):
    await site.grant(site.probation, [to_role(POLICE)], ["IC05"], ["REENTRY"])
    await site.take_statements(site.police)
    removed = membership.remove_statement(
        members=site.lead.members, lead=site.lead.seat, member=site.probation.member, at_us=site.clock()
    )
    await cases.state(
        site.context, site.lead.code, StateRequest(call_id=bytes(16), seat_id=site.lead.seat_id, statement=removed)
    )
    told = [StatementNotice.from_bytes(i.body) for i in await site.fetch(site.police) if i.kind == "STATEMENT"]
    assert [s.statement for notice in told for s in notice.statements] == [removed.statement]
    assert not [i for i in await site.fetch(site.lead) if i.kind == "STATEMENT"]


async def test_a_record_that_does_not_decode_blocks_nobody(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    await site.take_statements(site.lead)
    bucket = (await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))).bucket
    await site.context.stream.append({bucket: [b"\xc3\x01 of another version"]})
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
        released=frozenset({"IC04", "IC06"}),
    )  # fmt: skip
    await site.submit(site.police, sealed)
    await drain(site.context, bucket)
    assert [item.kind for item in await site.fetch(site.lead)] == ["DELIVERY"]
    assert [error.code for error in site.faults] == ["HS-SCHEMA-UNKNOWN"]


async def test_a_unit_takes_only_roles_that_its_agency_listed(tmp_path):
    site = Site(tmp_path / "broker")
    await site.admit()
    site.lead.keys, site.police.keys = site.police.keys, site.lead.keys
    site.lead.code, site.police.code = site.police.code, site.lead.code
    with pytest.raises(HandslagError, match="HS-STATE-INVALID"):
        await site.open_case()
    site.close()


async def test_nobody_joins_after_the_person_took_everything_back(tmp_path):
    site = Site(tmp_path / "broker")
    await site.admit()
    await site.open_case()
    await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    await site.invite(site.police)
    item = next(i for i in await site.fetch(site.police) if i.kind == "INVITATION")
    await site.ack(site.police, item.item_id)

    async def everything_back():
        await site.withdraw_case(site.lead)

    with pytest.raises(HandslagError, match="HS-INVITATION-INVALID"):
        await site.join_with(site.police, item, between=everything_back)
    site.close()


async def test_an_act_that_no_answer_could_carry_is_not_recorded(site):
    with pytest.raises(HandslagError, match="HS-TOO-LARGE"):
        await site.act(site.police, "BLOCK", bytes(16), terms=None, actor_ref="x" * 20_000)
    assert (await site.withdraw_case(site.probation)).ledger_seq == 1


async def test_what_is_sealed_to_another_key_is_not_said_to_be_released(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    await site.take_statements(site.lead)
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
        released=frozenset({"IC04", "IC06"}),
    )  # fmt: skip
    await site.submit(site.police, sealed, keys={LEAD: site.probation.seat.public})
    await site.decide()
    await site.fetch(site.police)
    assert site.police.receipts[-1].roles[0].outcome == "WITHHELD"
    assert [i.kind for i in await site.fetch(site.lead)] == []
    await site.submit(site.police, sealed, number=2)
    await site.decide()
    assert [i.kind for i in await site.fetch(site.lead)] == ["DELIVERY"]


async def test_what_was_sent_first_is_handed_over_first(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], ["THREAT_ASSESSMENT"])
    await site.take_statements(site.lead)
    sent = []
    for back_us in (0, 0, 0, 0, 0, 0, 3_000_000, 3_000_000, 3_000_000):  # one instant, then a clock that ran back
        site.clock.us -= back_us
        sent.append(site.new_id())
        sealed = site.sealed(
            site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
            released=frozenset({"IC04", "IC06"}), event_id=sent[-1],
        )  # fmt: skip
        await site.submit(site.police, sealed)
        if len(sent) > 5:
            await site.decide()
    await site.fetch(site.lead)
    opened = [site.open(site.lead, delivery) for delivery in site.lead.deliveries]
    assert [one.core.event_id for one in opened] == sent
