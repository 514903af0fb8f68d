"""Seat keys that rotated after the copy: given back by whoever holds them; nothing goes to a key that is gone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from broker import rotation
from connectors.keys import SeatKeyPair
from connectors.rotating import confirm_statement, rotate_statement
from schemas.calls import DestroyedRequest, StateRequest
from schemas.errors import HandslagError
from schemas.statements import MemberStatement, SignedStatement
from tests.hold.restored import Restored, copied
from tests.promises.case import deliveries, event, grant, sent, states
from tests.site import LEAD, POLICE, Site, Unit


async def posted(site: Site, unit: Unit, statement: SignedStatement) -> None:
    request = StateRequest(call_id=os.urandom(16), seat_id=unit.seat_id, statement=statement)
    await rotation.state(site.context, unit.code, request)


async def gone(site: Site, unit: Unit, key: SeatKeyPair) -> None:
    request = DestroyedRequest(call_id=os.urandom(16), seat_id=unit.seat_id, seat_key_id=key.key_id)
    await rotation.destroyed(site.context, unit.code, request)


def rotated(site: Site, unit: Unit) -> SignedStatement:
    """A rotation of the unit's seat, taken into its own view and the lead's; from now on the unit has the new keys."""
    assert unit.members is not None
    assert site.lead.members is not None
    new = SeatKeyPair.generate()
    made = rotate_statement(members=unit.members, member=unit.member, old=unit.seat, new=new.public, at_us=site.clock())
    unit.members = unit.members.applied(made)
    if unit is not site.lead:
        site.lead.members = site.lead.members.applied(made)
    unit.seat = new
    return made


def word(site: Site, unit: Unit) -> SignedStatement:
    """The lead's word for the newest keys of a unit's seat."""
    members = site.lead.members
    assert members is not None
    about = members.members[unit.member]
    return confirm_statement(
        members=members, signer=site.lead.member, keys=site.lead.seat, rotated=about, at_us=site.clock()
    )


async def rotates(site: Site, unit: Unit) -> list[SignedStatement]:
    """A rotation and, of another than the lead, the word for it, at the broker that will be lost."""
    made = [rotated(site, unit)]
    await posted(site, unit, made[0])
    if unit is not site.lead:
        made.append(word(site, unit))
        await posted(site, site.lead, made[1])
    return made


async def freed(here: Restored, statements: dict[str, list[SignedStatement]]) -> None:
    """Everybody gives back what it holds, and confirms with the keys of today."""
    for unit in here.site.units.values():
        await here.give_back(unit, statements=tuple(statements.get(unit.role, ())))
    for unit in here.site.units.values():
        await here.confirm(unit)


async def test_acts_signed_with_keys_that_are_gone_are_given_back(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    made = []
    for _ in range(3):  # three weeks: the first grant's key is neither the seat's nor the one before
        await grant(site)
        made += await rotates(site, site.police)
    await here.hold()
    await here.go_on()
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await here.confirm(site.police)
    await freed(here, {POLICE: made})
    assert await here.site.ledger_of(site.police) == await site.ledger_of(site.police)
    assert not here.keeper.active


async def test_keys_are_given_back_by_whoever_holds_them(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    made = await rotates(site, site.police)
    await here.hold()
    await here.go_on()
    asked = await here.give_back(site.lead, statements=tuple(made))  # the lead, before the police is back
    assert {one.member: one.seq for one in asked.keys}[site.police.member] == 1
    await here.give_back(site.police, statements=tuple(made))  # and once more: nothing is recorded twice
    assert (await here.confirm(site.police)).state == "CONFIRMED"
    kept, back = [
        await one.store.read(
            lambda rows: rows.cases.statements(rows.cases.seat(site.police.seat_id).case_id, site.police.member)
        )
        for one in (site, here.site)
    ]
    assert back == kept


async def test_only_the_keys_that_followed_are_given_back(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    before = site.police.seat
    view = site.police.members
    made = await rotates(site, site.police)
    second = await rotates(site, site.police)
    await here.hold()
    thief = SeatKeyPair.generate()
    forged = rotate_statement(members=view, member=site.police.member, old=before, new=thief.public, at_us=site.clock())
    elsewhere = MemberStatement.from_bytes(made[0].statement)
    other = replace(elsewhere, case_tag=b"x" * 16).to_bytes()
    wrong = {
        "HS-SIGNATURE-INVALID": replace(made[0], signature=bytes(64)),
        "HS-STATE-INVALID": second[0],
        "HS-KEY-UNTRUSTED": SignedStatement(statement=other, signature=before.sign(other), hpke_key=made[0].hpke_key),
    }
    for code, statement in wrong.items():
        with pytest.raises(HandslagError, match=code):
            await here.give_back(site.police, statements=(statement,))
        await here.give_back(site.lead, statements=(statement,), events=())  # about another it is left out
    answer = await here.give_back(site.police, statements=(*made, *second), events=())  # the control
    assert {one.member: one.seq for one in answer.keys}[site.police.member] == 2
    here = restore(copied(site, tmp_path / "again"))
    await here.hold()
    with pytest.raises(HandslagError, match="HS-KEY-UNTRUSTED"):  # another of a number that is recorded
        await here.give_back(site.police, statements=(forged,))


async def test_what_the_copy_holds_sealed_to_a_destroyed_key_is_sealed_anew(site, restore, tmp_path):
    await grant(site)
    first = site.lead.seat
    await sent(site)
    here = restore(copied(site, tmp_path / "copy"))
    lead = await rotates(site, site.lead)
    assert site.police.members is not None
    site.police.members = site.police.members.applied(lead[0])
    await gone(site, site.lead, first)
    assert await states(site) == ["RESEAL"]
    await here.hold()
    await here.go_on()
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await gone(here.site, site.lead, first)  # the copy takes it for the seat's own key
    for unit in site.units.values():
        await here.give_back(unit, statements=tuple(lead) if unit is site.lead else ())
    await gone(here.site, site.lead, first)
    for unit in site.units.values():
        await here.confirm(unit)
    assert not here.keeper.active
    assert (await states(here.site), await deliveries(here.site)) == (["RESEAL"], [])
    await here.site.submit(site.police, event(site), keys={LEAD: site.lead.seat.public})  # the control: to the new key
    await here.site.decide()
    assert len(await deliveries(here.site)) == 1


async def test_a_rotation_on_a_lost_one_waits_until_it_is_given_back(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    made = await rotates(site, site.police)
    await here.hold()
    await here.go_on()
    next_one = rotated(site, site.police)
    for statement, unit in ((next_one, site.police), (word(site, site.police), site.lead)):
        with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
            await posted(here.site, unit, statement)
    for unit in (site.police, site.lead):
        await here.give_back(unit, statements=tuple(made))
    await posted(here.site, site.police, next_one)
    await posted(here.site, site.police, next_one)  # recorded, and its answer lost: the same again is no other
    await posted(here.site, site.lead, word(site, site.police))


async def test_a_withdrawal_signed_with_a_lost_key_waits_for_it(site, restore, tmp_path):
    consent = await grant(site)
    here = restore(copied(site, tmp_path / "copy"))
    made = await rotates(site, site.police)
    made += await rotates(site, site.police)
    await here.hold()
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):  # never for good: the person has taken it back
        await here.site.act(site.police, "WITHDRAW", consent)
    await here.give_back(site.police, statements=tuple(made))
    assert (await here.site.act(site.police, "WITHDRAW", consent)).ledger_seq == 2
