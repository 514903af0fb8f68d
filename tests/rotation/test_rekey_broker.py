"""The broker's side of new keys for a lost seat: whose word it takes, whom it shows what, what becomes of the rest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import Any

import pytest

from broker import rekey, rotation
from connectors import replacing
from connectors.keys import SeatKeyPair
from connectors.rotating import rotate_statement
from connectors.slots import WEEKLY
from schemas.calls import StateRequest
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.inbox import StatementNotice
from schemas.rekey import LostSeat, LostSeatsRequest, Rekey, RekeyNotice, RekeyRequest
from schemas.statements import MemberStatement, SignedStatement
from tests.promises import case as cases
from tests.promises.case import grant, items, notices, receipts, sent, states
from tests.site import LEAD, POLICE, PROBATION, Site, Unit, to_role


@pytest.fixture
async def site(tmp_path):
    made = await cases.ready(tmp_path)
    await made.take_statements(made.probation)
    yield made
    made.close()


async def lost(site: Site, unit: Unit, after: bytes = ZERO16) -> tuple[LostSeat, ...]:
    return (await rekey.lost(site.context, unit.code, LostSeatsRequest(after=after))).seats


class Asking:
    """New keys of a unit's seat, drawn from what the broker tells it and nothing else."""

    def __init__(self, site: Site, unit: Unit, told: LostSeat, **changes: Any) -> None:
        self.site, self.unit = site, unit
        self.keys = SeatKeyPair.generate()
        own = [one for one in told.statements if MemberStatement.from_bytes(one.statement).member == told.member]
        newest = unit.members.members[told.member]
        assert newest.statement in {one.statement for one in own}
        data = replacing.statement_of(
            case_tag=told.case_tag, newest=newest, keys=self.keys.public, slots=WEEKLY, at_us=site.clock()
        )
        self.statement = replace(MemberStatement.from_bytes(data), **changes).to_bytes()
        self.pin = unit.members.pin

    async def ask(self, **changes: Any) -> None:
        wanted = Rekey(pin=changes.pop("pin", self.pin), statement=self.statement).to_bytes()
        signer = changes.pop("signer", self.unit)
        values = {"call_id": os.urandom(16), "seat_id": self.unit.seat_id, "rekey": wanted,
                  "unit_signature": signer.keys.sign(wanted), "hpke_key": self.keys.public.hpke}  # fmt: skip
        await rekey.asked(self.site.context, changes.pop("by", self.unit).code, RekeyRequest(**{**values, **changes}))

    def by(self, unit: Unit) -> SignedStatement:
        return replacing.countersigned_by(self.statement, self.keys.public.hpke, unit.seat)

    async def sign(self, unit: Unit, signed: SignedStatement | None = None, poster: Unit | None = None) -> None:
        poster = poster or unit
        request = StateRequest(call_id=os.urandom(16), seat_id=poster.seat_id, statement=signed or self.by(unit))
        await rekey.state(self.site.context, poster.code, request)


async def asking(site: Site, unit: Unit, **changes: Any) -> Asking:
    [told] = await lost(site, unit)
    return Asking(site, unit, told, **changes)


async def refused(call: Any) -> str:
    with pytest.raises(HandslagError) as caught:
        await call
    return caught.value.code


async def seat_row(site: Site, unit: Unit) -> Any:
    return await site.store.read(lambda rows: rows.cases.seat(unit.seat_id))


async def test_a_unit_is_told_of_its_own_lost_seats_only(site):
    [told] = await lost(site, site.probation)
    assert (told.seat_id, told.role, told.member) == (site.probation.seat_id, PROBATION, site.probation.member)
    members = {MemberStatement.from_bytes(one.statement).member for one in told.statements}
    assert members == {site.lead.member, site.probation.member}  # it never met the police
    assert told.may_sign == (POLICE, LEAD)
    assert await lost(site, site.probation, site.probation.seat_id) == ()


