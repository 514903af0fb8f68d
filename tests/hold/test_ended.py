"""Consents that ended after the copy: who holds data under them hears of it, and nobody is shown one end twice."""

from __future__ import annotations

import pytest

from schemas.inbox import ConsentEnded, Recall
from tests.evil.house import assessment
from tests.hold.lost import world
from tests.hold.restored import copied
from tests.promises.case import HOUR, grant, items
from tests.promises.test_annul import handed
from tests.promises.test_consent_acts import act, whole


async def words(site):
    """What waits for the lead of consents that ended: (item, what it is about) of each, taken out of its inbox."""
    read = {"ENDED": ConsentEnded, "RECALL": Recall}
    found = [item for item in await items(site, site.lead) if item.kind in read]
    return sorted((item.kind, item.item_id, read[item.kind].from_bytes(item.body)) for item in found)


def about(word):
    kind, _item, body = word
    # What was still open is decided anew on all that was given back: the word names no single act.
    return kind, body.delivery_id, body.code if kind == "ENDED" else None


async def told_again(here, site):
    """What the lead is told when the police has given back what the copy lacks."""
    await here.hold()
    await here.go_on()
    await items(here.site, site.lead)
    await here.give_back(site.police)
    return await words(here.site)


async def received_and_copied(lost, folder):
    """Social services hold an assessment of the police's, and then a copy of the broker is made; returns the copy."""
    lost.agency("police").command(**assessment("PM-1"))
    await lost.settle(3)
    return lost.copied(folder / "copy")


async def withdrawn(lost):
    police = lost.agency("police")
    [consent] = [g.consent_id for g in police.ctx.ledger(police.ctx.identities.get("PM-1")).grants]
    police.command(do="withdraw", ref="PM-1", consent=consent.hex())
    await lost.settle(3)


@pytest.mark.parametrize("end", ["WITHDRAW", "SUSPEND", "WITHDRAW_ALL"])
async def test_the_end_of_a_consent_that_the_copy_lacks_is_told_again(site, restore, tmp_path, end):
    consent = await grant(site)
    await handed(site)
    await handed(site, ack=False)
    here = restore(copied(site, tmp_path / "copy"))
    await (site.withdraw_case(site.police) if end == "WITHDRAW_ALL" else site.act(site.police, end, consent))
    first = await words(site)
    assert [kind for kind, _item, _body in first] == ["ENDED", "RECALL"]
    again = await told_again(here, site)
    assert list(map(about, again)) == list(map(about, first))
    assert again[0][:2] == first[0][:2]  # one end is one item: a connector that was told shows no second one
    for _ in range(2):
        await here.give_back(site.police)
    await here.everybody()
    assert await words(here.site) == []


async def test_the_end_of_a_consent_told_again_is_shown_once(tmp_path):
    async with world(tmp_path) as lost:
        social, copy = lost.agency("social"), await received_and_copied(lost, tmp_path)
        await withdrawn(lost)
        [shown] = social.files("out", kind="consent_ended")
        await lost.lost_and_restored(copy)
        await lost.whole_again()
        await lost.settle(3)
        assert social.files("out", kind="consent_ended") == [shown]


async def test_the_end_of_a_consent_that_nobody_was_told_is_told_by_the_restored_broker(tmp_path):
    """The broker was lost before the recipient asked what there is."""
    async with world(tmp_path) as lost:
        social, copy = lost.agency("social"), await received_and_copied(lost, tmp_path)
        lost.off.add("social")
        await withdrawn(lost)
        lost.lose()
        lost.off.clear()
        await lost.restored(copy)
        await lost.settle(2)
        assert social.files("out", kind="consent_ended") == []
        await lost.whole_again()
        await lost.settle(3)
        [shown] = social.files("out", kind="consent_ended")
        assert shown["from_role"] == "police_coordination"


@pytest.mark.parametrize("end", ["the consent's own", "the block's own"])
async def test_an_end_is_told_as_it_was_when_the_act_was_recorded(site, restore, tmp_path, end):
    """What the act ended has ended by itself since; who holds the data was to be told, and is."""
    consent = await grant(site, until_us=site.clock() + 2 * HOUR)
    await handed(site)
    here = restore(copied(site, tmp_path / "copy"))
    if end == "the block's own":
        block = {"recipients": (), "purposes": (), "actions": (), "valid_until_us": site.clock() + HOUR}
        await act(site, "BLOCK", terms=whole(site, **block))
    else:
        await site.act(site.police, "WITHDRAW", consent)
    first = await words(site)
    assert len(first) == 1
    site.clock.us += 3 * HOUR
    assert list(map(about, await told_again(here, site))) == list(map(about, first))


async def test_what_only_time_has_ended_is_not_told_as_the_acts_doing(site, restore, tmp_path):
    """Another consent covered the data when the first was withdrawn, and has ended by its own date since."""
    consent = await grant(site)
    await grant(site, until_us=site.clock() + 2 * HOUR)
    await handed(site)
    here = restore(copied(site, tmp_path / "copy"))
    await site.act(site.police, "WITHDRAW", consent)
    assert await words(site) == []
    site.clock.us += 3 * HOUR
    assert await told_again(here, site) == []


async def test_the_word_that_a_case_is_void_is_told_as_no_withdrawal(tmp_path):
    """A discloser gives back what the void case wrote on its ledger before the lead has said what it was."""
    async with world(tmp_path) as lost:
        social, copy = lost.agency("social"), await received_and_copied(lost, tmp_path)
        social.command(do="void_case", ref=social.ctx.identities.all()[0].ref, ground="WRONG_PERSON")
        await lost.settle(3)
        assert len(social.files("out", kind="annulled")) >= 1
        lost.off.add("social")  # its machine starts later
        await lost.lost_and_restored(copy)
        lost.off.clear()
        await lost.settle(2)
        await lost.whole_again()
        await lost.settle(3)
        assert social.files("out", kind="consent_ended") == []
