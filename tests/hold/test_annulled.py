"""Annulments and void cases after the copy: everybody hears of them again, nobody twice of one thing."""

from __future__ import annotations

import os

import pytest

from schemas.acts import CaseWithdrawal
from schemas.hold import RecordedWithdrawal
from schemas.said import AnnulNotice
from tests.evil.house import assessment
from tests.hold.lost import world
from tests.hold.restored import copied
from tests.promises.case import deliveries, grant, items, notices
from tests.promises.test_annul import handed, told
from tests.promises.test_void import void


@pytest.mark.parametrize("act", ["ANNUL", "ANNUL_WRONG_PERSON"])
async def test_an_annulment_that_the_copy_lacks_is_told_again(site, restore, tmp_path, act):
    consent = await grant(site)
    await handed(site)
    await handed(site, ack=False)
    here = restore(copied(site, tmp_path / "copy"))
    await site.act(site.police, act, consent)
    first = await told(site)
    assert len(first) == 2
    await here.hold()
    await here.go_on()
    await items(here.site, site.lead)
    await here.give_back(site.police)
    again = await told(here.site)
    assert {(one.notice_id, one.delivery_id, one.ground) for one in again} == {
        (one.notice_id, one.delivery_id, one.ground) for one in first
    }  # one thing is one notice: who was told before is not told a second one
    for _ in range(2):
        await here.give_back(site.police)
    await here.everybody()
    assert await told(here.site) == []
    assert await deliveries(here.site) == []
    assert not here.keeper.active


async def test_an_annulment_that_the_copy_has_is_not_told_again(site, restore, tmp_path):
    consent = await grant(site)
    await handed(site)
    await site.act(site.police, "ANNUL", consent)
    here = restore(copied(site, tmp_path / "copy"))
    assert len(await told(here.site)) == 1  # it waited when the copy was taken
    await here.hold()
    await here.go_on()
    await here.everybody()
    assert await told(here.site) == []


async def test_a_void_case_is_void_again_and_told_once(site, restore, tmp_path):
    await grant(site)
    await handed(site)
    here = restore(copied(site, tmp_path / "copy"))
    untold = {unit.role: tuple(await site.ledger_of(unit)) for unit in site.units.values()}
    answer = await void(site)
    for unit in site.units.values():
        await items(here.site, unit)
    # The lead's connector kept its call; what it signed is made again here as it was.
    assert site.lead.members is not None
    said = CaseWithdrawal(
        case_tag=site.lead.members.case_tag, recorder=site.lead.member, withdrawal_id=os.urandom(16),
        effective_at_us=0, method="CASE_VOID_WRONG_PERSON", actor_ref="handläggare 1", assurance="ASSERTED",
        noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    kept = RecordedWithdrawal(act=said, signature=site.lead.seat.sign(said), recorded_at_us=answer.recorded_at_us)
    await here.hold()
    await here.go_on()
    for _ in range(2):
        await here.give_back(site.lead, events=untold[site.lead.role], withdrawals=(kept,))
    for unit in (site.police, site.probation):
        await here.give_back(unit, events=untold[unit.role])
    case_id = (await here.site.store.read(lambda rows: rows.cases.seat(site.lead.seat_id))).case_id
    assert await here.site.store.read(lambda rows: rows.annulments.is_void(case_id))
    for unit in site.units.values():
        found = await here.site.fetch(unit)
        grounds = [AnnulNotice.from_bytes(item.body).delivery_id for item in found if item.kind == "ANNULMENT"]
        assert len(grounds) == len(set(grounds)) == 1  # the assessment at the lead, the invitations at the others
        for item in found:
            await here.site.ack(unit, item.item_id)
    for unit in site.units.values():
        assert await here.site.ledger_of(unit) == await site.ledger_of(unit)
        await here.confirm(unit)
    assert not here.keeper.active
    assert await notices(here.site, "case_void", site.lead) == []


async def test_an_annulment_told_again_is_answered_again_and_shown_once(tmp_path):
    async with world(tmp_path) as lost:
        police, social = lost.agency("police"), lost.agency("social")
        police.command(**assessment("PM-1"))
        await lost.settle(3)
        assert len(social.files("out", kind="delivery")) == 1
        copy = lost.copied(tmp_path / "copy")
        [consent] = [g.consent_id for g in police.ctx.ledger(police.ctx.identities.get("PM-1")).grants]
        police.command(do="annul", ref="PM-1", consent=consent.hex(), ground="CONSENT_INVALID")
        await lost.settle(3)
        [shown] = social.files("out", kind="annulled")
        social.command(do="answer_annulment", notice=shown["notice"], verdict="LOCKED")
        await lost.settle(3)
        await lost.lost_and_restored(copy)
        await lost.whole_again()
        await lost.settle(3)
        assert social.files("out", kind="annulled") == [shown]
        seat = police.ctx.identities.get("PM-1").sid
        [again] = await lost.read(lambda rows: rows.annulments.told(seat, consent))
        assert (again.verdict, again.answered_at_us is not None) == ("LOCKED", True)