async def test_the_broker_takes_no_replacement_with_less_than_two(site):
    wanted = await asking(site, site.probation)
    await wanted.ask()
    before = await seat_row(site, site.probation)
    await wanted.sign(site.lead)
    await wanted.sign(site.lead)
    assert (await seat_row(site, site.probation)).seat_key_id == before.seat_key_id
    await wanted.sign(site.police)
    after = await seat_row(site, site.probation)
    assert (after.seat_key_id, after.key_seq) == (wanted.keys.key_id, before.key_seq + 1)
    assert (after.previous_signing_key, after.previous_key_id) == (None, None)
    assert await refused(wanted.sign(site.police)) == "HS-REKEY-NONE"  # played again when it is done


async def test_a_replacement_that_the_seat_did_not_ask_for_is_refused(site):
    wanted = await asking(site, site.probation)
    assert await refused(wanted.sign(site.lead)) == "HS-REKEY-NONE"
    await wanted.ask()
    another = await asking(site, site.probation)
    assert await refused(another.sign(site.lead)) == "HS-REKEY-NONE"
    forged = replace(wanted.by(site.lead), signature=os.urandom(64))
    assert await refused(wanted.sign(site.lead, forged)) == "HS-SIGNATURE-INVALID"
    assert await refused(wanted.sign(site.lead, wanted.by(site.lead), site.police)) == "HS-SIGNATURE-INVALID"
    assert await refused(wanted.sign(site.probation)) == "HS-REKEY-SAME-UNIT"
    await another.ask()  # takes the place of the first
    assert await refused(wanted.sign(site.lead)) == "HS-REKEY-NONE"
    await another.sign(site.lead)  # positive control


async def test_nobody_asks_for_the_seat_of_another_or_for_other_keys(site):
    wanted = await asking(site, site.probation)
    assert await refused(wanted.ask(by=site.police, signer=site.police)) == "HS-SEAT-UNKNOWN"
    assert await refused(wanted.ask(signer=site.police)) == "HS-SIGNATURE-INVALID"
    assert await refused(wanted.ask(pin=os.urandom(32))) == "HS-KEY-UNTRUSTED"
    assert await refused(wanted.ask(hpke_key=site.lead.seat.public.hpke)) == "HS-KEY-UNTRUSTED"
    for changes in ({"seq": 2}, {"previous": os.urandom(32)}, {"member": site.police.member}, {"role": POLICE},
                    {"kind": "ROTATE"}, {"signer": site.lead.member}, {"case_tag": os.urandom(16)},
                    {"invitation_hash": hashlib.sha256(b"x").digest()}):  # fmt: skip
        assert await refused((await asking(site, site.probation, **changes)).ask()) == "HS-KEY-UNTRUSTED"
    await wanted.ask(pin=site.lead.members.pin)


async def test_two_seats_of_one_unit_are_one(site):
    wanted = await asking(site, site.probation)
    await wanted.ask()
    await wanted.sign(site.lead)
    police = await seat_row(site, site.police)
    await site.store.write(lambda rows: moved(rows, police.seat_id, site.lead.code))
    assert await refused(wanted.sign(site.police, None, replaced_code(site.police, site.lead.code))) == (
        "HS-REKEY-SAME-UNIT"
    )
    await site.store.write(lambda rows: moved(rows, police.seat_id, site.police.code))
    await wanted.sign(site.police)  # positive control


def moved(rows: Any, seat_id: bytes, unit: str) -> None:
    from broker.store.tables import seat

    rows.gate._c.execute(
        seat.update().where(seat.c.seat_id == seat_id).values(unit=rows.cases._cipher.handle("seat", unit))
    )


def replaced_code(unit: Unit, code: str) -> Unit:
    other = Unit(code, unit.role, unit.keys, unit.seat)
    other.seat_id = unit.seat_id
    return other


async def test_a_case_with_too_few_others_says_so(site):
    """The lead without a second that the deputy knows; and a case in which only two are left."""
    lead = await asking(site, site.lead)
    assert await refused(lead.ask()) == "HS-REKEY-TOO-FEW"  # police and probation have not met
    [told] = await lost(site, site.lead)
    assert told.may_sign == (POLICE,)
    await site.grant(site.police, [to_role(PROBATION)], ["IC04"], [cases.PURPOSE])
    await (await asking(site, site.lead)).ask()  # positive control: now they have
    assert (await lost(site, site.lead))[0].may_sign == (POLICE, PROBATION)


