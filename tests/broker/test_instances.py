"""Which instance of a connector is served, what a restore must prove, and what is left of a unit that is shut out."""

from __future__ import annotations

import hashlib
import os
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.note import Signer
from broker import acts, handover, instances
from broker.core import BrokerCore
from broker.store.instances import Memory
from broker.trail import Trail, Witnessed
from connectors.keys import UnitKeyPair
from schemas.calls import FetchRequest
from schemas.errors import HandslagError
from schemas.inbox import Receipt, StatementNotice
from schemas.instances import Compromise, CompromisedRequest, InstanceRequest, InstanceStatement, RestoreStatement
from tests.site import LEAD, ORIGIN, POLICE, Site, Unit, assessment, to_role


class Stage:
    """A case of three units, the lead's agency with a recovery key; and the broker's core without its sealer."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.recovery = UnitKeyPair.generate()
        witnessed = Witnessed(site.store, ORIGIN, Signer(ORIGIN, Ed25519PrivateKey.generate()).verifier)
        self.core = BrokerCore(site.context, cast(Any, None), Trail(site.store), witnessed)

    async def begin(self) -> None:
        await self.site.whole_case()
        for unit in self.site.units.values():
            memory = Memory(self.recovery.public.signing, 0)
            await self.site.store.write(
                lambda rows, unit=unit, memory=memory: rows.instances.remember(unit.code, memory)
            )
            await self.core.seen(unit.code, 1, None)

    def announcement(self, unit: Unit, number: int, **other: Any) -> InstanceRequest:
        restore = RestoreStatement(
            origin=ORIGIN, unit=unit.code, restore_id=other.get("restore_id") or os.urandom(16),
            backup_at_us=other.get("backup_at_us", 0), restored_at_us=1,
        ).to_bytes()  # fmt: skip
        statement = InstanceStatement(
            origin=other.get("origin", ORIGIN), unit=other.get("named", unit.code), instance=number,
            restore_hash=hashlib.sha256(restore).digest(),
        ).to_bytes()  # fmt: skip
        return InstanceRequest(
            statement=statement, unit_signature=other.get("unit_keys", unit.keys).sign(statement),
            restore=restore, recovery_signature=other.get("recovery", self.recovery).sign(restore),
        )  # fmt: skip

    async def refused(self, unit: Unit, request: InstanceRequest) -> HandslagError:
        with pytest.raises(HandslagError) as caught:
            await self.core.announce(unit.code, request)
        return caught.value


@pytest.fixture
async def stage(tmp_path):
    site = Site(tmp_path)
    made = Stage(site)
    await made.begin()
    yield made
    site.close()


async def test_only_the_highest_instance_is_served(stage):
    lead, core = stage.site.lead, stage.core
    with pytest.raises(HandslagError) as caught:
        await core.seen(lead.code, 7, None)
    assert caught.value.code == "HS-INSTANCE-NEW"  # nobody raises it by saying so
    answer = await core.announce(lead.code, stage.announcement(lead, 2))
    assert answer.instance == 2
    with pytest.raises(HandslagError) as caught:
        await core.seen(lead.code, 1, None)
    assert (caught.value.code, caught.value.context) == ("HS-INSTANCE-OLD", {"instance": 2})
    await core.seen(lead.code, 2, None)
    assert await core.instances() == {lead.code: (2, pytest.approx(stage.site.clock.us, abs=10_000))}
    await core.reload_units()
    with pytest.raises(HandslagError):
        await core.seen(lead.code, 1, None)


async def test_a_stolen_disk_cannot_take_over(stage):
    """It holds the unit's keys and its certificate, and not the recovery key."""
    lead, police = stage.site.lead, stage.site.police
    thief = UnitKeyPair.generate()
    used = os.urandom(16)
    await stage.core.announce(lead.code, stage.announcement(lead, 2, restore_id=used))
    wrong = {
        "signature": stage.announcement(lead, 3, recovery=thief),
        "signature ": stage.announcement(lead, 3, recovery=lead.keys),
        "unit": stage.announcement(lead, 3, named=police.code),
        "origin": stage.announcement(lead, 3, origin="another.example/audit"),
    }
    for check, request in wrong.items():
        error = await stage.refused(lead, request)
        assert (error.code, error.context["check"]) == ("HS-INSTANCE-UNPROVEN", check.strip())
    mixed = stage.announcement(lead, 3)
    other = stage.announcement(lead, 3)
    error = await stage.refused(lead, InstanceRequest(**{
        **{name: getattr(mixed, name) for name in InstanceRequest.__slots__},
        "restore": other.restore, "recovery_signature": other.recovery_signature,
    }))  # fmt: skip
    assert error.context["check"] == "restore"
    error = await stage.refused(lead, stage.announcement(lead, 3, unit_keys=thief))
    assert error.code == "HS-SIGNATURE-INVALID"
    error = await stage.refused(police, stage.announcement(police, 2, restore_id=used))
    assert (error.code, error.context["check"]) == ("HS-INSTANCE-UNPROVEN", "used")
    await stage.site.store.write(lambda rows: rows.instances.remember(lead.code, Memory(None, 0)))
    error = await stage.refused(lead, stage.announcement(lead, 3))
    assert error.context["check"] == "recovery key"
    assert (await stage.core.instances())[lead.code][0] == 2


