"""A consent that was never one: stopped at once, every release found, every recipient told, no other, and heard."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select

from broker import annulments
from broker.store import tables
from schemas.acts import Scope
from schemas.errors import HandslagError
from schemas.inbox import Recall
from schemas.said import AnnulAnswerRequest, AnnulmentsRequest, AnnulNotice
from tests.promises.case import deliveries, grant, items, notices, ready, sent, states
from tests.promises.trail import trail
from tests.site import LEAD, Site, Unit, to_role


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def handed(site: Site, ack: bool = True):
    await sent(site)
    item = (await deliveries(site))[-1]
    if ack:
        await site.ack(site.lead, item.item_id)
    return item


async def told(site: Site, unit: Unit | None = None) -> list[AnnulNotice]:
    found = await items(site, unit or site.lead)
    return [AnnulNotice.from_bytes(item.body) for item in found if item.kind == "ANNULMENT"]


async def listed(site: Site, consent: bytes, unit: Unit | None = None):
    unit = unit or site.police
    request = AnnulmentsRequest(seat_id=unit.seat_id, consent_id=consent)
    return (await annulments.listed(site.context, unit.code, request)).releases


async def answered(site: Site, notice: AnnulNotice, verdict: str, reason: str | None = None, unit: Unit | None = None):
    request = AnnulAnswerRequest(
        call_id=os.urandom(16), notice_id=notice.notice_id, verdict=verdict, reason=reason, actor_ref="handläggare 2",
        assurance="ASSERTED",
    )  # fmt: skip
    return await annulments.answer(site.context, (unit or site.lead).code, request)


@pytest.mark.parametrize("act", ["ANNUL", "ANNUL_WRONG_PERSON"])
async def test_annulling_stops_at_once(site, act):
    consent = await grant(site)
    await handed(site)  # acknowledged
    await handed(site, ack=False)  # on its way
    await sent(site)  # waits
    answer = await site.act(site.police, act, consent)
    assert [(c.stopped, c.may_have_arrived, c.received) for c in answer.counts] == [(1, 1, 1)]
    assert sorted(await states(site)) == ["ACKED", "CANCELLED", "RECALLED"]
    await sent(site)
    assert await deliveries(site) == []
    assert len(await states(site)) == 3


async def test_the_decision_says_that_it_was_never_valid(site):
    consent = await grant(site)
    before = site.clock()
    await site.act(site.police, "ANNUL", consent)
    seat = await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))
    view = (await site.store.read(lambda rows: site.context.views.of(rows, [seat])))[seat.seat_id]
    (known,) = [each for each in view.grants if each.consent_id == consent]
    assert known.end_us < before
    assert known.ended(before) != 0
    # Asked with what was known before the annulment, it covers as it did: what was decided then stays decided.
    (then,) = [each for each in view.as_known(ledger_seq=view.ledger_seq - 1).grants if each.consent_id == consent]
    assert then.ended(before) == 0


async def test_every_recipient_is_told_and_no_other(site):
    consent = await grant(site)
    other = await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["PROTECTION"])
    assert other != consent
    first, second = await handed(site), await handed(site, ack=False)
    await sent(site)  # never handed over: nobody is told of it
    await site.act(site.police, "ANNUL_WRONG_PERSON", consent)
    found = await told(site)
    assert {one.delivery_id for one in found} == {first.item_id, second.item_id}
    assert {(one.ground, one.from_role, one.seat_id) for one in found} == {
        ("WRONG_PERSON", site.police.role, site.lead.seat_id)
    }
    assert await told(site, site.probation) == []
    assert sorted((one.state_before, one.categories) for one in await listed(site, consent)) == [
        ("ACKED", ("IC04", "IC06")), ("HANDED", ("IC04", "IC06"))
    ]  # fmt: skip


async def test_the_act_lists_every_release_to_the_discloser(site):
    consent = await grant(site)
    first, second = await handed(site), await handed(site, ack=False)
    answer = await site.act(site.police, "ANNUL", consent)
    assert {one.delivery_id for one in answer.affected} == {first.item_id, second.item_id}
    last = [r.payload for r in await trail(site, site.police.seat_id) if r.operation == "CONSENT_EVENT"][-1]
    assert last.affected == answer.affected
    for seat in (site.police.seat_id, site.lead.seat_id):
        codes = [r.payload.code for r in await trail(site, seat) if r.operation == "ACK"]
        assert codes.count("HS-DO-NOT-RELY") == 2


async def test_what_was_released_on_another_consent_is_left_alone(site):
    consent = await grant(site)
    kept = await handed(site)
    wrong = await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["PROTECTION"])
    await site.act(site.police, "ANNUL", wrong)
    assert await told(site) == []
    assert await listed(site, wrong) == ()
    await site.act(site.police, "ANNUL", consent)
    assert [one.delivery_id for one in await told(site)] == [kept.item_id]


async def test_a_release_that_rests_on_another_consent_by_now_is_listed(site):
    """Handed over on the first; the first is withdrawn, the second covers; then the first turns out to be none."""
    first = await grant(site)
    item = await handed(site, ack=False)
    second = await grant(site, days=20)
    await site.act(site.police, "WITHDRAW", first)
    assert await states(site) == ["HANDED"]
    await site.ack(site.lead, item.item_id)
    await site.act(site.police, "ANNUL", first)
    assert [one.delivery_id for one in await told(site)] == [item.item_id]
    await site.act(site.police, "ANNUL", second)
    assert [one.delivery_id for one in await listed(site, second)] == [item.item_id]


async def test_a_section_that_was_never_handed_over_is_no_release(site):
    consent = await grant(site)
    await sent(site)
    part = Scope(recipients=(), categories=("IC06",), purposes=())
    await site.act(site.police, "WITHDRAW", consent, scope=part)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await site.act(site.police, "ANNUL", consent)
    (notice,) = await told(site)
    assert len(notice.digests) == 1  # nothing tells the recipient that there was more
    assert [one.categories for one in await listed(site, consent)] == [("IC04",)]


async def test_an_invitation_under_it_is_found_too(site):
    """The name went out with the invitation: the unit that was invited is told."""
    consent = next(iter(site.lead.consents))
    await site.act(site.lead, "ANNUL_WRONG_PERSON", consent)
    (notice,) = await told(site, site.police)
    assert notice.invitation_id is not None
    assert notice.seat_id == site.police.seat_id
    (release,) = await listed(site, consent, site.lead)
    assert (release.event_type, release.categories) == ("seat_invited", ("IC01", "IC12"))


async def test_what_was_not_fetched_is_recalled_with_the_reason(site):
    consent = await grant(site)
    await handed(site, ack=False)
    await site.act(site.police, "ANNUL", consent)
    (recall,) = [Recall.from_bytes(i.body) for i in await items(site, site.lead) if i.kind == "RECALL"]
    assert recall.code == "INVALIDATED"


@pytest.mark.parametrize(
    ("verdict", "reason", "code", "detail"),
    [
        ("LOCKED", None, "annul_acknowledged", "LOCKED"),
        ("ERASED", None, "annul_acknowledged", "ERASED"),
        ("KEPT", "EVIDENCE", "annul_kept", "EVIDENCE"),
    ],
)
async def test_the_answer_reaches_the_discloser_and_both_trails(site, verdict, reason, code, detail):
    consent = await grant(site)
    await handed(site)
    await site.act(site.police, "ANNUL", consent)
    (notice,) = await told(site)
    await answered(site, notice, verdict, reason)
    (release,) = await listed(site, consent)
    assert (release.verdict, release.reason, release.answered_at_us is not None) == (verdict, reason, True)
    (heard,) = await notices(site, code)
    assert (heard.detail, heard.role, heard.categories) == (detail, LEAD, ("IC04", "IC06"))
    for seat in (site.police.seat_id, site.lead.seat_id):
        assert detail in [r.payload.code for r in await trail(site, seat) if r.operation == "ACK"]


async def test_a_later_answer_takes_the_place_of_an_earlier_one(site):
    consent = await grant(site)
    await handed(site)
    await site.act(site.police, "ANNUL", consent)
    (notice,) = await told(site)
    await answered(site, notice, "KEPT", "EVIDENCE")
    await answered(site, notice, "ERASED")
    assert [(one.verdict, one.reason) for one in await listed(site, consent)] == [("ERASED", None)]


async def test_nobody_answers_for_another_unit(site):
    consent = await grant(site)
    await handed(site)
    await site.act(site.police, "ANNUL", consent)
    (notice,) = await told(site)
    for unit in (site.police, site.probation):
        with pytest.raises(HandslagError) as foreign:
            await answered(site, notice, "LOCKED", unit=unit)
        assert foreign.value.code == "HS-ITEM-GONE"
    with pytest.raises(HandslagError) as unlisted:
        await listed(site, consent, Unit(site.lead.code, site.lead.role, seat_id=site.police.seat_id))
    assert unlisted.value.code == "HS-SEAT-UNKNOWN"


@pytest.mark.parametrize(("verdict", "reason"), [("KEPT", None), ("LOCKED", "EVIDENCE"), ("SOLD", None), ("KEPT", "X")])
async def test_an_answer_has_its_form(site, verdict, reason):
    consent = await grant(site)
    await handed(site)
    await site.act(site.police, "ANNUL", consent)
    (notice,) = await told(site)
    with pytest.raises(HandslagError) as refused:
        await answered(site, notice, verdict, reason)
    assert refused.value.code == "HS-CODE-UNKNOWN"


async def test_a_part_or_a_time_cannot_be_annulled(site):
    consent = await grant(site)
    for how in ({"scope": Scope(recipients=(), categories=("IC04",), purposes=())}, {"effective_at_us": site.clock.us}):
        with pytest.raises(HandslagError) as refused:
            await site.act(site.police, "ANNUL", consent, **how)
        assert refused.value.code == "HS-GRANT-INCOMPLETE"
    await sent(site)
    assert len(await deliveries(site)) == 1  # the control: it still holds


async def test_each_ground_is_told_once(site):
    """First it seemed invalid, then it was the wrong person: that is another notice, and a second of either is none."""
    consent = await grant(site)
    await handed(site)
    for act in ("ANNUL", "ANNUL_WRONG_PERSON", "ANNUL"):
        await site.act(site.police, act, consent)
    assert [one.ground for one in await told(site)] == ["CONSENT_INVALID", "WRONG_PERSON"]
    rows = await site.store.read(lambda rows: rows.gate._c.execute(select(tables.annul_notice)).all())
    assert len(rows) == 2