async def test_a_signature_makes_no_seat_known_to_anybody(site):
    """The police are lost; probation, which only the lead has met, may not be the second: the police would meet it."""
    [told] = await lost(site, site.police)
    assert told.may_sign == (LEAD,)
    assert await refused((await asking(site, site.police)).ask()) == "HS-REKEY-TOO-FEW"
    assert [item.kind for item in await items(site, site.probation)] == []
    await site.grant(site.probation, [to_role(POLICE)], ["IC04"], [cases.PURPOSE])
    await items(site, site.probation)
    police = await asking(site, site.police)
    await police.ask()
    assert [item.kind for item in await items(site, site.probation)] == ["STATEMENT", "REKEY"]
    await police.sign(site.lead)
    await police.sign(site.probation)
    for unit in (site.lead, site.police, site.probation):
        shown = [StatementNotice.from_bytes(i.body) for i in await items(site, unit) if i.kind == "STATEMENT"]
        signed = [one for notice in shown for one in notice.statements]
        assert len([one for one in signed if one.statement == police.statement]) == 2
        view = unit.members
        for one in signed:
            view = view.applied(one)
        assert view.holder(POLICE, site.clock()).keys == police.keys.public


async def test_what_is_asked_is_shown_to_those_that_may_sign_and_names_no_unit(site):
    wanted = await asking(site, site.probation)
    await wanted.ask()
    for unit in (site.lead, site.police):
        [item] = [one for one in await items(site, unit) if one.kind == "REKEY"]
        told = RekeyNotice.from_bytes(item.body)
        assert (told.seat_id, Rekey.from_bytes(told.rekey).statement) == (unit.seat_id, wanted.statement)
        assert site.probation.code.encode() not in item.body
        assert POLICE.encode() not in item.body
    assert [one.kind for one in await items(site, site.probation)] == []


async def test_what_waits_for_a_lost_seat_goes_back_to_its_senders(site):
    await grant(site)
    first, second = await sent(site), await sent(site)
    handed = (await cases.deliveries(site))[:1]
    assert [item.kind for item in handed] == ["DELIVERY"]
    await site.grant(site.police, [to_role(PROBATION)], ["IC04"], [cases.PURPOSE])
    await site.take_statements(site.probation)
    wanted = await asking(site, site.lead)
    [told] = await lost(site, site.lead)
    assert len(told.handed) == 2
    await wanted.ask()
    await wanted.sign(site.police)
    assert await states(site) == ["HANDED", "HANDED"]
    await wanted.sign(site.probation)
    assert await states(site) == ["RESEAL", "RESEAL"]
    assert len(await notices(site, "delivery_reseal")) == 2
    # the old keys: no wrap is handed over, no act is taken, no rotation
    await site.submit(site.police, first, number=2)
    await site.decide()
    assert await states(site) == ["RESEAL", "RESEAL", "RESEAL"]
    assert await refused(site.grant(site.lead, [to_role(POLICE)], ["IC04"], [cases.PURPOSE])) == "HS-SIGNATURE-INVALID"
    view = site.lead.members
    stolen = rotate_statement(members=view, member=site.lead.member, old=site.lead.seat,
                              new=SeatKeyPair.generate().public, at_us=site.clock())  # fmt: skip
    request = StateRequest(call_id=os.urandom(16), seat_id=site.lead.seat_id, statement=stolen)
    assert await refused(rotation.state(site.context, site.lead.code, request)) == "HS-STATE-INVALID"
    # and with the new ones all goes on
    site.lead.seat = wanted.keys
    await site.submit(site.police, first, number=3)
    await site.submit(site.police, second, number=2)
    await site.decide()
    assert (await states(site)).count("PENDING") == 2
    assert {one.roles[0].outcome for one in (await receipts(site))[-2:]} == {"RELEASED"}
    await site.grant(site.lead, [to_role(POLICE)], ["IC04"], [cases.PURPOSE])