async def test_an_announcement_whose_answer_was_lost_gets_the_same_answer(stage):
    lead = stage.site.lead
    request = stage.announcement(lead, 2)
    first = await stage.core.announce(lead.code, request)
    assert await stage.core.announce(lead.code, request) == first
    assert (await stage.refused(lead, stage.announcement(lead, 2))).context == {"instance": 2}


async def test_what_happened_since_the_backup_comes_once_more(stage):
    site = stage.site
    lead, police = site.lead, site.police
    await site.grant(police, [to_role(LEAD)], ["IC04", "IC06", "IC12"], ["THREAT_ASSESSMENT"])
    event_id = site.new_id()
    sealed = site.sealed(police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
                         released=frozenset({"IC04", "IC06"}), event_id=event_id)  # fmt: skip
    await site.submit(police, sealed)
    await site.decide()
    for item in await site.fetch(police):
        if item.kind == "RECEIPT":
            await site.ack(police, item.item_id)
    assert not [item for item in await site.fetch(police) if item.kind == "RECEIPT"]
    answer = await stage.core.announce(police.code, stage.announcement(police, 2, backup_at_us=site.clock.us - 10))
    assert answer.receipts == 1
    assert answer.seats == (police.seat_id,)
    items = await site.fetch(police)
    assert [Receipt.from_bytes(item.body).event_id for item in items if item.kind == "RECEIPT"] == [event_id]
    told = [StatementNotice.from_bytes(item.body) for item in items if item.kind == "STATEMENT"][-1]
    assert told.seat_id == police.seat_id
    before = police.members
    for signed in told.statements:
        police.members = police.members.applied(signed)
    assert police.members.members.keys() == before.members.keys()
    answer = await stage.core.announce(lead.code, stage.announcement(lead, 2, backup_at_us=site.clock.us))
    told = [StatementNotice.from_bytes(i.body) for i in await site.fetch(lead) if i.kind == "STATEMENT"]
    assert len(told[-1].statements) == 3  # its own and the two it signed
    late = await stage.core.announce(
        police.code, stage.announcement(police, 3, backup_at_us=site.clock.us + 2 * 3600 * 10**6)
    )
    assert late.receipts == 0  # decided before that backup


async def test_a_copy_with_the_same_number_that_remembers_less_is_refused(stage):
    """A disk image of last week beside the living connector: the number is the same, the memory is not."""
    clock = [0.0]
    shown = instances.Shown(stage.site.store, lambda: clock[0])
    unit = stage.site.lead.code
    assert await shown.check(unit, 100)
    assert await shown.check(unit, 90)  # on its way at the same time
    for size in (200, 300):
        clock[0] += instances.SURE_S
        assert await shown.check(unit, size)
    assert not await shown.check(unit, 100)
    assert not await shown.check(unit, 0)
    assert await shown.check(unit, 200)
    again = instances.Shown(stage.site.store, lambda: clock[0])  # the node was started anew
    assert not await again.check(unit, 100)
    assert await again.check(unit, 300)
    again.forget(unit)
    await stage.core.announce(unit, stage.announcement(stage.site.lead, 2))
    assert await again.check(unit, 10)  # a restored connector begins with what its backup remembers


async def ready(stage) -> Any:
    """The police may tell the lead; the lead may ask the police."""
    site = stage.site
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06", "IC12"], ["THREAT_ASSESSMENT"])
    return site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
        released=frozenset({"IC04", "IC06"}),
    )  # fmt: skip


@pytest.mark.parametrize("who", [LEAD, POLICE])
async def test_a_unit_that_was_shut_out_gives_and_gets_nothing_more(stage, who):
    """What was decided is held, what was queued is refused, what comes later finds nobody."""
    site = stage.site
    decided, queued = await ready(stage), await ready(stage)
    await site.submit(site.police, decided)
    await site.decide()
    await site.submit(site.police, queued)  # waits in the stream
    assert await stage.core.revoke(site.units[who].code)
    await site.decide()
    answer = await handover.fetch(site.context, site.lead.code, FetchRequest(limit=100))
    assert [item.kind for item in answer.items if item.kind == "DELIVERY"] == []
    rows = await site.store.read(lambda rows: rows.deliveries.open_to_seats([site.lead.seat_id]))
    assert [row.held for row in rows] == [True]
    assert not await stage.core.revoke(site.units[who].code)


async def test_without_a_revocation_the_same_arrives(stage):
    """Positive control of the test above."""
    site = stage.site
    decided, queued = await ready(stage), await ready(stage)
    await site.submit(site.police, decided)
    await site.decide()
    await site.submit(site.police, queued)
    await site.decide()
    assert len([item for item in await site.fetch(site.lead) if item.kind == "DELIVERY"]) == 2


async def test_a_batch_that_was_decided_before_a_revocation_is_decided_anew(stage):
    """The revocation bumps the gates of the unit's cases, so that a batch in the making does not commit."""
    site = stage.site
    seat = await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))
    before = await site.store.read(lambda rows: rows.gate.read(seat.bucket))
    await stage.core.revoke(site.police.code)
    after = await site.store.read(lambda rows: rows.gate.read(seat.bucket))
    assert after.gate_version > before.gate_version


async def test_who_lets_go_of_held_rows_does_not_let_go_of_a_unit_that_is_shut_out(stage):
    site = stage.site
    await site.submit(site.police, await ready(stage))
    await site.decide()
    await stage.core.revoke(site.police.code)

    def let_go(rows):
        [row] = rows.deliveries.open_to_seats([site.lead.seat_id])
        rows.deliveries._c.exec_driver_sql("UPDATE delivery SET held=0")
        return row

    await site.store.write(let_go)
    assert [i.kind for i in await site.fetch(site.lead) if i.kind == "DELIVERY"] == []


async def test_a_unit_closes_itself_by_its_own_signature_only(stage):
    site = stage.site
    police = site.police
    await site.submit(police, await ready(stage))
    await site.decide()
    said = Compromise(origin=ORIGIN, unit=police.code, at_us=1).to_bytes()
    for other in (
        CompromisedRequest(statement=said, unit_signature=site.lead.keys.sign(said)),
        CompromisedRequest(
            statement=(elsewhere := Compromise(origin="another", unit=police.code, at_us=1).to_bytes()),
            unit_signature=police.keys.sign(elsewhere),
        ),
    ):
        with pytest.raises(HandslagError) as caught:
            await stage.core.compromised(police.code, other)
        assert caught.value.code == "HS-SIGNATURE-INVALID"
    answer = await stage.core.compromised(
        police.code, CompromisedRequest(statement=said, unit_signature=police.keys.sign(said))
    )
    assert answer.held == 1
    with pytest.raises(HandslagError) as caught:
        await stage.core.seen(police.code, 1, None)
    assert caught.value.code == "HS-UNIT-UNKNOWN"
    with pytest.raises(HandslagError):
        await site.invite(police)
    # the person's word still reaches its ledger
    answer = await site.withdraw_case(site.lead)
    assert answer.leaf_hash
    seat = await acts.own_seat(site.context, police.code, police.seat_id)
    assert seat.ledger_seq > 0
